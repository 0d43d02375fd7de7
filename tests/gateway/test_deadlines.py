"""Time-outs that share a timer: each block ends at its own time, and only by it."""

import asyncio

import pytest

from gateway.deadlines import Deadlines


async def late(deadlines: Deadlines, seconds: float) -> None:
    with deadlines.within(seconds):
        await asyncio.sleep(60)


async def test_a_block_that_is_late() -> None:
    """It is cancelled where it waits, raises TimeoutError, and leaves its task as it was."""
    tidied = asyncio.Event()

    async def work() -> None:
        with Deadlines().within(0.01):
            try:
                await asyncio.sleep(60)
            finally:
                tidied.set()

    with pytest.raises(TimeoutError):
        await work()
    assert tidied.is_set()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_block_that_is_in_time() -> None:
    """What comes after it is left alone."""
    with Deadlines().within(0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)


async def test_each_block_has_its_own_time() -> None:
    """A later block with an earlier deadline ends first, and a longer one goes on."""
    deadlines = Deadlines()
    order: list[float] = []

    async def work(seconds: float) -> None:
        with pytest.raises(TimeoutError):
            await late(deadlines, seconds)
        order.append(seconds)

    async with asyncio.timeout(30):
        await asyncio.gather(work(1.0), work(0.01), work(0.5))
    assert order == [0.01, 0.5, 1.0]


async def test_a_deadline_that_moves() -> None:
    """A block lasts beyond a deadline that it puts off, and ends by one that it brings forward."""
    moments: list[str] = []

    async def work() -> None:
        with Deadlines().within(0.01) as deadline:
            deadline.due += 3600
            await asyncio.sleep(0.05)
            moments.append("went on")
            deadline.due -= 3600
            await asyncio.sleep(3600)

    async with asyncio.timeout(30):
        with pytest.raises(TimeoutError):
            await work()
    assert moments == ["went on"]


async def test_a_cancellation_from_outside_stays_one() -> None:
    """Whoever cancels the task sees it cancelled, and no time-out."""
    task = asyncio.create_task(late(Deadlines(), 60))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_block_that_fails() -> None:
    """Its own error goes on, late or not."""

    async def work() -> None:
        with Deadlines().within(0.01):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise ValueError("mine") from None

    with pytest.raises(ValueError, match="mine"):
        await work()


@pytest.mark.parametrize(("outer", "inner"), [(0.01, 60), (60, 0.01)])
async def test_blocks_inside_each_other(outer: float, inner: float) -> None:
    """The one that is due raises, and the other lets it pass."""
    ended: list[str] = []

    async def work() -> None:
        with Deadlines().within(outer):
            try:
                await late(Deadlines(), inner)
            except TimeoutError:
                ended.append("inner")
            else:
                ended.append("none")

    if outer < inner:
        with pytest.raises(TimeoutError):
            await work()
        assert not ended
    else:
        await work()
        assert ended == ["inner"]
