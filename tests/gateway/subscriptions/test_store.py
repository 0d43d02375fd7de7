"""Rows of subscriptions and of their index: whole after every crash, and under every interleaving of rivals."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from gateway.errors import GatewayError, IdentityTaken
from gateway.subscriptions.entitlement import Entitlement
from gateway.subscriptions.index import LEASE
from gateway.subscriptions.store import PARTITION, StoredSubscription, SubscriptionStore
from seams.tables import TableConflict, Tables, TableUnavailable
from tests.gateway.memory_tables import MemoryTables

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LONG_AGO = NOW - 2 * LEASE
LATER = NOW + 2 * LEASE
RIVALRIES = 300

type Deed = Callable[[SubscriptionStore], Awaitable[object]]


class Killed(BaseException):
    """The process is gone."""


def stored(name: str, *identities: str, at: datetime = NOW) -> StoredSubscription:
    entitlement = Entitlement(identities=list(identities))
    return StoredSubscription(name, entitlement, os.urandom(32), os.urandom(32), at, at, at, at)


def changed(old: StoredSubscription, *identities: str, secondary: bytes | None = None) -> StoredSubscription:
    return StoredSubscription(
        old.name,
        Entitlement(identities=list(identities)),
        old.primary,
        secondary or old.secondary,
        NOW,
        NOW + timedelta(seconds=1),
        NOW,
        NOW,
        old.etag,
    )


async def check(store: SubscriptionStore) -> list[StoredSubscription]:
    """Return what is listed, each found by all of its proofs, and no identity listed twice."""
    listed = await store.page("", 100)
    for each in listed:
        for proof in each.proofs:
            assert await store.holder(proof) == each
    identities = [identity for each in listed for identity in each.entitlement.identities]
    assert len(identities) == len(set(identities))
    return listed


@pytest.fixture
async def store(tables: Tables) -> AsyncIterator[SubscriptionStore]:
    """A store that is empty, also where other tests have used the same tables."""
    store = SubscriptionStore(tables)
    yield store
    for each in await store.page("", 1000):
        await store.remove(each)


async def test_a_subscription_comes_back_as_it_went(store: SubscriptionStore) -> None:
    """Every field, both digests and all times are read back equal, by name, key and identity."""
    fields = {
        "cost_centre": "4711",
        "deployments": ["gpt-4o"],
        "identities": ["oid:1", "group:a/b#c?d\\e"],
        "limits": {"concurrent": 5},
        "quota": {"tokens": 10**15, "per": "month"},
        "budget": {"amount": "0.10", "per": "day", "hard": True},
        "may_choose_backend": True,
    }
    new = StoredSubscription(
        "crm", Entitlement.model_validate(fields), b"p" * 32, b"s" * 32, NOW, NOW, NOW, NOW + timedelta(microseconds=1)
    )
    created = await store.create(new)

    assert created == new
    assert created.etag is not None
    for found in (await store.get("crm"), await store.holder(b"p" * 32), await store.holder("group:a/b#c?d\\e")):
        assert found == new
        assert found.etag == created.etag
    assert await store.holder(b"x" * 32) is None
    assert await store.holder("oid:2") is None


async def test_pages_are_in_order_of_names(store: SubscriptionStore) -> None:
    """Pages follow one another without gap or repetition, whatever characters the names have."""
    names = ["A", "a", "a-", "a-1", "a.", "a.b", "a0", "aA", "a_", "aa", "b"]
    for name in names:
        await store.create(stored(name))
    for size in (1, 2, 3, 11, 20):
        seen: list[str] = []
        while page := await store.page(seen[-1] if seen else "", size):
            assert len(page) <= size
            seen += [each.name for each in page]
        assert seen == sorted(names)


async def test_a_life(store: SubscriptionStore) -> None:
    """Created, changed, rotated, removed and created again: only what the row holds now is believed."""
    first = await store.create(stored("crm", "oid:1", "oid:2"))
    with pytest.raises(TableConflict):
        await store.create(stored("crm"))
    second = await store.change(first, changed(first, "oid:2", "oid:3", secondary=b"n" * 32))
    with pytest.raises(TableConflict):
        await store.change(first, changed(first))
    assert await store.holder(first.secondary) is None
    assert await store.holder("oid:1") is None
    assert await check(store) == [second]

    await store.remove(second)
    with pytest.raises(TableConflict):
        await store.change(second, changed(second))
    assert await check(store) == []
    assert await store.holder(first.primary) is None

    again = await store.create(stored("crm", "oid:2"))
    assert await store.holder(second.primary) is None
    assert await check(store) == [again]


async def test_an_index_row_alone_is_not_believed() -> None:
    """A row that points to a subscription which does not list the identity, or hold the key, finds nobody."""
    tables = MemoryTables()
    store = SubscriptionStore(tables)
    crm = await store.create(stored("crm", "oid:1"))
    rows = dict(tables.rows)
    await store.change(crm, changed(crm, secondary=b"n" * 32))
    tables.rows.update({place: row for place, row in rows.items() if place[0] == "subscriptionindex"})
    assert await store.holder("oid:1") is None
    assert await store.holder(crm.secondary) is None


async def test_nothing_is_left_of_what_is_gone() -> None:
    """After changes and removal no row of the index stays behind."""
    tables = MemoryTables()
    store = SubscriptionStore(tables)
    crm = await store.create(stored("crm", "oid:1"))
    crm = await store.change(crm, changed(crm, "oid:2", secondary=b"n" * 32))
    assert len(tables.rows) == 1 + 3
    await store.remove(crm)
    assert tables.rows == {}


async def test_an_identity_is_one_subscriptions(store: SubscriptionStore) -> None:
    """What another lists is refused and changes nothing; what it no longer lists is free."""
    crm = await store.create(stored("crm", "oid:1"))
    with pytest.raises(IdentityTaken, match="crm has the identity"):
        await store.create(stored("erp", "oid:1"))
    crm = await store.change(crm, changed(crm))
    erp = await store.create(stored("erp", "oid:1"))
    assert await check(store) == [crm, erp]


def deeds(crm: StoredSubscription) -> dict[str, Deed]:
    """Return what a process may die at, given a subscription with the identity oid:1."""
    return {
        "create": lambda store: store.create(stored("new", "oid:new")),
        "rotate": lambda store: store.change(crm, changed(crm, "oid:1", secondary=b"n" * 32)),
        "change": lambda store: store.change(crm, changed(crm, "oid:2")),
        "remove": lambda store: store.remove(crm),
    }


@pytest.mark.parametrize("deed", ["create", "rotate", "change", "remove"])
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("fault", [Killed, TableUnavailable])
async def test_no_crash_leaves_a_hidden_key_or_a_locked_name(deed: str, place: str, fault: type[BaseException]) -> None:
    """Whichever call is the last, before or after it takes place: what works is listed, and everything can go on."""
    for last in range(1, 30):
        tables = MemoryTables()
        store = SubscriptionStore(tables)
        crm = await store.create(stored("crm", "oid:1", at=LONG_AGO))
        begin = tables.calls

        async def fail(begin: int = begin, last: int = last, tables: MemoryTables = tables) -> None:
            if tables.calls - begin == last:
                raise fault("now")

        setattr(tables, place, fail)
        outcome: BaseException | None = None
        try:
            await deeds(crm)[deed](store)
        except (Killed, TableUnavailable) as error:
            outcome = error
        calls = tables.calls - begin
        setattr(tables, place, MemoryTables().before)
        await _assert_whole(SubscriptionStore(tables), crm, deed)
        if calls < last:
            assert outcome is None
            return
    pytest.fail("the deed has no end")


async def _assert_whole(store: SubscriptionStore, crm: StoredSubscription, deed: str) -> None:
    listed = {each.name: each for each in await check(store)}
    if "crm" in listed:
        assert await store.holder(crm.primary) == listed["crm"]
    assert ("crm" in listed) or deed == "remove"
    for proof in (*crm.proofs, "oid:2", "oid:new"):
        found = await store.holder(proof)
        assert found is None or proof in found.proofs
    for name in ("crm", "new"):
        if name not in listed:
            await store.create(stored(name))
    for each in await check(store):
        await store.remove(each)
    assert await check(store) == []
    await store.create(stored("free", "oid:1", "oid:2", "oid:new", at=LATER))
    await check(store)


async def test_rivals_under_every_interleaving() -> None:
    """Creators, changers and removers of the same names and identities, in 300 orders: the rows are always whole."""
    winners: set[tuple[tuple[str, ...], ...]] = set()
    for seed in range(RIVALRIES):
        random = Random(seed)
        tables = MemoryTables()
        for end in ("before", "after"):
            setattr(tables, end, _pause(random))
        crm = await SubscriptionStore(tables).create(stored("crm", "oid:1", at=LONG_AGO))
        rivals = random.choices([*deeds(crm).values(), _take], k=6)
        await asyncio.gather(*(_try(SubscriptionStore(tables), rival) for rival in rivals))
        listed = await check(SubscriptionStore(tables))
        winners.add(tuple((each.name, *each.entitlement.identities) for each in listed))
    assert len(winners) > 8, "the orders made no difference: this test sees nothing"


def _pause(random: Random) -> Callable[[], Awaitable[None]]:
    async def pause() -> None:
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)

    return pause


async def _take(store: SubscriptionStore) -> object:
    """Remove whoever has oid:1 and take it for a new subscription."""
    holder = await store.holder("oid:1")
    if holder is not None:
        await store.change(holder, changed(holder))
    return await store.create(stored("thief", "oid:1", "oid:2"))


async def _try(store: SubscriptionStore, deed: Deed) -> None:
    try:
        await deed(store)
    except (TableConflict, GatewayError):
        return


@pytest.mark.parametrize("error", [TableUnavailable("lost"), TableConflict("the SDK wrote it twice")])
async def test_a_lost_acknowledgement_is_no_failure(error: Exception) -> None:
    """A write that took place although its answer was lost, or whose repetition conflicted, is reported as done."""
    tables = MemoryTables()
    store = SubscriptionStore(tables)
    seen: list[str | None] = [None]

    async def lose() -> None:
        row = tables.rows.get(("subscriptions", PARTITION, "crm"))
        etag = None if row is None else row.etag
        if etag not in seen:
            seen.append(etag)
            raise error

    tables.after = lose
    crm = await store.create(stored("crm"))
    crm = await store.change(crm, changed(crm, "oid:1"))
    assert len(seen) == 3
    await store.remove(crm)
    assert await check(store) == []
