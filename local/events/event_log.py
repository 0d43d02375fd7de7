"""The file of one event hub on a developer's machine: SQLite in WAL mode, partitions that only grow, checkpoints.

Committed events survive the death of the process by any signal; WAL without a sync per commit gives up the last
moments before a power cut, as a developer's machine may. Several processes may share a file. Everything here blocks.
"""

import sqlite3
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from local.transaction import Transaction

PARTITIONS: Final = 4
RETENTION: Final = timedelta(days=7)
_BUSY_SECONDS: Final = 5.0

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS hub (incarnation TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS partitions (partition INTEGER PRIMARY KEY, next_sequence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    partition INTEGER NOT NULL, sequence INTEGER NOT NULL, enqueued_us INTEGER NOT NULL, key TEXT NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (partition, sequence)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoints (
    consumer_group TEXT NOT NULL, partition INTEGER NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY (consumer_group, partition)
) WITHOUT ROWID;
"""


class NewEvent(NamedTuple):
    partition: int
    key: str
    body: bytes


class StoredEvent(NamedTuple):
    """An event as it lies in its partition; sequence numbers start at 0 and have no gaps."""

    sequence: int
    enqueued_at: datetime
    key: str
    body: bytes


class EventLog:
    """One open file; used from the thread that opened it."""

    def __init__(self, path: Path, now: datetime) -> None:
        """Open or make the file, and drop what is older than RETENTION, as a hub does. Raises sqlite3.Error."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            self._prepare(now)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, now: datetime) -> None:
        connection = self._connection
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        with Transaction(connection):
            if connection.execute("SELECT 1 FROM hub").fetchone() is None:
                connection.execute("INSERT INTO hub VALUES (?)", (uuid.uuid4().hex,))
                connection.executemany("INSERT INTO partitions VALUES (?, 0)", [(n,) for n in range(PARTITIONS)])
            connection.execute("DELETE FROM events WHERE enqueued_us < ?", (_microseconds(now - RETENTION),))

    def incarnation(self) -> str:
        """Return the random id that was made with the file."""
        return str(self._connection.execute("SELECT incarnation FROM hub").fetchone()[0])

    def append(self, events: Sequence[NewEvent], now: datetime) -> None:
        """Commit events behind what their partitions hold, in the order given, all or none. Raises sqlite3.Error."""
        connection, enqueued_us = self._connection, _microseconds(now)
        with Transaction(connection):
            following: dict[int, int] = dict(connection.execute("SELECT partition, next_sequence FROM partitions"))
            rows = []
            for event in events:
                rows.append((event.partition, following[event.partition], enqueued_us, event.key, event.body))
                following[event.partition] += 1
            connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
            connection.executemany(
                "UPDATE partitions SET next_sequence = ? WHERE partition = ?",
                [(following[partition], partition) for partition in {event.partition for event in events}],
            )

    def ends(self) -> dict[int, int]:
        """Return the last sequence number that each partition has given out, -1 before the first."""
        rows = self._connection.execute("SELECT partition, next_sequence - 1 FROM partitions")
        return dict(rows.fetchall())

    def read(self, partition: int, after: int, limit: int) -> list[StoredEvent]:
        """Return up to `limit` events of a partition with sequence numbers above `after`, in order."""
        rows = self._connection.execute(
            "SELECT sequence, enqueued_us, key, body FROM events WHERE partition = ? AND sequence > ?"
            " ORDER BY sequence LIMIT ?",
            (partition, after, limit),
        )
        return [StoredEvent(sequence, _moment(enqueued_us), key, body) for sequence, enqueued_us, key, body in rows]

    def checkpoint(self, consumer_group: str, partition: int) -> int:
        """Return the last sequence number that a consumer group is done with, -1 where it has not begun."""
        row = self._connection.execute(
            "SELECT sequence FROM checkpoints WHERE consumer_group = ? AND partition = ?", (consumer_group, partition)
        ).fetchone()
        return -1 if row is None else int(row[0])

    def save_checkpoint(self, consumer_group: str, partition: int, sequence: int) -> None:
        self._connection.execute(
            "INSERT INTO checkpoints VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET sequence = max(sequence, excluded.sequence)",
            (consumer_group, partition, sequence),
        )

    def close(self) -> None:
        self._connection.close()


def _microseconds(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
