"""Transactions on SQLite files that several processes may write."""

import sqlite3


class Transaction:
    """Commits at the end of the `with`, or takes everything back, also where the commit fails.

    BEGIN IMMEDIATE takes the write lock first: a transaction that begins by reading may fail to become a writer.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            # SQLite itself has rolled back after some errors, such as a full disk.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
