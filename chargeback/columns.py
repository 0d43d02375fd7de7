"""Columns of our own rows as the types that they were written as; anything else in them is a TypeError."""

from datetime import datetime

from seams.tables import Value


def as_int(value: Value) -> int:
    if not isinstance(value, int):
        raise TypeError(f"a column that holds a number holds {type(value).__name__}")
    return value


def as_bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"a column that holds bytes holds {type(value).__name__}")
    return value


def as_datetime(value: Value) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"a column that holds a time holds {type(value).__name__}")
    return value
