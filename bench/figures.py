"""From tallies to the figures that are printed: per round first, then medians and ratios over the rounds."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

import msgspec

from bench.generator import Load, Tally
from bench.processes import Measured
from bench.scenarios import Scenario
from bench.targets import Target


class Sample(msgspec.Struct, frozen=True):
    """One target under one scenario in one round. `cpu_us` is per unit of the scenario, None where nobody's is read."""

    scenario: str
    target: str
    round: int
    tally: Tally
    cpu_us: float | None

    @property
    def rate(self) -> float:
        """Requests (or streams) per second."""
        return self.tally.requests / self.tally.seconds if self.tally.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over the rounds; times in microseconds, of streams to the first chunk, None if unknown.

    Ratios are to the same figure of the same round. `added_p50` is what the target adds to the direct call's median.
    `headroom` is the direct rate over this one's: near 1 it says that the load, not the target, was the limit.
    """

    target: str
    rate: float
    p50: float
    p99: float
    added_p50: float | None
    cpu_us: float | None
    headroom: float | None
    rate_to_nginx: float | None
    cpu_to_nginx: float | None
    added_p50_to_nginx: float | None
    faults: int


class FaultyRun(Exception):
    """A target did not answer as it should; figures of it would mean nothing."""


def take(generator: Measured, target: Target, scenario: Scenario, seconds: float, number: int) -> Sample:
    """Measure once. Raises FaultyRun where an answer was wrong."""
    load = Load(
        target.port, target.request(scenario), scenario.callers, seconds, scenario.streamed, scenario.spread_seconds
    )
    before = target.measured.cpu_seconds() if target.measured else 0.0
    tally = msgspec.json.decode(generator.ask(msgspec.json.encode(load).decode()), type=Tally)
    used = target.measured.cpu_seconds() - before if target.measured else 0.0
    if tally.faults or not tally.requests:
        raise FaultyRun(f"{target.name}, {scenario.title}: {tally.faults} faults, the first: {tally.fault}")
    units = tally.answers * scenario.units_per_request
    return Sample(scenario.name, target.name, number, tally, used / units * 1e6 if target.measured else None)


def rows(samples: Iterable[Sample], scenario: str) -> list[Row]:
    """Return a row per target of this scenario, in the order in which they were first measured."""
    of_scenario = [sample for sample in samples if sample.scenario == scenario]
    names = dict.fromkeys(sample.target for sample in of_scenario)
    by_target = {name: {each.round: each for each in of_scenario if each.target == name} for name in names}
    return [_row(name, own, by_target) for name, own in by_target.items()]


def _row(name: str, own: dict[int, Sample], by_target: dict[str, dict[int, Sample]]) -> Row:
    direct = by_target.get("direct", {}) if name != "direct" else {}
    nginx = by_target.get("nginx", {}) if name not in {"direct", "nginx"} else {}
    with_direct = [(own[number], direct[number]) for number in own if number in direct]
    with_nginx = [(own[number], nginx[number]) for number in own if number in nginx]
    with_both = [(mine, nginx[mine.round], other) for mine, other in with_direct if mine.round in nginx]
    return Row(
        target=name,
        rate=median(each.rate for each in own.values()),
        p50=median(each.tally.p50 for each in own.values()),
        p99=median(each.tally.p99 for each in own.values()),
        added_p50=_median(mine.tally.p50 - other.tally.p50 for mine, other in with_direct),
        cpu_us=_median(each.cpu_us for each in own.values() if each.cpu_us is not None),
        headroom=_median(other.rate / mine.rate for mine, other in with_direct),
        rate_to_nginx=_median(mine.rate / other.rate for mine, other in with_nginx),
        cpu_to_nginx=_median(mine.cpu_us / other.cpu_us for mine, other in with_nginx if mine.cpu_us and other.cpu_us),
        added_p50_to_nginx=_median(
            (mine.tally.p50 - other.tally.p50) / (theirs.tally.p50 - other.tally.p50)
            for mine, theirs, other in with_both
            if theirs.tally.p50 > other.tally.p50
        ),
        faults=sum(each.tally.faults for each in own.values()),
    )


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return median(known) if known else None
