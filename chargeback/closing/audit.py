"""Whether the books of a day agree: pure, no I/O, no clock."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from itertools import pairwise
from typing import Final

from chargeback.closing.books import DAY, Counts, LaneBooks, Share
from chargeback.closing.proofs import LaneProof, Proof, ProofTotals
from chargeback.lanes.lanes import Head, Lane

_SUMMED_UP: Final = tuple(name for name in ProofTotals.model_fields if name != "stored")
_JOURNALED: Final = ("first", "last", "received", "dead_letters", "missing", "gaps", "day_events")


type Shares = Mapping[str, Mapping[str, int]]
"""Counts by lane and subscription."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the proof of a day is made from.

    `ends` are the last numbers of the hub's partitions, asked for before the lanes were read; `incarnation` tells which
    lanes are its own. `previous` is what was proved before: it knows the ends of a hub that is gone.
    """

    day: date
    incarnation: str
    ends: Mapping[str, int]
    lanes: Mapping[Lane, LaneBooks]
    counts: Counts = field(default_factory=Counts)
    previous: Proof | None = None

    def end(self) -> datetime:
        return datetime.combine(self.day + DAY, time(), UTC)


def audit(evidence: Evidence, *, over: bool) -> Proof:
    """Return the proof of a day, which is open unless it is `over` and was collected to its end."""
    summed = _by_lane(evidence.counts.summed)
    stored = None if evidence.counts.stored is None else _by_lane(evidence.counts.stored)
    audits = [_LaneAudit(evidence, lane, summed, stored) for lane in sorted(_lanes(evidence))]
    audits = [each for each in audits if each.took_part()]
    proofs = [each.proof for each in audits]
    is_open = not over or any(proof.lag for proof in proofs)
    findings = [text for each in audits for text in each.findings(settled=not is_open)]
    totals = {name: sum(getattr(proof, name) for proof in proofs) for name in _SUMMED_UP}
    rows = None if evidence.counts.stored is None else sum(evidence.counts.stored.values())
    return Proof(
        day=evidence.day,
        status="open" if is_open else "broken" if findings else "proved",
        findings=findings,
        totals=ProofTotals(**totals, stored=rows),
        lanes=proofs,
    )


def agrees(proof: Proof, evidence: Evidence) -> bool:
    """Tell whether the lanes are still as this proof found them; sums and rows are not looked at."""
    return _journaled(proof) == _journaled(audit(evidence, over=True))


def _by_lane(counts: Mapping[Share, int]) -> Shares:
    shares: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (subscription, lane), count in counts.items():
        shares[lane][subscription] = count
    return shares


def _journaled(proof: Proof) -> dict[str, list[object]]:
    took_part = (lane for lane in proof.lanes if lane.emitted or lane.day_events)
    return {lane.lane: [getattr(lane, name) for name in _JOURNALED] for lane in took_part}


def _lanes(evidence: Evidence) -> set[Lane]:
    counts = evidence.counts
    shares = [lane for _, lane in (*counts.summed, *(counts.stored or {}))]
    named = {Lane(*name.rsplit(".", 1)) for name in (*shares, *counts.duplicates, *counts.dead)}
    return {*evidence.lanes, *named, *(Lane(evidence.incarnation, partition) for partition in evidence.ends)}


class _LaneAudit:
    """One lane's part in the day."""

    def __init__(self, evidence: Evidence, lane: Lane, summed: Shares, stored: Shares | None) -> None:
        self._evidence = evidence
        self._lane = lane
        self._books = evidence.lanes.get(lane, LaneBooks(Head()))
        self._day = self._books.on(evidence.day)
        self._summed = summed.get(lane.name, {})
        self._stored = None if stored is None else stored.get(lane.name, {})
        self._holes = list(self._missing_books())
        self.proof = self._proof()

    def took_part(self) -> bool:
        proof = self.proof
        counted = proof.day_events or proof.summed or proof.duplicates or proof.stored
        dead = self._evidence.counts.dead.get(self._lane.name)
        return bool(self._day or counted or dead or proof.lag or self._holes)

    def findings(self, *, settled: bool) -> Iterator[str]:
        """Yield what is wrong; sums and rows are compared once the day is `settled`."""
        place = f"partition {self._lane.partition} of {self._lane.incarnation}"
        texts = [*self._about_numbers(), *(self._about_rows() if settled else ())]
        yield from (f"{place}: {text}" for text in texts)

    def _about_numbers(self) -> Iterator[str]:
        proof = self.proof
        if proof.lag:
            yield f"the collector is {proof.lag} numbers behind"
        elif not proof.complete:
            yield f"the hub is gone, and nobody knows whether it held anything after number {self._books.head.last_seq}"
        for first, last in proof.gaps:
            yield f"{_numbers(first, last)} never arrived"
        unnamed = proof.missing - sum(last - first + 1 for first, last in proof.gaps)
        if unnamed:
            yield f"{unnamed} more numbers never arrived"
        yield from self._holes
        if proof.emitted != proof.received + proof.missing:
            yield f"{proof.emitted} numbers were given out, {proof.received} received, {proof.missing} are missing"

    def _about_rows(self) -> Iterator[str]:
        proof = self.proof
        if proof.day_events != proof.summed + proof.duplicates:
            yield (
                f"{proof.day_events} usage events were received, {proof.summed} are in the rollups, "
                f"{proof.duplicates} had come before"
            )
        stored = self._summed if self._stored is None else self._stored
        for subscription in sorted(self._summed.keys() | stored.keys()):
            summed, rows = self._summed.get(subscription, 0), stored.get(subscription, 0)
            if summed != rows:
                yield f"{summed} usage events of {subscription} are in the rollups, {rows} detail rows are stored"
        dead = self._evidence.counts.dead.get(self._lane.name, 0)
        if dead != proof.dead_letters:
            yield f"{proof.dead_letters} dead letters were received, {dead} are stored"

    def _proof(self) -> LaneProof:
        complete, lag = self._progress()
        day = self._day
        numbers = (
            {
                "first": day.begins,
                "last": day.last_seq,
                "emitted": day.emitted,
                "received": day.received,
                "gaps": [list(gap) for gap in day.gaps],
                **{
                    name: getattr(day, name)
                    for name in ("usage_events", "intents", "withdrawals", "dead_letters", "missing")
                },
            }
            if day
            else {}
        )
        return LaneProof.model_validate(
            {
                "lane": self._lane.name,
                "incarnation": self._lane.incarnation,
                "partition": self._lane.partition,
                "day_events": self._books.day_events(self._evidence.day),
                "summed": sum(self._summed.values()),
                "duplicates": self._evidence.counts.duplicates.get(self._lane.name, 0),
                "stored": None if self._stored is None else sum(self._stored.values()),
                "complete": complete,
                "lag": lag,
                **numbers,
            }
        )

    def _progress(self) -> tuple[bool, int]:
        """Return whether all of the day was read, and how many numbers the collector is behind."""
        evidence, head = self._evidence, self._books.head
        if head.enqueued_at >= evidence.end():
            return True, 0
        if self._lane.incarnation == evidence.incarnation and self._lane.partition in evidence.ends:
            lag = max(0, evidence.ends[self._lane.partition] - head.last_seq)
            return not lag, lag
        if self._day is None:
            return True, 0
        before = evidence.previous and evidence.previous.lane(self._lane.name)
        return bool(before and before.complete and before.last == self._day.last_seq), 0

    def _missing_books(self) -> Iterator[str]:
        """Yield numbers that no day's row accounts for, and that may have been this day's."""
        day, head, days = self._evidence.day, self._books.head, self._books.days
        for one, following in pairwise(days):
            if following.begins > one.last_seq + 1 and one.day < day <= following.day:
                yield f"{_numbers(one.last_seq + 1, following.begins - 1)} are in no day's books"
        latest = days[-1] if days else None
        first = latest.last_seq + 1 if latest else 0
        after = latest.day if latest else date.min
        if head.last_seq >= first and after < day <= head.enqueued_at.date():
            yield f"numbers up to {head.last_seq} are in no day's books"


def _numbers(first: int, last: int) -> str:
    return f"number {first}" if first == last else f"numbers {first} to {last}"
