"""Directories of two instances over the same rows in memory, their time in the test's hand."""

import asyncio
import json
import os
from collections.abc import AsyncIterator

import pytest

from gateway.catalog.catalog import Catalog
from gateway.catalog.catalog_file import load_catalog
from gateway.identity.keys import new_key
from gateway.subscriptions.directory import DirectoryRules, StoredDirectory
from gateway.subscriptions.entitlement import Entitlement
from gateway.subscriptions.lookups import LookupRules
from gateway.subscriptions.register import Keyed, SubscriptionRegister
from gateway.subscriptions.store import SubscriptionStore
from seams.tables import TableUnavailable
from tests.clocks import HandClock
from tests.gateway.catalogs import KEY, OPERATOR_KEY, key_hash
from tests.gateway.memory_tables import MemoryTables

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
