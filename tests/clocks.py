"""Clocks that tests move."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from seams.clock import SystemClock


@dataclass
class HandClock:
    """Stands still until it is moved, wall clock and monotonic seconds alike."""

    at: datetime = datetime(2026, 11, 21, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def pass_by(self, **length: float) -> None:
        self.at += timedelta(**length)


@dataclass
class ShiftedClock(SystemClock):
    """The system's clock, set forward by `ahead`."""

    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead.total_seconds()
