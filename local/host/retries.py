"""The retry policy of a function, as `@app.retry` declares it and the Functions host carries it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`max_retries` -1 is without end; intervals are seconds. A fixed delay has minimum and maximum alike."""

    max_retries: int
    minimum_seconds: float
    maximum_seconds: float

    @classmethod
    def declared(cls, settings: Mapping[str, str] | None) -> Self | None:
        """Read a function's `retry_policy` settings; None where it declares none. Raises ValueError.

        The keys are those of azure.functions' RetryPolicy; intervals are HH:MM:SS. The worker's defaults for a
        missing interval are 0 and 2**31 - 1 seconds.
        """
        if not settings:
            return None
        retries = int(settings["max_retry_count"])
        if settings["strategy"] == "fixed_delay":
            delay = _seconds(settings["delay_interval"])
            return cls(retries, delay, delay)
        minimum = settings.get("minimum_interval")
        maximum = settings.get("maximum_interval")
        return cls(retries, _seconds(minimum) if minimum else 0.0, _seconds(maximum) if maximum else 2**31 - 1.0)

    def allows(self, failures: int) -> bool:
        """Tell whether another try follows this many failures in a row."""
        return self.max_retries == -1 or failures <= self.max_retries

    def delay_seconds(self, failures: int, chance: float) -> float:
        """Return the wait after this many failures in a row: doubling, blurred by a fifth, within the bounds.

        `chance` is random, from 0 to 1.
        """
        doubled = self.minimum_seconds * 2.0 ** min(failures - 1, 60)
        if doubled >= self.maximum_seconds:
            return self.maximum_seconds
        return min(self.maximum_seconds, max(self.minimum_seconds, doubled * (0.8 + 0.4 * chance)))


def _seconds(interval: str) -> float:
    hours, minutes, seconds = interval.split(":")
    return int(hours) * 3600.0 + int(minutes) * 60.0 + float(seconds)
