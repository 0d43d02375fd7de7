"""Counts of this instance's jobs for `/metrics`."""

from collections import Counter
from collections.abc import Iterator

from enrichment.jobs.observer import PutAside, Told
from hosting.monitoring.exposition import Family


class JobMetrics:
    """A JobObserver that counts."""

    def __init__(self) -> None:
        self._running = 0
        self._jobs = Counter({"queued": 0, "succeeded": 0, "failed": 0})
        self._callbacks: Counter[Told] = Counter({"delivered": 0, "failed": 0, "again": 0})
        self._dead_letters: Counter[PutAside] = Counter({"job": 0, "event": 0})

    def job_queued(self) -> None:
        self._jobs["queued"] += 1

    def job_started(self) -> None:
        self._running += 1

    def job_left(self) -> None:
        self._running -= 1

    def job_ended(self, *, succeeded: bool) -> None:
        self._jobs["succeeded" if succeeded else "failed"] += 1

    def callback_attempted(self, told: Told) -> None:
        self._callbacks[told] += 1

    def dead_letter_added(self, kind: PutAside) -> None:
        self._dead_letters[kind] += 1

    def families(self) -> Iterator[Family]:
        """Yield everything that was counted since the instance started."""
        yield Family("tollgate_jobs_running", "gauge", "Jobs that this instance is at.", (), [((), self._running)])
        yield _counter("jobs", "Jobs by what became of them; a job is queued for each try.", "status", self._jobs)
        yield _counter("job_callbacks", "Attempts at callbacks by their end.", "outcome", self._callbacks)
        yield _counter(
            "job_dead_letters", "Jobs that were given up, events that are no job.", "kind", self._dead_letters
        )


def _counter[Label: str](name: str, text: str, label: str, counts: Counter[Label]) -> Family:
    return Family(f"tollgate_{name}_total", "counter", text, (label,), [((each,), n) for each, n in counts.items()])
