"""One upstream try: its answer, or why there is none."""

from typing import Literal, NamedTuple

from gateway.answers.reports import AnswerReport
from gateway.catalog.catalog import Member
from gateway.upstream.upstream import Answer

type Kind = Literal["throttled", "failed", "garbage"]


class Attempt(NamedTuple):
    """An answer to pass on. `body` and `report` are set where all of it has come, `first` where it is a stream."""

    member: Member
    answer: Answer
    body: bytes | None = None
    report: AnswerReport | None = None
    first: bytes = b""

    @property
    def streamed(self) -> bool:
        return self.body is None


class AttemptFailed(Exception):
    """The next backend may do better. `answered`: the backend had begun to answer, and will bill the prompt.

    `result` is the attempt in a word for `x-gateway-tried`: a status, or what came instead of one.
    """

    def __init__(self, kind: Kind, message: str, *, result: str, answered: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.result = result
        self.answered = answered


class StreamBroken(Exception):
    """A stream broke before the caller had any of its content: another backend may go on."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault
