"""Kept answers in the table `cache`, for all instances; storage that fails or is slow is a cache without the answer.

PartitionKey is a subscription's scope and the first two digits of the answer's key, RowKey the key; the answer's bytes
are in columns of 60 KiB. Beside them stand the vectors of similar questions: PartitionKey is the scope and the
question's context, RowKey counts down with time, so that the newest come first. No row holds what was asked.

Rows outlive their time until a subscription writes into their partition again: then, at most once in `SWEEP_SECONDS`,
those that are over are deleted.
"""

import asyncio
import logging
from array import array
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

import msgspec

from gateway.cache.caching import KeptAnswer
from gateway.usage import Meters
from seams.clock import Clock
from seams.tables import Delete, Entity, Table, TableConflict, TableError, Tables, Upsert, Value

TABLE: Final = "cache"
COLUMN: Final = 60 * 1024
READ_SECONDS: Final = 0.5
WRITE_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 10.0
"""For which storage that failed is left alone: until then calls are answered without it."""

SWEEP_SECONDS: Final = 3600.0
MOST_SWEPT: Final = 10_000
"""Partitions whose last sweep is remembered."""

MOST_DELETED: Final = 50
"""Rows a sweep; the next write goes on where there are more."""

MOST_ALIKE: Final = 200
_LAST: Final = 0xFFFF_FFFF_FFFF

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """A question that was answered: its unit vector, what must agree (`gateway.cache.turns`), and its answer's key."""

    vector: list[float] = field(repr=False)
    tokens: str
    key: str
    expires_at: datetime


class KeptRows:
    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock
        self._silent_until = 0.0
        self._swept: OrderedDict[str, float] = OrderedDict()

    async def answer(self, scope: str, key: str) -> KeptAnswer | None:
        """Return the answer to a key, whether it is over or not; None too where storage does not tell."""
        entity = await self._guarded(self._get(_partition(scope, key), key), READ_SECONDS)
        return None if entity is None else _answer(entity)

    async def questions(self, scope: str, context: str) -> list[Question] | None:
        """Return the newest questions that were asked in a context; None where storage does not tell."""
        return await self._guarded(self._newest(f"{scope}-{context}"), READ_SECONDS)

    async def keep(self, scope: str, key: str, answer: KeptAnswer) -> None:
        """Write an answer, in place of what was kept for its key."""
        await self._write(Entity(_partition(scope, key), key, _columns(answer)))

    async def add(self, scope: str, context: str, question: Question) -> None:
        """Write a question. It is asked for by its context from now on."""
        milliseconds = int(self._clock.now().timestamp() * 1000)
        values: dict[str, Value] = {
            "vector": array("f", question.vector).tobytes(),
            "tokens": question.tokens,
            "key": question.key,
            "expires_at": question.expires_at,
        }
        await self._write(Entity(f"{scope}-{context}", f"{_LAST - milliseconds:012x}-{question.key[:16]}", values))

    async def _get(self, partition: str, row: str) -> Entity | None:
        return await (await self._table()).get(partition, row)

    async def _newest(self, partition: str) -> list[Question]:
        """Return the newest; of more than MOST_ALIKE any, where the store does not keep rows in order."""
        questions: list[Question] = []
        table = await self._table()
        async with aclosing(_closable(table.query(partition))) as rows:
            async for entity in rows:
                question = _question(entity)
                if question is not None:
                    questions.append(question)
                if len(questions) == MOST_ALIKE:
                    break
        return questions

    async def _write(self, entity: Entity) -> None:
        await self._guarded(self._upsert(entity), WRITE_SECONDS)

    async def _upsert(self, entity: Entity) -> None:
        table = await self._table()
        await table.transact([Upsert(entity)])
        if self._sweeps(entity.partition):
            await self._sweep(table, entity.partition)

    def _sweeps(self, partition: str) -> bool:
        now = self._clock.monotonic()
        if now - self._swept.get(partition, -SWEEP_SECONDS) < SWEEP_SECONDS:
            return False
        self._swept[partition] = now
        self._swept.move_to_end(partition)
        if len(self._swept) > MOST_SWEPT:
            self._swept.popitem(last=False)
        return True

    async def _sweep(self, table: Table, partition: str) -> None:
        now = self._clock.now()
        over: list[Delete] = []
        async with aclosing(_closable(table.query(partition))) as rows:
            async for entity in rows:
                expires_at = entity.values.get("expires_at")
                if not isinstance(expires_at, datetime) or expires_at <= now:
                    over.append(Delete(partition, entity.row, entity.etag))
                if len(over) == MOST_DELETED:
                    del self._swept[partition]
                    break
        for row in over:
            try:
                await table.transact([row])
            except TableConflict:
                # Written anew meanwhile, or deleted by another instance.
                continue

    async def _guarded[T](self, work: Coroutine[object, object, T], seconds: float) -> T | None:
        if self._clock.monotonic() < self._silent_until:
            work.close()
            return None
        try:
            async with asyncio.timeout(seconds):
                return await work
        except (TableError, TimeoutError) as error:
            self._silent_until = self._clock.monotonic() + PAUSE_SECONDS
            logger.warning("The cache's table is left alone for %g seconds: %s", PAUSE_SECONDS, repr(error))
            return None

    async def _table(self) -> Table:
        return await self._tables.table(TABLE)


def _closable(rows: AsyncIterator[Entity]) -> AsyncGenerator[Entity]:
    return cast(AsyncGenerator[Entity], rows)


def _partition(scope: str, key: str) -> str:
    return f"{scope}-{key[:2]}"


def _columns(answer: KeptAnswer) -> dict[str, Value]:
    pieces = [answer.body[start : start + COLUMN] for start in range(0, len(answer.body), COLUMN)]
    return {
        "content_type": answer.content_type,
        "streamed": answer.streamed,
        "kept_at": answer.kept_at,
        "expires_at": answer.expires_at,
        "meters": msgspec.json.encode(answer.meters),
        "model": answer.model,
        "service_tier": answer.service_tier,
        "backend": answer.backend,
        "deployment_type": answer.deployment_type,
        "region": answer.region,
        "pieces": len(pieces),
        **{f"piece{number}": piece for number, piece in enumerate(pieces)},
    }


def _answer(entity: Entity) -> KeptAnswer | None:
    values: dict[str, Any] = dict(entity.values)
    try:
        body = b"".join(values.pop(f"piece{number}") for number in range(values.pop("pieces")))
        meters = msgspec.json.decode(values.pop("meters"), type=Meters)
        return KeptAnswer(body=body, meters=meters, **values)
    except (KeyError, TypeError, ValueError) as error:
        logger.warning("A kept answer cannot be read: %r", error)
        return None


def _question(entity: Entity) -> Question | None:
    values: dict[str, Any] = dict(entity.values)
    try:
        vector = array("f", values.pop("vector")).tolist()
        return Question(vector, **values)
    except (KeyError, TypeError, ValueError) as error:
        logger.warning("A kept question cannot be read: %r", error)
        return None
