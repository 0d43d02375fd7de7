"""Closes that are killed, that run at once, and whose answers are lost."""

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from chargeback.closing.proofs import PROOFS, Proof, from_entity
from chargeback.prices import Prices
from seams.tables import Operation, Table, Tables, TableUnavailable
from tests.chargeback.hub_world import NOON, World, event
from tests.chargeback.staging import FaultyTables, Renamed, rows


async def revisions(tables: Tables) -> list[Proof]:
    return [from_entity(row) for row in await rows(tables, PROOFS)]


async def test_rivals_and_kills(rival_tables: Callable[[], Tables], prices: Prices) -> None:
    """Runs at once, which fail and die at random, close each day exactly once."""
    prefix = f"x{os.urandom(4).hex()}"
    world = World(Renamed(rival_tables(), prefix), prices)
    for days in range(5):
        at = NOON + timedelta(days=days)
        for n in range(10):
            world.append(event(f"s{n % 3}", at=at), str(n % 2), at)
    world.time = NOON + timedelta(days=5)
    await world.collect()

    async def until_done(seed: int) -> None:
        faulty = FaultyTables(world.tables, random.Random(seed), "")
        for _ in range(300):
            try:
                await world.closing(faulty).run()
            except TableUnavailable:
                continue
            return
        pytest.fail("it never ended")

    await asyncio.gather(*(until_done(seed) for seed in range(3)))

    assert [(proof.day.day, proof.revision, proof.status) for proof in await revisions(world.tables)] == [
        (20 + days, 1, "proved") for days in range(5)
    ]


async def test_an_inserted_proof_whose_answer_was_lost(tables: Tables, prices: Prices) -> None:
    """A close that does not know whether it was kept finds it kept."""
    world = World(tables, prices)
    world.append(event())
    await world.collect()

    class LosesAnswers:
        async def table(self, name: str) -> Table:
            table = await world.tables.table(name)
            return Losing(table) if name == PROOFS else table

        async def close(self) -> None: ...

    class Losing:
        def __init__(self, table: Table) -> None:
            self.get = table.get
            self.query = table.query
            self._transact = table.transact

        async def transact(self, operations: Sequence[Operation]) -> list[str | None]:
            await self._transact(operations)
            raise TableUnavailable("lost")

    with pytest.raises(TableUnavailable):
        await world.closing(LosesAnswers()).run()
    assert await world.closing().run() == []
    assert [proof.revision for proof in await revisions(world.tables)] == [1]
