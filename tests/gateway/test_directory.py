"""Who holds a key or an identity: kept near for a stated time, bounded, and through storage's silence."""

import asyncio
import itertools
import json
import logging
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from gateway.catalog import Catalog
from gateway.catalog_file import load_catalog
from gateway.directory import DirectoryRules, StoredDirectory
from gateway.entitlement import Entitlement
from gateway.errors import SubscriptionsUnavailable, TooManyLookups
from gateway.keys import digest_of, new_key
from gateway.lookups import LookupRules
from gateway.register import Keyed, SubscriptionRegister
from gateway.subscription_store import PARTITION, SubscriptionStore
from seams.tables import Entity, TableUnavailable, Value
from tests.gateway.conftest import KEY, OPERATOR_KEY, key_hash
from tests.gateway.memory_tables import MemoryTables, none

TTL = 30.0
GRACE = 600.0
PAUSE = 2.0
RULES = DirectoryRules(ttl=TTL, grace=GRACE, lookups=LookupRules(timeout=0.5, pause=PAUSE))
CATALOG = {
    "backends": {"b": {"endpoint": "https://b.openai.azure.com"}},
    "deployments": {"gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "b"}]}},
    "subscriptions": {"team-a": {"key_hashes": [key_hash(KEY)], "identities": ["oid:a"]}},
    "operators": {"key_hashes": [key_hash(OPERATOR_KEY)]},
}
NO_SETTINGS: dict[str, str] = {}


class HandClock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(1_780_000_000 + self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


class Instance:
    """One gateway instance's directory and register over shared rows."""

    def __init__(self, tables: MemoryTables, clock: HandClock, rules: DirectoryRules = RULES) -> None:
        self.catalog: Catalog = load_catalog(json.dumps(CATALOG), NO_SETTINGS.get)
        self.store = SubscriptionStore(tables)
        self.directory = StoredDirectory(self.catalog, self.store, clock, rules)
        self.register = SubscriptionRegister(self.catalog, self.store, self.directory, clock, os.urandom)

    async def create(self, name: str, **fields: object) -> Keyed:
        return await self.register.create(name, Entitlement.model_validate(fields), "test")

    async def holder(self, key: str) -> str | None:
        caller = await self.directory.holder(key.encode())
        return None if caller is None else caller.entitlement().name

    async def member(self, *identities: str) -> str | None:
        caller = await self.directory.member(identities)
        return None if caller is None else caller.entitlement().name


@pytest.fixture
def tables() -> MemoryTables:
    return MemoryTables()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def here(tables: MemoryTables, clock: HandClock) -> AsyncIterator[Instance]:
    instance = Instance(tables, clock)
    yield instance
    await instance.directory.close()


@pytest.fixture
async def there(tables: MemoryTables, clock: HandClock) -> AsyncIterator[Instance]:
    instance = Instance(tables, clock)
    yield instance
    await instance.directory.close()


def wrong_key(number: int) -> str:
    return new_key(number.to_bytes)


async def silence() -> None:
    raise TableUnavailable("silent")


async def settle(directory: StoredDirectory) -> None:
    """Let look-ups beside the requests come to their end."""
    while tasks := list(directory._lookups._under_way.values()):
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)


async def test_the_catalog_costs_nothing(here: Instance, tables: MemoryTables) -> None:
    """Its subscriptions, its operators and keys that nobody can have made are settled without storage."""
    assert await here.holder(KEY) == "team-a"
    assert await here.member("oid:a") == "team-a"
    operator = await here.directory.holder(OPERATOR_KEY.encode())
    assert operator is not None
    assert operator.operator
    assert operator.operator_key == "operators.key_hashes.0"
    for number in range(1000):
        assert await here.holder(f"sk-wrong-{number}") is None
    assert tables.calls == 0


async def test_a_subscription_works_at_once_everywhere(here: Instance, there: Instance) -> None:
    """Both keys are known on the instance that made them and on one that has never heard of them."""
    keys = (await here.create("crm", deployments=["gpt-4o"])).keys
    for instance, key in itertools.product((here, there), keys.values()):
        assert await instance.holder(key) == "crm"
    caller = await there.directory.holder(keys["primary"].encode())
    assert caller is not None
    assert caller.entitlement().deployments == frozenset({"gpt-4o"})


async def test_a_known_key_costs_no_storage(here: Instance, tables: MemoryTables, clock: HandClock) -> None:
    """Inside half of the TTL nothing is asked; both keys of a subscription come with one look-up."""
    keys = (await here.create("crm")).keys
    await here.holder(keys["primary"])
    before = tables.calls
    clock.seconds += TTL / 2 - 1
    for _ in range(100):
        assert await here.holder(keys["secondary"]) == "crm"
    assert tables.calls == before


async def test_a_subscription_in_use_is_refreshed_beside_its_requests(
    here: Instance, tables: MemoryTables, clock: HandClock
) -> None:
    """Between half and the whole of the TTL a request is answered from memory while the row is read once."""
    key = (await here.create("crm")).keys["primary"]
    await here.holder(key)
    reading = asyncio.Event()

    async def wait() -> None:
        await reading.wait()

    tables.before = wait
    clock.seconds += TTL * 0.6
    before = tables.calls
    for _ in range(10):
        async with asyncio.timeout(1):
            assert await here.holder(key) == "crm"
    reading.set()
    await settle(here.directory)
    assert tables.calls == before + 1
    clock.seconds += TTL * 0.45
    tables.before = silence
    assert await here.holder(key) == "crm"
    await settle(here.directory)


@pytest.mark.parametrize("deed", ["revoke", "rotate"])
async def test_a_key_that_is_gone_stops_within_the_ttl(
    here: Instance, there: Instance, clock: HandClock, deed: str
) -> None:
    """At once on the instance where it was done; on another one not after the TTL, though it is in constant use."""
    keys = (await here.create("crm")).keys
    assert await there.holder(keys["secondary"]) == await here.holder(keys["secondary"]) == "crm"

    if deed == "revoke":
        await here.register.revoke("crm", None, "test")
    else:
        await here.register.rotate("crm", "secondary", None, "test")

    assert await here.holder(keys["secondary"]) is None
    clock.seconds += TTL
    assert await there.holder(keys["secondary"]) is None
    assert await there.holder(keys["primary"]) == (None if deed == "revoke" else "crm")


async def test_rotation_leaves_the_other_key(here: Instance, there: Instance, clock: HandClock) -> None:
    """Neither instance ever refuses the primary key while the secondary is rotated again and again."""
    keys = (await here.create("crm")).keys
    for _ in range(5):
        new = (await here.register.rotate("crm", "secondary", None, "test")).keys
        assert list(new) == ["secondary"]
        for instance in (here, there):
            assert await instance.holder(keys["primary"]) == "crm"
        clock.seconds += TTL
        assert await there.holder(new["secondary"]) == "crm"


async def test_a_change_holds_within_the_ttl(here: Instance, there: Instance, clock: HandClock) -> None:
    """New fields are in force at once where they were made, and within the TTL elsewhere."""
    key = (await here.create("crm")).keys["primary"]
    await here.holder(key)
    await there.holder(key)

    await here.register.change("crm", {"limits": {"concurrent": 3}}, None, "test")

    clock.seconds += TTL
    for instance in (here, there):
        caller = await instance.directory.holder(key.encode())
        assert caller is not None
        assert caller.entitlement().limits.concurrent == 3


async def test_known_keys_outlive_storage(
    here: Instance, tables: MemoryTables, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    """While storage is silent a known key works to the end of the grace, then 503; and again when storage is back."""
    caplog.set_level(logging.WARNING, "gateway.lookups")
    key = (await here.create("crm")).keys["primary"]
    await here.holder(key)
    tables.before = silence
    for _ in range(10):
        clock.seconds += TTL / 2
        assert await here.holder(key) == "crm"
        await settle(here.directory)
    clock.seconds += GRACE
    with pytest.raises(SubscriptionsUnavailable):
        await here.holder(key)
    tables.before = none
    clock.seconds += PAUSE
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
    clock.seconds += PAUSE
    with pytest.raises(SubscriptionsUnavailable):
        await here.holder(new_key(os.urandom))
    assert tables.calls == before + 2


async def test_storage_that_hangs_is_given_up(here: Instance, tables: MemoryTables) -> None:
    """Silence without an error counts as one after the time-out."""

    async def hang() -> None:
        await asyncio.Event().wait()

    tables.before = hang
    async with asyncio.timeout(3):
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
        clock.seconds += 0.001
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
    clock.seconds += TTL - 1
    assert await here.holder(wrong) is None
    assert tables.calls == 1
    clock.seconds += 1
    assert await here.holder(wrong) is None
    assert tables.calls == 2


async def test_what_is_known_is_bounded(tables: MemoryTables, clock: HandClock) -> None:
    """The subscriptions that were asked for longest ago give way, and still work."""
    instance = Instance(tables, clock, DirectoryRules(ttl=TTL, known=20))
    keys = [(await instance.create(f"s{number}")).keys["primary"] for number in range(50)]
    for _ in range(2):
        for number, key in enumerate(keys):
            assert await instance.holder(key) == f"s{number}"
    assert len(instance.directory._known) == 20
    assert len(instance.directory._names) == 10
    await instance.directory.close()


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


async def test_identities(here: Instance, there: Instance, tables: MemoryTables, clock: HandClock) -> None:
    """The first identity that any subscription lists decides, wherever that subscription is kept."""
    await here.create("crm", identities=["group:g/1", "azp:app"])
    assert await there.member("oid:nobody", "azp:app", "oid:a") == "crm"
    assert await there.member("oid:nobody", "oid:a", "azp:app") == "team-a"
    assert await there.member(*(f"group:{number}" for number in range(100)), "group:g/1") == "crm"
    assert await there.member("oid:nobody") is None
    before = tables.calls
    assert await there.member("oid:nobody", "group:g/1") == "crm"
    assert await there.member() is None
    assert tables.calls == before

    assert await here.member("oid:nobody") is None
    await here.register.change("crm", {"identities": ["oid:nobody"]}, None, "test")

    assert await here.member("azp:app") is None
    assert await here.member("oid:nobody") == "crm"
    clock.seconds += TTL
    assert await there.member("azp:app") is None
    assert await there.member("oid:nobody") == "crm"


async def test_a_row_of_the_catalogs_name_is_not_believed(tables: MemoryTables, clock: HandClock) -> None:
    """Where a later catalog takes a name over, the keys of the row stop."""
    instance = Instance(tables, clock)
    key = (await instance.create("crm")).keys["primary"]
    later = load_catalog(json.dumps(CATALOG | {"subscriptions": {"crm": {}}}), NO_SETTINGS.get)
    directory = StoredDirectory(later, instance.store, clock, RULES)
    assert await directory.holder(key.encode()) is None
    await directory.close()


@pytest.mark.parametrize(
    "values", [{"version": 2}, {"version": 1, "fields": "{}"}, {"version": 1, "fields": '{"x":1}'}]
)
async def test_a_row_that_cannot_be_read_is_nobodys(
    here: Instance, tables: MemoryTables, caplog: pytest.LogCaptureFixture, values: dict[str, int | str]
) -> None:
    """Its keys are refused and the log says why; no other subscription suffers."""
    key = (await here.create("crm")).keys["primary"]
    other = (await here.create("erp")).keys["primary"]
    row = tables.rows["subscriptions", PARTITION, "crm"]
    tables.rows["subscriptions", PARTITION, "crm"] = Entity(row.partition, row.row, values, row.etag)

    assert await here.holder(key) is None
    assert await here.holder(other) == "erp"

    assert "crm" in caplog.text
    assert [each.name for each in await here.store.page("", 10)] == ["erp"]


async def test_an_index_row_alone_is_not_believed(here: Instance, tables: MemoryTables) -> None:
    """Whoever can point an index row at a subscription has no key to it."""
    await here.create("crm")
    forged = new_key(os.urandom)
    place = ("subscriptionindex", digest_of(forged.encode()).hex(), "key")
    values: dict[str, Value] = {"name": "crm", "claimed_at": datetime.now(UTC)}
    tables.rows[place] = Entity(place[1], place[2], values, "e")
    assert await here.holder(forged) is None
