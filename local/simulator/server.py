"""Running backends: in a test's own event loop, or several in a process of their own."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from uvicorn._types import (  # uvicorn has no public names for the ASGI types it is written against
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    Scope,
)

from local.simulator.app import App
from local.simulator.backend import Backend, SeenRequest
from local.simulator.control import ControlRoutes
from local.simulator.exchange import CallerLeft, Exchange
from local.simulator.faults import AnyFault, Refuse
from local.simulator.invoice import Invoice
from local.simulator.listener import HOST, Listener
from local.simulator.settings import VOCABULARIES, BackendSettings
from local.simulator.tokens import Tokenizers
from seams.clock import Clock, SystemClock


def random_id() -> str:
    """Return a random UUID's text."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


class Simulator:
    """One running backend. `url` is its endpoint, as a catalog or an SDK's `azure_endpoint` takes it."""

    def __init__(self, backend: Backend, peers: dict[str, "Simulator"]) -> None:
        self.backend = backend
        control = ControlRoutes(peers, backend.settings.name)
        self._listener = Listener(cast("ASGI3Application", App(backend, control)), backend.settings.port)
        self._reopening: asyncio.Task[None] | None = None
        self._refused: list[Refuse] = []

    @property
    def port(self) -> int:
        return self._listener.port

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def invoice(self) -> Invoice:
        return self.backend.invoice

    @property
    def requests(self) -> deque[SeenRequest]:
        """What arrived, the oldest first."""
        return self.backend.requests

    def faults(self) -> Sequence[AnyFault]:
        """Return the faults that are still to come or in force."""
        return [*self._refused, *self.backend.faults.listed()]

    async def inject(self, *faults: AnyFault) -> None:
        """Ask for faults; `Refuse` takes effect before this returns."""
        for fault in faults:
            if isinstance(fault, Refuse):
                await self._refuse(fault)
            else:
                self.backend.faults.add(fault)

    async def clear(self) -> None:
        """Take all faults back and listen again."""
        self.backend.faults.clear()
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        await self.open()

    async def reset(self) -> None:
        """Forget everything but the settings, and listen."""
        await self.clear()
        self.backend.reset()

    async def open(self) -> None:
        self._refused.clear()
        await self._listener.open()

    async def close(self) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)
        await self._listener.close()

    async def _refuse(self, fault: Refuse) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        await self._listener.refuse()
        self._refused = [fault]
        if fault.seconds is not None:
            self._reopening = asyncio.create_task(self._reopen(fault.seconds), name="simulator-reopen")

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._reopening = None
        await self.open()


class ControlApp:
    """The control routes alone, for a port that no fault closes."""

    def __init__(self, routes: ControlRoutes, clock: Clock) -> None:
        self._routes = routes
        self._clock = clock

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        try:
            await self._routes(Exchange(cast("HTTPScope", scope), receive, send, self._clock))
        except CallerLeft:
            return


def control_listener(simulators: dict[str, Simulator], port: int, clock: Clock) -> Listener:
    """Return a listener, not yet open, for `/simulator/backends/{name}/...` of all these backends."""
    return Listener(cast("ASGI3Application", ControlApp(ControlRoutes(simulators, None), clock)), port)


@asynccontextmanager
async def serve_all(
    settings: Sequence[BackendSettings],
    *,
    tokenizers: Tokenizers | None = None,
    vocabularies: Path = VOCABULARIES,
    clock: Clock | None = None,
    new_id: Callable[[], str] = random_id,
) -> AsyncIterator[dict[str, Simulator]]:
    """Run backends in this event loop, by name. Raises VocabularyMissing, OSError where a port is taken.

    Loading the vocabularies takes 0.6 s, once a process; pass `tokenizers` to share them.
    """
    loaded = await asyncio.to_thread(Tokenizers, vocabularies) if tokenizers is None else tokenizers
    simulators: dict[str, Simulator] = {}
    try:
        for entry in settings:
            backend = Backend(entry, loaded, clock or SystemClock(), new_id)
            simulators[entry.name] = Simulator(backend, simulators)
            await simulators[entry.name].open()
        yield simulators
    finally:
        for simulator in simulators.values():
            await simulator.close()


@asynccontextmanager
async def serve(
    settings: BackendSettings, *, tokenizers: Tokenizers | None = None, clock: Clock | None = None
) -> AsyncIterator[Simulator]:
    """Run one backend in this event loop; like `serve_all`."""
    async with serve_all([settings], tokenizers=tokenizers, clock=clock) as simulators:
        yield simulators[settings.name]
