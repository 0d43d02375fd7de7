"""Who holds a key or an identity: kept near for a stated time, and bounded."""

import asyncio
import itertools
import json
import os
from datetime import UTC, datetime

import pytest

from gateway.catalog.catalog_file import load_catalog
from gateway.identity.keys import digest_of, new_key
from gateway.subscriptions.directory import DirectoryRules, StoredDirectory
from gateway.subscriptions.store import PARTITION
from seams.tables import Entity, Value
from tests.clocks import HandClock
from tests.gateway.catalogs import KEY, OPERATOR_KEY
from tests.gateway.directories import (
    CATALOG,
    NO_SETTINGS,
    RULES,
    TTL,
    Instance,
    clock,
    here,
    settle,
    silence,
    tables,
    there,
)
from tests.gateway.memory_tables import MemoryTables

__all__ = ["clock", "here", "tables", "there"]


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
    clock.pass_by(seconds=TTL / 2 - 1)
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
    clock.pass_by(seconds=TTL * 0.6)
    before = tables.calls
    for _ in range(10):
        async with asyncio.timeout(30):
            assert await here.holder(key) == "crm"
    reading.set()
    await settle(here.directory)
    assert tables.calls == before + 1
    clock.pass_by(seconds=TTL * 0.45)
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
    clock.pass_by(seconds=TTL)
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
        clock.pass_by(seconds=TTL)
        assert await there.holder(new["secondary"]) == "crm"


async def test_a_change_holds_within_the_ttl(here: Instance, there: Instance, clock: HandClock) -> None:
    """New fields are in force at once where they were made, and within the TTL elsewhere."""
    key = (await here.create("crm")).keys["primary"]
    await here.holder(key)
    await there.holder(key)

    await here.register.change("crm", {"limits": {"concurrent": 3}}, None, "test")

    clock.pass_by(seconds=TTL)
    for instance in (here, there):
        caller = await instance.directory.holder(key.encode())
        assert caller is not None
        assert caller.entitlement().limits.concurrent == 3


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
    clock.pass_by(seconds=TTL)
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
