"""SQLite's own promises, beyond the contract."""

import asyncio
import multiprocessing
import os
import signal
import sqlite3
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from local.tables import SQLiteTables
from seams.tables import Entity, Insert, Replace, TableConflict, TableUnavailable


def write_until_killed(path: Path, acknowledged: Connection) -> None:
    async def write() -> None:
        table = await SQLiteTables(path).table("rows")
        for n in range(1_000_000):
            await table.transact([Insert(Entity("p", f"{n:07}"))])
            acknowledged.send(n)

    asyncio.run(write())


async def test_acknowledged_rows_survive_sigkill(tmp_path: Path) -> None:
    """Every row whose write was acknowledged is there after the process was killed in mid-write."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=write_until_killed, args=(tmp_path / "tables.db", sender))
    process.start()
    sender.close()
    last = -1
    while last < 200:
        last = await asyncio.to_thread(receiver.recv)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    try:
        while True:
            last = receiver.recv()
    except EOFError:
        receiver.close()
    process.join()

    tables = SQLiteTables(tmp_path / "tables.db")
    rows = [entity.row async for entity in (await tables.table("rows")).query("p")]
    await tables.close()

    assert rows[: last + 1] == [f"{n:07}" for n in range(last + 1)]


async def test_two_openings_share_the_file(tmp_path: Path) -> None:
    """What one opening of the file wrote the other sees, and ETags hold between them."""
    stores = [SQLiteTables(tmp_path / "tables.db") for _ in range(2)]
    one, other = [await store.table("rows") for store in stores]
    (etag,) = await one.transact([Insert(Entity("p", "r"))])

    await other.transact([Replace(Entity("p", "r", {"n": 1}, etag))])
    with pytest.raises(TableConflict):
        await one.transact([Replace(Entity("p", "r", {"n": 2}, etag))])

    for store in stores:
        await store.close()


async def test_busy_file_is_unavailable_within_the_time_out(tmp_path: Path) -> None:
    """A write lock that somebody else holds for too long is TableUnavailable, and passes."""
    tables = SQLiteTables(tmp_path / "tables.db", busy_timeout=0.05)
    table = await tables.table("rows")
    rival = sqlite3.connect(tmp_path / "tables.db", autocommit=True)
    rival.execute("BEGIN IMMEDIATE")

    with pytest.raises(TableUnavailable, match="locked"):
        await table.transact([Insert(Entity("p", "r"))])
    rival.execute("ROLLBACK")
    await table.transact([Insert(Entity("p", "r"))])

    rival.close()
    await tables.close()


async def test_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    """A missing folder or a file that is no database is TableUnavailable, and closing still works."""
    (tmp_path / "text.db").write_text("not a database" * 100)
    for path in (tmp_path / "missing" / "tables.db", tmp_path / "text.db"):
        tables = SQLiteTables(path)
        with pytest.raises(TableUnavailable):
            await tables.table("rows")
        await tables.close()
