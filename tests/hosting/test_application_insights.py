"""The real exporter against a stand-in for Application Insights' ingestion, and nothing of it where it is off."""

import asyncio
import gzip
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.types import Receive, Scope, Send

from tests.gateway.catalogs import KEY, OPERATOR_KEY, UPSTREAM_KEY
from tests.hosting.watched import PROMPT
from tests.served import served

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
    "OTEL_TRACES_SAMPLER": "always_on",
}


@dataclass
class Ingestion:
    """Takes what exporters send to `/v2.1/track`: JSON lines or an array, perhaps compressed."""

    text: str = ""
    items: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if body.startswith(b"\x1f\x8b"):
            body = gzip.decompress(body)
        self.text += body.decode()
        items = json.loads(body) if body.startswith(b"[") else [json.loads(line) for line in body.splitlines()]
        self.items.extend(items)
        answer = json.dumps({"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": answer})

    def data(self, kind: str) -> list[dict[str, Any]]:
        return [item["data"]["baseData"] for item in self.items if item["data"]["baseType"] == kind]


async def python(*arguments: str) -> str:
    """Run a program of ours and return what it printed; fails where it failed."""
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        env=os.environ | ENVIRONMENT | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, errors = await program.communicate()
    assert program.returncode == 0, errors.decode()
    return printed.decode()


async def test_spans_metrics_and_calls_arrive(tmp_path: Path) -> None:
    """Spans continue the caller's trace, each call has its line, and nothing that arrives holds a prompt or a key."""
    ingestion = Ingestion()
    async with served(ingestion) as url:
        connection = f"InstrumentationKey=00000000-0000-0000-0000-000000000001;IngestionEndpoint={url}/"
        program = Path(__file__).with_name("application_insights.py")
        await python(str(program), connection, str(tmp_path))
    spans = ingestion.data("RemoteDependencyData")
    assert spans
    assert {span["name"] for span in spans} == {"chat gpt-4o"}
    assert {span["properties"]["tollgate.subscription"] for span in spans} == {"team-a"}
    traces = {item["tags"].get("ai.operation.id") for item in ingestion.items}
    assert "0af7651916cd43dd8448eb211c80319c" in traces
    lines = [json.loads(each["message"]) for each in ingestion.data("MessageData")]
    assert len(lines) >= 4
    assert {line["subscription"] for line in lines} == {"team-a"}
    metrics = {metric["name"] for each in ingestion.data("MetricData") for metric in each["metrics"]}
    assert {"gen_ai.client.operation.duration", "gen_ai.client.token.usage", "tollgate.attempts"} <= metrics
    assert not any(secret in ingestion.text for secret in (PROMPT, "albatross", KEY, OPERATOR_KEY, UPSTREAM_KEY))


async def test_off_it_is_not_even_imported() -> None:
    """Without the setting, importing the function app loads neither the exporter nor the SDK."""
    imported = await python(
        "-c",
        "import sys, hosting.app, hosting.services.services, hosting.functions.asgi\n"
        "print([name for name in sys.modules if name.startswith(('azure.monitor', 'opentelemetry.sdk'))])",
    )
    assert imported == "[]\n"
