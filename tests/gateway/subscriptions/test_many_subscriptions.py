"""100,000 subscriptions: what a request pays for the look-up of its key."""

import os
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from gateway.catalog.catalog import Catalog
from gateway.identity.keys import digest_of, new_key
from gateway.subscriptions.directory import DirectoryRules, StoredDirectory
from gateway.subscriptions.entitlement import Entitlement
from gateway.subscriptions.store import StoredSubscription, SubscriptionStore
from local.tables import SQLiteTables
from seams.clock import SystemClock

MANY = 100_000
SAMPLE = 200
CACHED_MICROSECONDS = 20.0
UNCACHED_MILLISECONDS = 10.0
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def key_of(number: int) -> str:
    return new_key(number.to_bytes)


async def fill(path: Path) -> None:
    """Let the store write one subscription, and copy its rows under other names and digests."""
    tables = SQLiteTables(path)
    digests = digest_of(key_of(0).encode()), digest_of(os.urandom(8))
    fields = Entitlement.model_validate({"deployments": ["gpt-4o"], "limits": {"concurrent": 5}})
    await SubscriptionStore(tables).create(StoredSubscription("s0", fields, *digests, NOW, NOW, NOW, NOW))
    await tables.close()
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT * FROM entities").fetchall()
        (row,) = (each for each in rows if each[0] == "subscriptions")
        hint = next(each for each in rows if each[1] == digests[0].hex())
        numbers = [(number, digest_of(key_of(number).encode())) for number in range(1, MANY)]
        connection.executemany(
            "INSERT INTO entities VALUES (?, ?, ?, ?, ?)",
            ((row[0], row[1], f"s{n}", row[3], row[4].replace(digests[0], digest)) for n, digest in numbers),
        )
        connection.executemany(
            "INSERT INTO entities VALUES (?, ?, ?, ?, ?)",
            ((hint[0], digest.hex(), hint[2], hint[3], _renamed(hint[4], f"s{n}")) for n, digest in numbers),
        )
    connection.close()


def _renamed(columns: bytes, name: str) -> bytes:
    # MessagePack: a short string is 0xA0 plus its length, and its bytes.
    return columns.replace(b"\xa2s0", bytes([0xA0 + len(name)]) + name.encode())


async def test_many_subscriptions_do_not_slow_a_request(tmp_path: Path) -> None:
    """A known key costs microseconds, another one two point reads, and a list one page, however many there are."""
    path = tmp_path / "tables.db"
    await fill(path)
    tables = SQLiteTables(path)
    store = SubscriptionStore(tables)
    directory = StoredDirectory(Catalog({}, {}, {}, ()), store, SystemClock(), DirectoryRules())
    uncached: list[float] = []
    keys = [key_of(number * (MANY // SAMPLE)).encode() for number in range(SAMPLE)]
    for place, key in enumerate(keys):
        begin = time.perf_counter()
        caller = await directory.holder(key)
        uncached.append(time.perf_counter() - begin)
        assert caller is not None
        assert caller.entitlement().name == f"s{place * (MANY // SAMPLE)}"
    cached: list[float] = []
    for key in keys:
        begin = time.perf_counter()
        await directory.holder(key)
        cached.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    page = await store.page("s5", 100)
    listed = time.perf_counter() - begin
    await directory.close()
    await tables.close()

    assert [each.name for each in page[:2]] == ["s50", "s500"]
    assert median(cached) < CACHED_MICROSECONDS / 1e6
    assert median(uncached) < UNCACHED_MILLISECONDS / 1e3
    assert listed < 0.5
