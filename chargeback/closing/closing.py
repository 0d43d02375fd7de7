"""The close of the day: each day that is over is proved once the collector has read all that the hub held at its end.

A run takes up every day of the retention that has no proof yet, or whose lanes have changed since: an event that came
late, say. What does not agree is looked at again after the collector has caught up, since a batch under way is in the
rollups before it is in the lane journal; only what then still does not agree, in the same words, is `broken`.

Runs at once do no harm: they find the same, and a proof is inserted once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from chargeback.closing import proofs
from chargeback.closing.audit import Evidence, agrees, audit
from chargeback.closing.books import DAY, Books, Counts, LaneBooks
from chargeback.closing.hub import Hub
from chargeback.closing.proofs import PROOFS, Proof
from chargeback.errors import DayInvalid
from chargeback.lanes.lanes import Lane
from chargeback.periods import next_month
from seams.clock import Clock
from seams.tables import Insert, TableConflict, Tables

RUN_SECONDS: Final = 600.0
CATCH_UP_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.5
_LOOKS: Final = 3
_MAX_TRIES: Final = 10

logger = logging.getLogger(__name__)


class Closing:
    """Closes days and shows their proofs.

    `days` are the days whose books are kept; `detail_rows` whether there are rows of single events among them.
    `seconds` is how long a run begins with further days. `pause` waits for so many seconds.
    """

    def __init__(
        self,
        tables: Tables,
        hub: Hub,
        clock: Clock,
        *,
        days: int,
        detail_rows: bool = True,
        seconds: float = RUN_SECONDS,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._tables = tables
        self._hub = hub
        self._clock = clock
        self._days = days
        self._detail_rows = detail_rows
        self._seconds = seconds
        self._pause = pause
        self._books = Books(tables)

    async def run(self) -> list[Proof]:
        """Close what can be closed, the oldest day first; return the new proofs.

        Raises TableUnavailable and StreamUnavailable; what was closed by then is kept.
        """
        until = self._clock.monotonic() + self._seconds
        today = self._clock.now().date()
        first = self._first(today)
        incarnation, ends = await self._hub.incarnation(), await self._hub.ends()
        lanes = await self._books.lanes(first - DAY)
        known = await self._latest(first, today)
        closed: list[Proof] = []
        for day in _days_of(lanes, first, today):
            if self._clock.monotonic() >= until:
                logger.warning("days from %s on are left for the next run", day)
                break
            before = known.get(day)
            if before is None or not agrees(before, Evidence(day, incarnation, ends, lanes, previous=before)):
                proof = await self.prove(day)
                closed += [proof] if proof.status != "open" and proof != before else []
        return closed

    async def proof(self, day: date) -> Proof:
        """Return a day's latest proof; of a day that is not closed what is known now, without counting detail rows.

        Raises DayInvalid for a day that has not begun, or whose books are gone and that was never closed;
        TableUnavailable and StreamUnavailable.
        """
        kept = (await self._latest(day, day + DAY)).get(day)
        if kept is not None:
            return kept
        self._check(day)
        return audit(await self._evidence(day, None, details=False), over=False)

    async def month(self, first: date) -> list[Proof]:
        """Return the latest proofs of a month's days that are closed, in order; `first` is its first day."""
        latest = await self._latest(first, next_month(first))
        return [latest[day] for day in sorted(latest)]

    async def prove(self, day: date) -> Proof:
        """Prove a day anew and keep the proof where it says something new; one that is open is not kept.

        Raises DayInvalid for a day that has not begun or whose books are gone, TableUnavailable and StreamUnavailable.
        """
        self._check(day)
        before = (await self._latest(day, day + DAY)).get(day)
        proof = await self._settled(day, before)
        return proof if proof.status == "open" else await self._keep(proof)

    def _check(self, day: date) -> None:
        today = self._clock.now().date()
        if day > today:
            raise DayInvalid(f"The day {day} has not begun: it is {today} in UTC.")
        if day < self._first(today):
            raise DayInvalid(f"The books of {day} are gone: they are kept for {self._days} days.")

    def _first(self, today: date) -> date:
        """Return the earliest day whose books are kept."""
        return today - timedelta(days=self._days)

    async def _settled(self, day: date, before: Proof | None) -> Proof:
        """Look until the books agree, or disagree twice in the same way with the collector at rest in between."""
        over = self._clock.now() >= datetime.combine(day + DAY, time(), UTC)
        doubted: Proof | None = None
        for _ in range(_LOOKS):
            proof = audit(await self._evidence(day, before, details=self._detail_rows), over=over)
            if proof.status != "broken" or (doubted and proof.tells_the_same(doubted)):
                return proof
            doubted = proof
            if not await self._caught_up():
                break
        return doubted.model_copy(update={"status": "open"}) if doubted else proof

    async def _caught_up(self) -> bool:
        """Wait until the collector has entered all that the hub holds now; tell whether it did in time."""
        incarnation, ends = await self._hub.incarnation(), await self._hub.ends()
        until = self._clock.monotonic() + CATCH_UP_SECONDS
        while True:
            heads = await self._books.heads()
            read = {lane.partition: head.last_seq for lane, head in heads.items() if lane.incarnation == incarnation}
            if all(read.get(partition, -1) >= end for partition, end in ends.items()):
                return True
            if self._clock.monotonic() >= until:
                return False
            await self._pause(_POLL_SECONDS)

    async def _evidence(self, day: date, before: Proof | None, *, details: bool) -> Evidence:
        # In this order: what the hub held is compared with lanes that were read later, and never the other way round.
        incarnation, ends = await self._hub.incarnation(), await self._hub.ends()
        lanes = await self._books.lanes(self._first(self._clock.now().date()) - DAY)
        counts: Counts = await self._books.counts(day, details=details)
        return Evidence(day, incarnation, ends, lanes, counts, before)

    async def _latest(self, first: date, end: date) -> dict[date, Proof]:
        """Return the latest proofs of the days first <= day < end that are closed."""
        table = await self._tables.table(PROOFS)
        latest: dict[date, Proof] = {}
        month = first
        while month < end:
            partition, begins = proofs.proof_partition(month), proofs.proof_rows(month)[0]
            async for row in table.query(partition, begins, f"{end:%Y%m%d}", in_order=True):
                proof = proofs.from_entity(row)
                latest[proof.day] = proof
            month = next_month(month)
        return latest

    async def _keep(self, proof: Proof) -> Proof:
        table = await self._tables.table(PROOFS)
        for _ in range(_MAX_TRIES):
            before = (await self._latest(proof.day, proof.day + DAY)).get(proof.day)
            if before is not None and before.tells_the_same(proof):
                return before
            revision = before.revision + 1 if before else 1
            kept = proof.model_copy(update={"revision": revision, "closed_at": self._clock.now()})
            try:
                await table.transact([Insert(proofs.to_entity(kept))])
            except TableConflict:
                continue
            _tell(kept)
            return kept
        raise TableConflict(f"rivals kept closing {proof.day}")


def _tell(proof: Proof) -> None:
    if proof.status == "broken":
        logger.error("day %s is broken, revision %d: %s", proof.day, proof.revision, "; ".join(proof.findings[:10]))
    elif proof.revision > 1:
        logger.warning("day %s is proved anew, revision %d", proof.day, proof.revision)
    else:
        logger.info("day %s is proved: %d usage events", proof.day, proof.totals.day_events)


def _days_of(lanes: Mapping[Lane, LaneBooks], first: date, end: date) -> list[date]:
    """Return the days first <= day < end, from the first one that any lane knows of."""
    known = [each.day for books in lanes.values() for each in books.days]
    known += [day for books in lanes.values() for each in books.days for day in each.event_days]
    # A lane that has earlier numbers than those that were read of it was there from the first day on.
    if any((books.days[0].begins if books.days else books.head.last_seq + 1) for books in lanes.values()):
        known.append(first)
    begin = max(first, min(known, default=end))
    return [begin + timedelta(days=n) for n in range((end - begin).days)]
