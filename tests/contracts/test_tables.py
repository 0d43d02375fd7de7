"""What every implementation of `seams.tables` does alike."""

import asyncio
import os
from datetime import UTC, datetime, timedelta, timezone

import pytest

from seams.tables import (
    Delete,
    Entity,
    Insert,
    Operation,
    Replace,
    Table,
    TableConflict,
    Tables,
    Upsert,
    Value,
    transactions,
)

VALUES: dict[str, Value] = {
    "text": "naïve 'quoted' \N{WHITE SMILING FACE} \U0001f4a1",
    "empty": "",
    "small": -1,
    "large": 2**31,
    "largest": 2**63 - 1,
    "smallest": -(2**63),
    "real": 0.1,
    "whole": 2.0,
    "yes": True,
    "no": False,
    "raw": bytes(range(256)) * 16,
    "none": b"",
    "moment": datetime(2026, 11, 21, 4, 5, 6, 789012, tzinfo=UTC),
}


async def rows_of(table: Table, partition: str | None = None, first: str = "", end: str | None = None) -> list[str]:
    return [entity.row async for entity in table.query(partition, first, end, in_order=True)]


async def test_values_come_back_as_they_went(table: Table) -> None:
    """Every type of value is read back equal and of its own type."""
    await table.transact([Insert(Entity("p", "r", VALUES))])

    entity = await table.get("p", "r")

    assert entity is not None
    assert dict(entity.values) == VALUES
    assert {name: type(value) for name, value in entity.values.items()} == {
        name: type(value) for name, value in VALUES.items()
    }


