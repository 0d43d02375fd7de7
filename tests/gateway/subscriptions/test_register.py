"""What operators do, where rivals and slow tables are in the way."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.catalog.catalog_file import load_catalog
from gateway.errors import SubscriptionInvalid, SubscriptionsUnavailable
from gateway.subscriptions import register as module
from gateway.subscriptions.directory import StoredDirectory
from gateway.subscriptions.entitlement import Entitlement
from gateway.subscriptions.register import SubscriptionRegister, merged
from gateway.subscriptions.store import PARTITION, SubscriptionStore
from seams.clock import SystemClock
from seams.tables import Entity
from tests.gateway.memory_tables import MemoryTables

CATALOG = {
    "backends": {"b": {"endpoint": "https://b.openai.azure.com"}},
    "deployments": {"gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "b"}]}},
    "subscriptions": {"team-a": {"identities": ["oid:a"]}},
}
NO_SETTINGS: dict[str, str] = {}
PLACE = ("subscriptions", PARTITION, "crm")


@pytest.fixture
def tables() -> MemoryTables:
    return MemoryTables()


@pytest.fixture
def register(tables: MemoryTables) -> SubscriptionRegister:
    catalog = load_catalog(json.dumps(CATALOG), NO_SETTINGS.get)
    store = SubscriptionStore(tables)
    directory = StoredDirectory(catalog, store, SystemClock())
    return SubscriptionRegister(catalog, store, directory, SystemClock(), os.urandom)


def let_rivals_change_it(tables: MemoryTables, times: int) -> None:
    """Give the row of crm another ETag after each of the next reads of it."""
    left = times

    async def rival() -> None:
        nonlocal left
        row = tables.rows.get(PLACE)
        if row is not None and left:
            left -= 1
            tables.rows[PLACE] = Entity(row.partition, row.row, row.values, f"rival{left}")

    tables.after = rival


@pytest.mark.parametrize("deed", ["change", "rotate", "revoke"])
async def test_a_rival_is_waited_for(register: SubscriptionRegister, tables: MemoryTables, deed: str) -> None:
    """A change that came second is made on what the first one left."""
    await register.create("crm", Entitlement(), "test")
    let_rivals_change_it(tables, 2)
    if deed == "change":
        assert (await register.change("crm", {"cost_centre": "1"}, None, "test")).entitlement.cost_centre == "1"
    elif deed == "rotate":
        assert list((await register.rotate("crm", "primary", None, "test")).keys) == ["primary"]
    else:
        await register.revoke("crm", None, "test")
        assert PLACE not in tables.rows


@pytest.mark.parametrize("deed", ["change", "revoke"])
async def test_endless_rivals(register: SubscriptionRegister, tables: MemoryTables, deed: str) -> None:
    """Where others are always first, the operator is told to come back."""
    await register.create("crm", Entitlement(), "test")
    let_rivals_change_it(tables, 1000)
    deeds: dict[str, Callable[[], Awaitable[object]]] = {
        "change": lambda: register.change("crm", {"cost_centre": "1"}, None, "test"),
        "revoke": lambda: register.revoke("crm", None, "test"),
    }
    with pytest.raises(SubscriptionsUnavailable, match="Others are changing"):
        await deeds[deed]()


async def test_slow_tables(
    register: SubscriptionRegister, tables: MemoryTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that takes too long is given up as one whose outcome is unknown."""
    monkeypatch.setattr(module, "CHANGE_SECONDS", 0.05)

    async def hang() -> None:
        await asyncio.Event().wait()

    tables.before = hang
    async with asyncio.timeout(30):
        with pytest.raises(SubscriptionsUnavailable, match="unknown"):
            await register.create("crm", Entitlement(), "test")


async def test_fields_that_the_table_cannot_hold(register: SubscriptionRegister, tables: MemoryTables) -> None:
    """What the catalog has, and what is too long for a row, is refused before anything is written."""
    many = Entitlement(deployments=["gpt-4o"] * 4000, identities=["oid:a"])
    with pytest.raises(SubscriptionInvalid) as refused:
        await register.create("crm", many, "test")
    assert "identities: the catalog's team-a lists oid:a" in refused.value.message
    assert "over 30000 characters" in refused.value.message
    assert tables.calls == 0


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(document: Any, patch: Any, result: Any) -> None:
    """The examples of RFC 7396, appendix A."""
    assert merged(document, patch) == result
