"""A caller that hangs up in the middle of its own request."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from gateway.deadlines import Deadlines
from gateway.errors import CallerLeft
from gateway.requests.departure import DepartureWatch


class Connection:
    """A server's `receive` for a body that was read; `leave` is what a closed connection does."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def leave(self) -> None:
        self.gone.set()

    async def receive(self) -> MutableMapping[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def begun(before: set[asyncio.Task[object]]) -> None:
    """Return when a watch has its task."""
    async with asyncio.timeout(10):
        while asyncio.all_tasks() == before:
            await asyncio.sleep(0.005)


async def test_leaving_ends_the_work() -> None:
    """The block is cancelled where it waits, may tidy up, and raises CallerLeft."""
    connection, tidied = Connection(), asyncio.Event()

    async def work() -> None:
        with DepartureWatch(connection.receive, Deadlines()):
            try:
                await asyncio.sleep(10)
            finally:
                tidied.set()

    asyncio.get_running_loop().call_later(0.01, connection.leave)
    with pytest.raises(CallerLeft):
        await work()
    assert tidied.is_set()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_staying_changes_nothing() -> None:
    """A block that ends by itself leaves no task behind and is not disturbed by a later departure."""
    connection = Connection()
    before = asyncio.all_tasks()
    with DepartureWatch(connection.receive, Deadlines()):
        await begun(before)
    connection.leave()
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == before


async def test_short_work_is_not_watched() -> None:
    """A block that is over soon asks its server for nothing, and starts no task."""
    deadlines, before = Deadlines(), asyncio.all_tasks()
    with DepartureWatch(Connection().receive, deadlines), deadlines.within(60):
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


async def test_leaving_before_the_watch_begins() -> None:
    """A caller who was gone already is noticed as the watch begins."""
    connection = Connection()
    connection.leave()

    async def work() -> None:
        with DepartureWatch(connection.receive, Deadlines()):
            await asyncio.sleep(60)

    with pytest.raises(CallerLeft):
        await work()


@pytest.mark.parametrize("watched", [False, True])
async def test_after_stop_a_departure_is_none(watched: bool) -> None:
    """Once the watch is stopped the server's word that the answer has ended cancels nothing."""
    connection = Connection()
    before = asyncio.all_tasks()
    with DepartureWatch(connection.receive, Deadlines()) as watch:
        if watched:
            await begun(before)
        watch.stop()
        connection.leave()
        await asyncio.sleep(0.01)


async def test_a_cancellation_from_outside_stays_one() -> None:
    """Whoever cancels the request's task sees it cancelled, and not a caller that left."""
    connection = Connection()

    async def work() -> None:
        with DepartureWatch(connection.receive, Deadlines()):
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_time_outs_inside_keep_working() -> None:
    """A time-out inside the block is a time-out; one around a departure does not swallow it."""
    connection = Connection()

    async def work(seconds: float) -> None:
        with DepartureWatch(connection.receive, Deadlines()):
            async with asyncio.timeout(seconds):
                await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await work(0.01)
    asyncio.get_running_loop().call_later(0.01, connection.leave)
    with pytest.raises(CallerLeft):
        await work(5)
