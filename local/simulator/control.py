"""The control routes below /simulator/, open to whoever reaches the port: this runs on a developer's machine only.

A path may name another backend of the same process, `/simulator/backends/{name}/...`, which is how a refused one is
brought back.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from local.simulator.backend import Backend
from local.simulator.exchange import Exchange
from local.simulator.faults import AnyFault, parse_faults

JSON = {"content-type": "application/json"}


class Controlled(Protocol):
    """A running backend, as far as it can be told what to do."""

    @property
    def backend(self) -> Backend: ...

    async def inject(self, *faults: AnyFault) -> None: ...

    async def clear(self) -> None: ...

    async def reset(self) -> None: ...

    def faults(self) -> Sequence[AnyFault]: ...


class ControlRoutes:
    """Control of one backend, or where `own` is None of those that a path names."""

    def __init__(self, controlled: Mapping[str, Controlled], own: str | None) -> None:
        self._controlled = controlled
        self._own = own

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one control request: 200 with JSON, 400 for faults that cannot be read, 404 for another path."""
        body = await exchange.body()
        steps = exchange.path.strip("/").split("/")[1:]
        name = self._own
        if len(steps) == 3 and steps[0] == "backends":
            name, steps = steps[1], steps[2:]
        target = self._controlled.get(name or "")
        if target is None or len(steps) != 1:
            await exchange.answer(404, b'{"error": "no such control route"}', JSON)
            return
        try:
            document = await _run(target, exchange.method, steps[0], body)
        except msgspec.DecodeError as wrong:
            await exchange.answer(400, msgspec.json.encode({"error": str(wrong)}), JSON)
            return
        if document is None:
            await exchange.answer(404, b'{"error": "no such control route"}', JSON)
            return
        await exchange.answer(200, msgspec.json.encode(document), JSON)


async def _run(target: Controlled, method: str, action: str, body: bytes) -> Any:
    """Do what is asked and return the answer's document, None for an unknown action."""
    document: Any = None
    match method, action:
        case "POST", "faults":
            await target.inject(*parse_faults(body))
            document = target.faults()
        case "GET", "faults":
            document = target.faults()
        case "DELETE", "faults":
            await target.clear()
            document = []
        case "GET", "requests":
            document = [seen.document() for seen in target.backend.requests]
        case "GET", "invoice":
            document = target.backend.invoice.document()
        case "POST", "reset":
            await target.reset()
            document = {}
    return document
