"""Spans and metrics as the real OpenTelemetry SDK hands them to an exporter."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from hosting.monitoring.telemetry import OpenTelemetry
from seams.clock import SystemClock


@dataclass
class Recorded:
    """What the SDK made of it."""

    sampler: Sampler = ALWAYS_ON
    spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def observer(self) -> OpenTelemetry:
        tracers = TracerProvider(self.sampler)
        tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        states: dict[str, Any] = {"first": "half-open"}
        return OpenTelemetry(tracers, MeterProvider([self.reader]), clock=SystemClock(), breaker_states=lambda: states)

    async def span(self) -> ReadableSpan:
        async with asyncio.timeout(30):
            while not self.spans.get_finished_spans():
                await asyncio.sleep(0.005)
        (span,) = self.spans.get_finished_spans()
        return span

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return [
            point for scope in scopes for each in scope.metrics if each.name == name for point in each.data.data_points
        ]

    def metrics(self) -> str:
        """Return everything that was measured, as text."""
        data = self.reader.get_metrics_data()
        return data.to_json() if data else ""
