"""Drives azure-functions-runtime, the Functions worker as a library, in this process: one app per process."""

import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime

from tests.hosting.worker.protos import ParameterBinding, Protos, StatusResult, TypedData


class Worker:
    """The worker after it has indexed the app of a folder; `http_uri` is "" without HTTP streams."""

    def __init__(self) -> None:
        self.protos = Protos()
        self.functions: dict[str, Any] = {}
        self.http_uri = ""

    async def start(self, directory: str) -> None:
        """Index and load the app. Raises RuntimeError with the worker's own message."""
        sys.path.insert(0, directory)
        azure_functions_runtime.start_threadpool_executor()
        request = SimpleNamespace(
            worker_init_request=SimpleNamespace(capabilities={}, function_app_directory=directory)
        )
        properties = {"host": "127.0.0.1", "protos": self.protos}
        answer = await azure_functions_runtime.worker_init_request(
            SimpleNamespace(request=request, properties=properties)
        )
        self._check(answer.result)
        self.http_uri = answer.capabilities.get("HttpUri", "")
        metadata = await azure_functions_runtime.functions_metadata_request(
            SimpleNamespace(request=SimpleNamespace(), properties=properties)
        )
        for function in metadata.function_metadata_results or []:
            load = SimpleNamespace(
                function_load_request=SimpleNamespace(function_id=function.function_id, metadata=function)
            )
            loaded = await azure_functions_runtime.function_load_request(
                SimpleNamespace(request=load, properties=properties)
            )
            self._check(loaded.result)
            self.functions[function.name] = function

    async def invoke(
        self,
        name: str,
        inputs: Mapping[str, TypedData],
        metadata: Mapping[str, TypedData] | None = None,
        invocation_id: str = "",
        retry_count: int = 0,
    ) -> Any:
        """Send an InvocationRequest and return the InvocationResponse; a failure is in its `result`."""
        request = SimpleNamespace(
            invocation_id=invocation_id or str(uuid.uuid4()),
            function_id=self.functions[name].function_id,
            input_data=[ParameterBinding(name=key, data=value) for key, value in inputs.items()],
            trigger_metadata=metadata or {},
            trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
            retry_context=SimpleNamespace(retry_count=retry_count, max_retry_count=2, exception=None),
        )
        return await azure_functions_runtime.invocation_request(
            SimpleNamespace(request=SimpleNamespace(invocation_request=request), properties={})
        )

    async def deliver(self, bodies: Sequence[bytes], partition: str, first: int, retry_count: int) -> Any:
        """Invoke `collect_usage` with a batch, its trigger metadata as the host's extension shapes it."""
        properties = [
            {
                "SequenceNumber": first + index,
                "Offset": first + index,
                "PartitionKey": "k",
                "EnqueuedTimeUtc": "2026-01-02T03:04:05.678",
            }
            for index in range(len(bodies))
        ]
        metadata = {
            "SystemPropertiesArray": _json(properties),
            "PropertiesArray": _json([{} for _ in bodies]),
            "SequenceNumberArray": TypedData(
                collection_sint64=SimpleNamespace(sint64=[each["SequenceNumber"] for each in properties])
            ),
            "PartitionContext": _json({"EventHubName": "usage", "ConsumerGroup": "$Default", "PartitionId": partition}),
        }
        events = TypedData(collection_bytes=SimpleNamespace(bytes=list(bodies)))
        return await self.invoke("collect_usage", {"events": events}, metadata, retry_count=retry_count)

    async def tick(self) -> Any:
        """Invoke the timer function `tick` as the host does for a schedule of seconds, which it keeps no status of."""
        info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False}
        return await self.invoke("tick", {"timer": _json(info)})

    def _check(self, result: Any) -> None:
        if result.status != StatusResult.Success:
            raise RuntimeError(f"{result.exception.message}\n{result.exception.stack_trace}")


def _json(value: Any) -> TypedData:
    return TypedData(json=json.dumps(value))
