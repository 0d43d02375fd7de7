"""A registered function and one invocation of it, by the public interface of azure.functions alone."""

import asyncio
import importlib
import inspect
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import azure.functions as func

from local.host.retries import RetryPolicy

HTTP: Final = "httpTrigger"
EVENT_HUB: Final = "eventHubTrigger"
TIMER: Final = "timerTrigger"

_log: Final = logging.getLogger(__name__)


class NotServable(Exception):
    """The app cannot be served as it is; the message says what to change."""


@dataclass(frozen=True, slots=True)
class RetryContext:
    retry_count: int = 0
    max_retry_count: int = 0
    exception: None = None


@dataclass(frozen=True, slots=True)
class TraceContext:
    """No trace is begun on a developer's machine. The names are those of azure.functions.TraceContext."""

    Traceparent: str = ""
    Tracestate: str = ""
    Attributes: dict[str, str] = field(default_factory=dict)


class Context(NamedTuple):
    """What a function finds in its parameter `context`: the attributes of azure.functions.Context.

    One is made per invocation, and a frozen dataclass takes three times as long.
    """

    invocation_id: str
    function_name: str
    function_directory: str
    retry_context: RetryContext
    trace_context: TraceContext
    thread_local_storage: threading.local


class Function:
    """One function that the app registers, ready to be invoked."""

    def __init__(self, registered: Any, directory: Path) -> None:
        """Take a function out of `FunctionApp.get_functions()`. Raises NotServable."""
        self.name: Final[str] = registered.get_function_name()
        self.trigger: Final = registered.get_trigger()
        self.kind: Final[str] = self.trigger.get_binding_name()
        self.retry: Final = RetryPolicy.declared(registered.get_settings_dict("retry_policy"))
        self._directory = str(directory)
        self._call: Callable[..., Any] = registered.get_user_function()
        self._is_async = inspect.iscoroutinefunction(self._call)
        self._takes_context = "context" in inspect.signature(self._call).parameters
        self._trace = TraceContext()
        self._storage = threading.local()
        self._ids = Random()  # noqa: S311 - they only need to differ, and the system's would let go of the GIL
        others = {binding.name for binding in registered.get_bindings()} - {self.trigger.name, "$return"}
        if others:
            raise NotServable(f"{self.name}: the local host serves no bindings beside the trigger: {sorted(others)}")

    async def invoke(self, value: Any, retry: RetryContext = RetryContext()) -> Any:
        """Call the function with its trigger's value and a fresh invocation id; return or raise what it does."""
        arguments = {self.trigger.name: value}
        if self._takes_context:
            arguments["context"] = Context(
                f"{self._ids.getrandbits(128):032x}", self.name, self._directory, retry, self._trace, self._storage
            )
        if self._is_async:
            return await self._call(**arguments)
        return await asyncio.to_thread(self._call, **arguments)

    async def deliver(self, value: Any, random: Callable[[], float]) -> None:
        """Invoke under the retry policy; what fails for good is logged and let go, as the real triggers do.

        `random` returns 0 to 1, for the pauses between tries.
        """
        policy, failures = self.retry, 0
        while True:
            try:
                await self.invoke(value, RetryContext(failures, policy.max_retries if policy else 0))
            except Exception:  # noqa: BLE001 - whatever a function raises is a failed invocation
                failures += 1
                if policy is None or not policy.allows(failures):
                    _log.exception("%s failed for good; what triggered it is passed over", self.name)
                    return
                delay = policy.delay_seconds(failures, random())
                _log.warning("%s failed; retry %d in %.1f s", self.name, failures, delay, exc_info=True)
                await asyncio.sleep(delay)
            else:
                return


def load_functions(directory: Path, module: str = "function_app") -> list[Function]:
    """Import the app's module and return what it registers and the app settings leave enabled.

    Once per process, as azure.functions wants it. Raises NotServable, and whatever the module raises.
    """
    imported = importlib.import_module(module)
    apps = {id(value): value for value in vars(imported).values() if isinstance(value, func.FunctionRegister)}
    if len(apps) != 1:
        raise NotServable(f"{module}.py holds {len(apps)} function apps; the Functions worker takes one")
    functions = [Function(registered, directory) for registered in next(iter(apps.values())).get_functions()]
    return [function for function in functions if not _disabled(function.name)]


def _disabled(name: str) -> bool:
    """Tell whether the app setting `AzureWebJobs.NAME.Disabled` keeps the function from being triggered, as on Azure.

    Source: learn.microsoft.com/azure/azure-functions/disable-function.
    """
    return os.environ.get(f"AzureWebJobs.{name}.Disabled", "").lower() in {"true", "1"}
