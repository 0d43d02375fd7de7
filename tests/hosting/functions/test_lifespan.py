"""One start-up per process."""

import asyncio

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from hosting.functions.lifespan import Lifespan, StartupFailed


def starting_app(log: list[str], *, failures: int = 0) -> ASGIApp:
    """Return an app that notes its starts and stops, and whose first `failures` starts fail."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        log.append("start")
        await asyncio.sleep(0)
        if log.count("start") <= failures:
            await send({"type": "lifespan.startup.failed", "message": "no pool"})
            raise ConnectionError("no pool")
        scope["state"]["pool"] = log.count("start")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        log.append("stop")
        await send({"type": "lifespan.shutdown.complete"})

    return app


async def test_begins_when_made() -> None:
    """Made inside a running loop, it starts the app before anybody asks."""
    log: list[str] = []
    lifespan = Lifespan(starting_app(log))
    await asyncio.sleep(0)
    assert log == ["start"]
    await lifespan.stop()


def test_made_outside_a_loop() -> None:
    """Made without a loop, it starts the app for the first who asks."""
    log: list[str] = []
    lifespan = Lifespan(starting_app(log))

    async def use() -> None:
        await lifespan.started()
        await lifespan.stop()

    asyncio.run(use())
    assert log == ["start", "stop"]


async def test_one_start_for_many() -> None:
    """Fifty who ask at once share one start-up and one state."""
    log: list[str] = []
    lifespan = Lifespan(starting_app(log))
    await asyncio.gather(*(lifespan.started() for _ in range(50)))
    assert log == ["start"]
    assert lifespan.state == {"pool": 1}
    await lifespan.stop()
    assert log == ["start", "stop"]


async def test_failure_reaches_all_who_waited_and_is_tried_again() -> None:
    """Those who waited get the app's reason; the next starts it anew, with a clean state."""
    log: list[str] = []
    lifespan = Lifespan(starting_app(log, failures=1))
    outcomes = await asyncio.gather(*(lifespan.started() for _ in range(3)), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["the app did not start: ConnectionError: no pool"] * 3
    assert isinstance(outcomes[0], StartupFailed)
    await lifespan.started()
    assert lifespan.state == {"pool": 2}
    await lifespan.stop()


async def test_caller_who_gives_up_does_not_end_the_start() -> None:
    """A request that is cancelled while it waits leaves the start-up to the others."""
    log: list[str] = []
    lifespan = Lifespan(starting_app(log))
    waiting = asyncio.create_task(lifespan.started())
    await asyncio.sleep(0)
    waiting.cancel()
    await lifespan.started()
    assert log == ["start"]
    await lifespan.stop()


@pytest.mark.parametrize("raises", [False, True])
async def test_app_without_lifespan(*, raises: bool) -> None:
    """An app that returns or raises at once takes no lifespan events, which the protocol allows."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        if raises:
            raise AssertionError("http only")

    lifespan = Lifespan(app)
    await lifespan.started()
    assert lifespan.state == {}
    await lifespan.stop()
