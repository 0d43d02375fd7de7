"""What jobs tell whoever watches them. `hosting` implements it; nothing here waits or can fail a job."""

from typing import Final, Literal, Protocol

type Told = Literal["delivered", "failed", "again"]
"""How an attempt at a callback ended: `again` is one that failed and will be repeated."""

type PutAside = Literal["job", "event"]
"""What became a dead letter: a job that was given up, or an event that is no job."""


class JobObserver(Protocol):
    """Every method returns at once and raises nothing."""

    def job_queued(self) -> None:
        """A job was made, or waits for another try."""
        ...

    def job_started(self) -> None:
        """A try of a job began here; `job_left` follows."""
        ...

    def job_left(self) -> None:
        """The try is over, whatever came of it."""
        ...

    def job_ended(self, *, succeeded: bool) -> None:
        """A job has its outcome."""
        ...

    def callback_attempted(self, told: Told) -> None:
        """An attempt at a callback is over."""
        ...

    def dead_letter_added(self, kind: PutAside) -> None:
        """A dead letter was written, perhaps once more."""
        ...


class _Nobody:
    """Nobody watches."""

    def job_queued(self) -> None: ...

    def job_started(self) -> None: ...

    def job_left(self) -> None: ...

    def job_ended(self, *, succeeded: bool) -> None: ...

    def callback_attempted(self, told: Told) -> None: ...

    def dead_letter_added(self, kind: PutAside) -> None: ...


NO_OBSERVER: Final[JobObserver] = _Nobody()