async def test_datetime_keeps_its_instant(table: Table) -> None:
    """A time given in another zone is the same instant, in UTC."""
    moment = datetime(2026, 11, 21, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    await table.transact([Insert(Entity("p", "r", {"moment": moment}))])

    entity = await table.get("p", "r")

    assert entity is not None
    assert entity.values["moment"] == moment
    assert isinstance(entity.values["moment"], datetime)
    assert entity.values["moment"].utcoffset() == timedelta(0)


async def test_unknown_row_is_none(table: Table) -> None:
    """A row that was never written is None, not an error."""
    assert await table.get("p", "nothing") is None


async def test_etag_of_write_is_etag_of_read(table: Table) -> None:
    """The ETag that a write returned, alone or in a transaction, is the one that reads and queries show."""
    (alone,) = await table.transact([Insert(Entity("p", "a"))])
    together = await table.transact([Insert(Entity("p", "b")), Upsert(Entity("p", "c"))])

    assert [entity.etag async for entity in table.query("p", in_order=True)] == [alone, *together]
    read = await table.get("p", "b")
    assert read is not None
    assert read.etag == together[0]


async def test_insert_of_existing_row_conflicts(table: Table) -> None:
    """Insert never overwrites."""
    await table.transact([Insert(Entity("p", "r", {"n": 1}))])

    with pytest.raises(TableConflict) as caught:
        await table.transact([Insert(Entity("p", "r", {"n": 2}))])

    assert caught.value.index == 0
    entity = await table.get("p", "r")
    assert entity is not None
    assert entity.values == {"n": 1}


async def test_replace_takes_the_place_of_all_columns(table: Table) -> None:
    """Replace and Upsert leave no column of before."""
    (etag,) = await table.transact([Insert(Entity("p", "r", {"old": 1}))])
    (changed,) = await table.transact([Replace(Entity("p", "r", {"new": 2}, etag))])

    entity = await table.get("p", "r")
    assert entity == Entity("p", "r", {"new": 2}, changed)
    assert changed != etag
    await table.transact([Upsert(Entity("p", "r", {"newer": 3}))])
    entity = await table.get("p", "r")
    assert entity is not None
    assert entity.values == {"newer": 3}


@pytest.mark.parametrize("count", [1, 3])
async def test_replace_under_an_old_etag_conflicts(table: Table, count: int) -> None:
    """A stale ETag conflicts, alone and in a transaction, and names the operation."""
    (stale,) = await table.transact([Insert(Entity("p", "r"))])
    await table.transact([Upsert(Entity("p", "r", {"n": 1}))])
    others: list[Operation] = [Insert(Entity("p", f"other-{n}")) for n in range(count - 1)]

    with pytest.raises(TableConflict) as caught:
        await table.transact([*others, Replace(Entity("p", "r", {"n": 2}, stale))])

    assert caught.value.index == count - 1
    assert await rows_of(table, "p") == ["r"]


async def test_replace_of_missing_row_conflicts(table: Table) -> None:
    """A row that was deleted in between is a conflict, not an error of its own."""
    (etag,) = await table.transact([Insert(Entity("p", "r"))])
    await table.transact([Delete("p", "r")])

    with pytest.raises(TableConflict):
        await table.transact([Replace(Entity("p", "r", {}, etag))])


async def test_etag_of_a_row_made_again_is_new(table: Table) -> None:
    """Deleting and making a row again invalidates the ETags of before."""
    (etag,) = await table.transact([Insert(Entity("p", "r"))])
    await table.transact([Delete("p", "r")])
    await table.transact([Insert(Entity("p", "r"))])

    with pytest.raises(TableConflict):
        await table.transact([Replace(Entity("p", "r", {}, etag))])


async def test_delete(table: Table) -> None:
    """Delete obeys its ETag, returns None, and conflicts where there is no row."""
    (etag,) = await table.transact([Insert(Entity("p", "r"))])
    (changed,) = await table.transact([Upsert(Entity("p", "r", {"n": 1}))])

    with pytest.raises(TableConflict):
        await table.transact([Delete("p", "r", etag)])
    assert await table.transact([Delete("p", "r", changed)]) == [None]
    with pytest.raises(TableConflict):
        await table.transact([Delete("p", "r")])
    assert await table.get("p", "r") is None


async def test_transaction_is_all_or_nothing(table: Table) -> None:
    """One operation's conflict undoes those before and after it."""
    (etag,) = await table.transact([Insert(Entity("p", "kept", {"n": 1}))])

    with pytest.raises(TableConflict) as caught:
        await table.transact(
            [
                Upsert(Entity("p", "first")),
                Replace(Entity("p", "kept", {"n": 2}, etag)),
                Delete("p", "missing"),
                Insert(Entity("p", "last")),
            ]
        )

    assert caught.value.index == 2
    assert await rows_of(table) == ["kept"]
    entity = await table.get("p", "kept")
    assert entity is not None
    assert entity.values == {"n": 1}


async def test_transaction_of_a_hundred(table: Table) -> None:
    """A hundred operations are one transaction, a hundred and one are refused."""
    operations = [Insert(Entity("p", f"{n:03}", {"ring": os.urandom(512 * 8)})) for n in range(101)]

    assert len(await table.transact(operations[:100])) == 100
    with pytest.raises(ValueError, match="1 to 100"):
        await table.transact(operations)
    assert len(await rows_of(table, "p")) == 100


async def test_transaction_of_a_megabyte(table: Table) -> None:
    """A transaction stays far below Cosmos DB's 2 MB, counted as it is sent: bytes in base64."""
    operations = [Insert(Entity("p", f"{n:03}", {"raw": os.urandom(64 * 1024)})) for n in range(12)]

    assert len(await table.transact(operations[:11])) == 11
    with pytest.raises(ValueError, match="1000000 bytes"):
        await table.transact([Upsert(one.entity) for one in operations])
    assert len(await rows_of(table, "p")) == 11


async def test_one_row_may_be_as_large_as_a_row_may_be(table: Table) -> None:
    """A row of many large columns is written, alone."""
    values: dict[str, Value] = {f"raw_{n}": os.urandom(64 * 1024) for n in range(11)}

    (etag,) = await table.transact([Insert(Entity("p", "r", values))])

    assert await table.get("p", "r") == Entity("p", "r", values, etag)


async def test_what_is_split_is_taken(table: Table) -> None:
    """However large and odd the columns, the transactions that operations are split into are within the limits."""
    texts = ["x" * 3000, '"' * 3000, "\n" * 1500, "ü" * 3000, "\N{EARTH GLOBE AMERICAS}" * 1500, "\\" * 3000]
    operations = [
        Insert(Entity("p", f"{n:04}", {"text": texts[n % len(texts)], "raw": os.urandom(4096), "n": 2**62}))
        for n in range(250)
    ]

    split = list(transactions(operations))

    assert [one for lot in split for one in lot] == operations
    assert 3 <= len(split) <= 9
    for lot in split:
        await table.transact(lot)
    assert len(await rows_of(table, "p")) == 250


@pytest.mark.parametrize("key", ["", "a/b", "a\\b", "a#b", "a?b", "a\x00b", "a\x85b", "x" * 255, "ä" * 128])
async def test_forbidden_keys_are_refused(table: Table, key: str) -> None:
    """What one store could not hold as a key is a ValueError in all of them."""
    with pytest.raises(ValueError, match="not a table key"):
        await table.transact([Insert(Entity("p", key))])
    with pytest.raises(ValueError, match="not a table key"):
        await table.transact([Insert(Entity(key, "r"))])


@pytest.mark.parametrize("key", ["a b", "it's", "a|b=c~d", "x" * 254, "Größe", "+&%20", "{}()!*;:@,$"])
async def test_odd_keys_are_kept(table: Table, key: str) -> None:
    """Keys that are allowed are stored, found by get and by query, replaced and deleted."""
    (etag,) = await table.transact([Insert(Entity(key, key))])
    assert await table.get(key, key) == Entity(key, key, {}, etag)
    assert await rows_of(table, key, key, f"{key}~") == [key]
    await table.transact([Replace(Entity(key, key, {"n": 1}, etag))])
    assert await table.transact([Delete(key, key)]) == [None]


async def test_what_breaks_other_limits_is_refused(table: Table) -> None:
    """Two partitions, a row twice, Replace without ETag, no operation at all: ValueError."""
    broken: list[list[Operation]] = [
        [],
        [Insert(Entity("p", "r")), Insert(Entity("q", "r"))],
        [Insert(Entity("p", "r")), Delete("p", "r")],
        [Replace(Entity("p", "r"))],
    ]
    for operations in broken:
        with pytest.raises(ValueError, match=r"transaction|ETag"):
            await table.transact(operations)


@pytest.mark.parametrize(
    "value",
    [bytes(64 * 1024 + 1), "x" * (32 * 1024 + 1), 2**63, datetime(2026, 1, 1)],  # noqa: DTZ001 - naive on purpose
    ids=["bytes", "text", "int", "naive datetime"],
)
async def test_oversized_values_are_refused(table: Table, value: Value) -> None:
    """A property has at most 64 KiB, an int 64 bits, and a time a zone."""
    with pytest.raises(ValueError, match=r"."):
        await table.transact([Insert(Entity("p", "r", {"value": value}))])
    with pytest.raises(ValueError, match=r"."):
        await table.transact([Insert(Entity("p", "a")), Insert(Entity("p", "r", {"value": value}))])
    assert await rows_of(table) == []


async def test_largest_values_fit(table: Table) -> None:
    """Just under the limit is kept."""
    values: dict[str, Value] = {"raw": os.urandom(64 * 1024), "text": "ü" * 32 * 1024}
    await table.transact([Insert(Entity("p", "r", values))])

    entity = await table.get("p", "r")

    assert entity is not None
    assert dict(entity.values) == values


async def test_queries(table: Table) -> None:
    """A query yields first <= RowKey < end of one partition or of all, in order where that is asked for."""
    for partition in ("p", "p|q", "q"):
        await table.transact([Insert(Entity(partition, row)) for row in ("c", "a", "b", "b|1")])

    assert await rows_of(table, "p") == ["a", "b", "b|1", "c"]
    assert await rows_of(table, "p", "b") == ["b", "b|1", "c"]
    assert await rows_of(table, "p", "b", "c") == ["b", "b|1"]
    assert await rows_of(table, "p", end="b") == ["a"]
    assert await rows_of(table, "nobody") == []
    assert [(e.partition, e.row) async for e in table.query(None, "b|1", "d", in_order=True)] == [
        *(("p", "b|1"), ("p", "c"), ("p|q", "b|1"), ("p|q", "c"), ("q", "b|1"), ("q", "c"))
    ]
    assert {(e.partition, e.row) async for e in table.query(None, "c")} == {("p", "c"), ("p|q", "c"), ("q", "c")}


async def test_query_of_some_columns(table: Table) -> None:
    """Only the named columns are read, those that a row lacks are left out, and what was read in part has no ETag."""
    rows = [Entity("p", "a", {"one": 1, "two": 2, "large": b"x" * 60_000}), Entity("p", "b", {"two": 2})]
    await table.transact([Insert(row) for row in rows])

    some = [entity async for entity in table.query("p", columns=["one", "two", "three"], in_order=True)]
    none = [entity async for entity in table.query("p", columns=[], in_order=True)]

    assert [dict(entity.values) for entity in some] == [{"one": 1, "two": 2}, {"two": 2}]
    assert [(entity.row, dict(entity.values)) for entity in none] == [("a", {}), ("b", {})]
    assert [entity.etag for entity in (*some, *none)] == [None] * 4


async def test_query_over_many_pages(table: Table) -> None:
    """More rows than a page (1,000 on Azure) come complete and in order."""
    expected = [f"{n:05}" for n in range(1100)]
    for start in range(0, 1100, 100):
        await table.transact([Insert(Entity("p", row)) for row in expected[start : start + 100]])

    assert await rows_of(table, "p") == expected


async def test_tables_are_apart(tables: Tables) -> None:
    """A row of one table is not in another, and a table opened twice is the same."""
    one, other = f"a{os.urandom(6).hex()}", f"b{os.urandom(6).hex()}"
    await (await tables.table(one)).transact([Insert(Entity("p", "r"))])

    assert await (await tables.table(one)).get("p", "r") is not None
    assert await (await tables.table(other)).get("p", "r") is None


async def test_table_is_opened_by_many_at_once(tables: Tables) -> None:
    """Any number of callers may open a table that does not exist yet."""
    name = f"c{os.urandom(6).hex()}"
    opened = await asyncio.gather(*[tables.table(name) for _ in range(20)])

    await opened[0].transact([Insert(Entity("p", "r"))])
    assert await opened[-1].get("p", "r") is not None


@pytest.mark.parametrize("name", ["", "ab", "1st", "with-dash", "x" * 64])
async def test_table_names(tables: Tables, name: str) -> None:
    """A name that Table storage does not take is a ValueError."""
    with pytest.raises(ValueError, match="not a table name"):
        await tables.table(name)


async def test_one_of_two_writers_wins(table: Table) -> None:
    """Of writers with the same ETag one wins; those who read again lose no update."""
    await table.transact([Insert(Entity("p", "r", {"n": 0}))])

    async def increment() -> int:
        conflicts = 0
        while True:
            entity = await table.get("p", "r")
            assert entity is not None
            assert isinstance(entity.values["n"], int)
            try:
                await table.transact([Replace(Entity("p", "r", {"n": entity.values["n"] + 1}, entity.etag))])
            except TableConflict:
                conflicts += 1
            else:
                return conflicts

    conflicts = sum(await asyncio.gather(*[increment() for _ in range(8)]))

    entity = await table.get("p", "r")
    assert entity is not None
    assert entity.values["n"] == 8
    assert conflicts > 0
