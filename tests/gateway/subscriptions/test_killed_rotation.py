"""Rotation in a process that is killed at any moment, over a file that others use."""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from gateway.catalog.catalog_file import load_catalog
from gateway.identity.keys import digest_of, new_key
from gateway.subscriptions.directory import StoredDirectory
from gateway.subscriptions.entitlement import Entitlement
from gateway.subscriptions.store import StoredSubscription, SubscriptionStore
from local.tables import SQLiteTables
from seams.clock import SystemClock

NO_SETTINGS: dict[str, str] = {}
KILLS = 8
NOW = datetime(2026, 11, 21, tzinfo=UTC)
CATALOG = {
    "backends": {"b": {"endpoint": "https://b.openai.azure.com"}},
    "deployments": {"gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "b"}]}},
}
ROTATE = """
import asyncio, json, os, sys
from pathlib import Path
from gateway.catalog.catalog_file import load_catalog
from gateway.subscriptions.directory import StoredDirectory
from gateway.subscriptions.register import SubscriptionRegister
from gateway.subscriptions.store import SubscriptionStore
from local.tables import SQLiteTables
from seams.clock import SystemClock

async def rotate():
    catalog, store = load_catalog(sys.argv[2], {}.get), SubscriptionStore(SQLiteTables(Path(sys.argv[1])))
    directory = StoredDirectory(catalog, store, SystemClock())
    register = SubscriptionRegister(catalog, store, directory, SystemClock(), os.urandom)
    while True:
        print((await register.rotate("crm", "secondary", None, "test")).keys["secondary"], flush=True)

asyncio.run(rotate())
"""


async def test_killed_in_the_midst_of_rotations(tmp_path: Path) -> None:
    """After each SIGKILL the primary key works, one secondary at most, and that is the one that the row holds."""
    path, random = tmp_path / "tables.db", Random(11)
    primary = new_key(os.urandom)
    digests = digest_of(primary.encode()), digest_of(new_key(os.urandom).encode())
    tables = SQLiteTables(path)
    store = SubscriptionStore(tables)
    await store.create(StoredSubscription("crm", Entitlement(), *digests, NOW, NOW, NOW, NOW))
    shown: list[str] = []
    for _ in range(KILLS):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ROTATE, str(path), json.dumps(CATALOG)), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        async with asyncio.timeout(20):
            shown.append((await process.stdout.readline()).decode().strip())
            await asyncio.sleep(random.random() * 0.02)
            process.kill()
            shown += (await process.stdout.read()).decode().split()
            await process.wait()
        directory = StoredDirectory(load_catalog(json.dumps(CATALOG), NO_SETTINGS.get), store, SystemClock())
        assert await directory.holder(primary.encode()) is not None
        row = await store.get("crm")
        assert row is not None
        working = [key for key in shown if await store.holder(digest_of(key.encode())) is not None]
        assert [digest_of(key.encode()) for key in working] in ([row.secondary], [])
        await directory.close()
    await tables.close()
    assert len(set(shown)) == len(shown) >= KILLS
