"""A hub's events on disk: partitions that only grow, in one SQLite file.

What was committed survives the death of the process by any signal, though not a power cut. One process holds a file; a
second one is refused. Calls block, for some 50 microseconds where the file is in the page cache.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from local.transaction import Transaction

RETENTION_MILLISECONDS: Final = 7 * 24 * 3600 * 1000
_BUSY_SECONDS: Final = 5.0

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS hub (created_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS partitions (
    partition INTEGER PRIMARY KEY, next_sequence INTEGER NOT NULL, enqueued_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
    partition INTEGER NOT NULL, sequence INTEGER NOT NULL, enqueued_ms INTEGER NOT NULL, annotations BLOB NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (partition, sequence)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """`annotations` is an encoded map, as `encoding.map_of` gives it, `body` the message's sections behind it."""

    annotations: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event at its place. Sequence numbers start at 0 and have no gaps; `enqueued_ms` is Unix time."""

    sequence: int
    enqueued_ms: int
    annotations: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Extent:
    """What a partition holds: the numbers of its first event, and of its last, -1 before there was any."""

    first: int
    last: int
    last_enqueued_ms: int

    @property
    def is_empty(self) -> bool:
        return self.first > self.last


class HubLog:
    """One hub's file; used from the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.created_ms: Final = int(connection.execute("SELECT created_ms FROM hub").fetchone()[0])
        self.partitions: Final = int(connection.execute("SELECT count(*) FROM partitions").fetchone()[0])

    @classmethod
    def open(cls, path: Path, partitions: int, now_ms: int) -> Self:
        """Open the file, or make it with so many partitions; what is older than a week is dropped.

        Raises sqlite3.Error, for instance where another process has it open.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")
            connection.executescript(f"BEGIN EXCLUSIVE; {_SCHEMA} COMMIT;")
            with Transaction(connection):
                if connection.execute("SELECT 1 FROM hub").fetchone() is None:
                    connection.execute("INSERT INTO hub VALUES (?)", (now_ms,))
                    connection.executemany("INSERT INTO partitions VALUES (?, 0, 0)", [(n,) for n in range(partitions)])
                connection.execute("DELETE FROM events WHERE enqueued_ms < ?", (now_ms - RETENTION_MILLISECONDS,))
            return cls(connection)
        except BaseException:
            connection.close()
            raise

    def append(self, partition: int, events: Sequence[NewEvent], now_ms: int) -> None:
        """Commit events behind what the partition holds, all or none. Time never goes back inside a partition."""
        connection = self._connection
        with Transaction(connection):
            following, last_ms = connection.execute(
                "SELECT next_sequence, enqueued_ms FROM partitions WHERE partition = ?", (partition,)
            ).fetchone()
            now_ms = max(now_ms, last_ms)
            connection.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
                [
                    (partition, sequence, now_ms, event.annotations, event.body)
                    for sequence, event in enumerate(events, following)
                ],
            )
            connection.execute(
                "UPDATE partitions SET next_sequence = ?, enqueued_ms = ? WHERE partition = ?",
                (following + len(events), now_ms, partition),
            )

    def read(self, partition: int, start: int, max_events: int, max_bytes: int) -> list[LoggedEvent]:
        """Return events from a sequence number on; fewer where they are large, but always the first."""
        found: list[LoggedEvent] = []
        total = 0
        for row in self._connection.execute(
            "SELECT sequence, enqueued_ms, annotations, body FROM events WHERE partition = ? AND sequence >= ?"
            " ORDER BY sequence LIMIT ?",
            (partition, start, max_events),
        ):
            total += len(row[3])
            if found and total > max_bytes:
                break
            found.append(LoggedEvent(*row))
        return found

    def extent(self, partition: int) -> Extent:
        following, enqueued_ms = self._connection.execute(
            "SELECT next_sequence, enqueued_ms FROM partitions WHERE partition = ?", (partition,)
        ).fetchone()
        first = self._connection.execute(
            "SELECT min(sequence) FROM events WHERE partition = ?", (partition,)
        ).fetchone()
        return Extent(following if first[0] is None else first[0], following - 1, enqueued_ms)

    def sequence_at(self, partition: int, enqueued_ms: int, *, inclusive: bool) -> int:
        """Return the number of the first event enqueued after a time, or at it; the next number where there is none."""
        comparison = ">=" if inclusive else ">"
        row = self._connection.execute(
            f"SELECT min(sequence) FROM events WHERE partition = ? AND enqueued_ms {comparison} ?",  # noqa: S608 - one of two operators
            (partition, enqueued_ms),
        ).fetchone()
        return self.extent(partition).last + 1 if row[0] is None else int(row[0])

    def close(self) -> None:
        self._connection.close()
