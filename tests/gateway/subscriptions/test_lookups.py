"""Questions to storage: one at a time for each key, bounded, given up in time, and not asked while it is down."""

import asyncio
import logging
import os

import pytest

from gateway.errors import SubscriptionsUnavailable, TooManyLookups
from gateway.identity.keys import new_key
from gateway.subscriptions.directory import DirectoryRules
from gateway.subscriptions.lookups import LookupRules
from tests.clocks import HandClock
from tests.gateway.directories import (
    GRACE,
    PAUSE,
    TTL,
    Instance,
    clock,
    here,
    settle,
    silence,
    tables,
    there,
    wrong_key,
)
from tests.gateway.memory_tables import MemoryTables, none

__all__ = ["clock", "here", "tables", "there"]


async def test_known_keys_outlive_storage(
    here: Instance, tables: MemoryTables, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    """While storage is silent a known key works to the end of the grace, then 503; and again when storage is back."""
    caplog.set_level(logging.WARNING, "gateway.subscriptions.lookups")
    key = (await here.create("crm")).keys["primary"]
    await here.holder(key)
    tables.before = silence
    for _ in range(10):
        clock.pass_by(seconds=TTL / 2)
        assert await here.holder(key) == "crm"
        await settle(here.directory)
    clock.pass_by(seconds=GRACE)
    with pytest.raises(SubscriptionsUnavailable):
        await here.holder(key)
    tables.before = none
    clock.pass_by(seconds=PAUSE)
    assert await here.holder(key) == "crm"
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


async def test_unknown_keys_are_told_to_come_back(here: Instance, tables: MemoryTables, clock: HandClock) -> None:
    """While storage is silent a key that nobody here has seen gets 503, and storage is asked once in a while only."""
    tables.before = silence
    before = tables.calls
    for number in range(100):
        with pytest.raises(SubscriptionsUnavailable) as refused:
            await here.holder(wrong_key(number))
        assert (refused.value.status, refused.value.code) == (503, "storage_unavailable")
    assert tables.calls == before + 1
    clock.pass_by(seconds=PAUSE)
    with pytest.raises(SubscriptionsUnavailable):
        await here.holder(new_key(os.urandom))
    assert tables.calls == before + 2


async def test_storage_that_hangs_is_given_up(here: Instance, tables: MemoryTables) -> None:
    """Silence without an error counts as one after the time-out."""

    async def hang() -> None:
        await asyncio.Event().wait()

    tables.before = hang
    async with asyncio.timeout(30):
        with pytest.raises(SubscriptionsUnavailable):
            await here.holder(new_key(os.urandom))


async def test_wrong_keys_are_bounded(tables: MemoryTables, clock: HandClock) -> None:
    """10,000 wrong keys of the right shape cost a bounded number of look-ups and places; known keys go on."""
    rules = DirectoryRules(ttl=TTL, absent=500, burst=300, misses_per_second=100)
    instance = Instance(tables, clock, rules)
    key = (await instance.create("crm")).keys["primary"]
    await instance.holder(key)
    before = tables.calls
    refused = 0
    for number in range(10_000):
        clock.pass_by(seconds=0.001)
        try:
            assert await instance.holder(wrong_key(number)) is None
        except TooManyLookups:
            refused += 1
        assert await instance.holder(key) == "crm"
    assert tables.calls - before <= 300 + 10 * 100 + 3
    assert refused > 8000
    assert len(instance.directory._absent_keys._until) == 500
    await instance.directory.close()


async def test_a_wrong_key_is_remembered(here: Instance, tables: MemoryTables, clock: HandClock) -> None:
    """The same wrong key is looked up once a TTL, however many ask at a time."""
    wrong = new_key(os.urandom)
    assert await asyncio.gather(*[here.holder(wrong) for _ in range(50)]) == [None] * 50
    assert tables.calls == 1
    clock.pass_by(seconds=TTL - 1)
    assert await here.holder(wrong) is None
    assert tables.calls == 1
    clock.pass_by(seconds=1)
    assert await here.holder(wrong) is None
    assert tables.calls == 2


async def test_a_leaver_does_not_fail_the_others(here: Instance, tables: MemoryTables) -> None:
    """Of two that wait for the same key, one may go away."""
    key = (await here.create("crm")).keys["primary"]
    go = asyncio.Event()

    async def wait() -> None:
        await go.wait()

    tables.before = wait
    leaver, stayer = (asyncio.create_task(here.holder(key)) for _ in range(2))
    await asyncio.sleep(0)
    leaver.cancel()
    await asyncio.sleep(0)
    go.set()
    assert await stayer == "crm"


async def test_a_change_outruns_a_look_up_under_way(here: Instance, tables: MemoryTables) -> None:
    """A row that was read before a change on this instance is not remembered after it."""
    keys = (await here.create("crm")).keys
    read, go = asyncio.Event(), asyncio.Event()
    row_read = tables.calls + 2  # the index comes first

    async def hold() -> None:
        if tables.calls == row_read:
            tables.after = none
            read.set()
            await go.wait()

    tables.after = hold
    looking = asyncio.create_task(here.holder(keys["secondary"]))
    await read.wait()
    await here.register.rotate("crm", "secondary", None, "test")
    go.set()
    assert await looking is None
    assert await here.holder(keys["secondary"]) is None


async def test_look_ups_under_way_are_bounded(tables: MemoryTables, clock: HandClock) -> None:
    """One question for each key however many ask, so many keys at a time, and the next is told to come back."""
    instance = Instance(tables, clock, DirectoryRules(ttl=TTL, burst=3, lookups=LookupRules(in_flight=2, at_once=1)))
    go = asyncio.Event()

    async def wait() -> None:
        await go.wait()

    tables.before = wait
    asking = [asyncio.create_task(instance.holder(wrong_key(number))) for number in (1, 1, 1, 2, 2)]
    await asyncio.sleep(0.01)
    assert tables.calls == 1
    with pytest.raises(SubscriptionsUnavailable):
        await instance.holder(wrong_key(3))
    go.set()
    assert await asyncio.gather(*asking) == [None] * 5
    assert tables.calls == 2
    await instance.directory.close()


async def test_close_ends_look_ups(here: Instance, tables: MemoryTables) -> None:
    """Closing while storage hangs leaves no task behind."""

    async def hang() -> None:
        await asyncio.Event().wait()

    tables.before = hang
    asking = asyncio.create_task(here.holder(new_key(os.urandom)))
    await asyncio.sleep(0.01)
    await here.directory.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
