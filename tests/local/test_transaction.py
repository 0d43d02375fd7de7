"""Transactions on SQLite files, whole or not at all."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from local.transaction import Transaction


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "file.sqlite", autocommit=True)) as opened:
        opened.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
        opened.execute("PRAGMA foreign_keys = ON")
        opened.execute("CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
        yield opened


def write(connection: sqlite3.Connection, *statements: str) -> None:
    with Transaction(connection):
        for statement in statements:
            connection.execute(statement)


def parents(connection: sqlite3.Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT id FROM parents ORDER BY id")]


def test_whole(connection: sqlite3.Connection) -> None:
    """What was written inside stays, and the next transaction may begin."""
    write(connection, "INSERT INTO parents VALUES (1)")
    write(connection, "INSERT INTO parents VALUES (2)")
    assert parents(connection) == [1, 2]


@pytest.mark.parametrize("last", ["INSERT INTO nowhere VALUES (1)", "INSERT INTO children VALUES (7)"])
def test_not_at_all(connection: sqlite3.Connection, last: str) -> None:
    """Where a statement fails, or the commit itself, everything is taken back, and the next transaction may begin."""
    with pytest.raises(sqlite3.Error):
        write(connection, "INSERT INTO parents VALUES (1)", last)
    assert parents(connection) == []
    write(connection, "INSERT INTO parents VALUES (2)")
    assert parents(connection) == [2]
