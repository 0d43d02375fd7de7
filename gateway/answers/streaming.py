"""Server-sent events on their way through: usage taken out, faults noticed, everything else byte for byte.

Complete events go on at once; the unfinished rest of a read waits for its end. Each is looked at by a few searches at C
speed; JSON is parsed only where they find something, which is once or twice a stream. Framing: the HTML standard, 9.2
"Server-sent events".
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from gateway.answers.reports import AnswerReport, read_report, without_halves
from gateway.answers.texts import collect, unescaped
from gateway.requests.bodies import NOT_JSON
from gateway.routing.resources import made_in

LONGEST_EVENT = 32 * 1024 * 1024
"""Bytes that may come without the end of an event (a picture in base64 is large)."""

FOLD_AT = 32_768
"""Bytes of delivered events that are kept whole; then only the text in them is kept."""

MOST_TEXT = 2_000_000
"""Characters of delivered text that are kept, some 500,000 tokens: no model says more, and memory has an end."""

_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_END_OF_EVENT = re.compile(rb"(?:\r\n\r\n|\n\n|\r\r)[\r\n]*")
_FIELD = re.compile(rb"(?:data|event|id|retry)$|[A-Za-z][A-Za-z0-9_-]*:|:")
_COMMENTS = re.compile(rb"(?::[^\r\n]*(?:\r\n|\n|\r))+")
_NOTHING = re.compile(rb"(?:(?::[^\r\n]*+)?[\r\n]++)*+")
_MESSAGE = re.compile(rb'"message"\s*:\s*"((?:[^"\\]|\\.)*)"')
_REQUESTS_FAULTS = (b'"content_filter"', b'"invalid_request_error"')
_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]{1,128})"')

FINAL_TYPES = frozenset({"response.completed", "response.incomplete", "response.failed"})

_ABSENT = msgspec.Raw(b"null")


class _Choices(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None


class _Envelope(msgspec.Struct):
    type: str = ""
    response: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT


_choices = msgspec.json.Decoder(_Choices).decode
_envelope = msgspec.json.Decoder(_Envelope).decode


@dataclass(slots=True)
class StreamReader:
    """Reads one stream. `hide_usage`: the caller did not ask for the usage chunk that the gateway asked for.

    `record` is told of all that goes on to the caller. `resources` are the ids of what the stream made. After each
    `feed`: `ended`, the last event came; `failed`, the backend sent an error event; `malformed`, what came is no stream
    of JSON events, and what `feed` returned stops before it. `withheld` is the message of an error event that came
    before any content, so that another backend may still answer.
    """

    hide_usage: bool
    texts: frozenset[bytes]
    record: Callable[[bytes], None] | None = None
    report: AnswerReport | None = None
    ended: bool = False
    failed: bool = False
    malformed: bool = False
    resources: list[str] = field(default_factory=list)
    withheld: str = ""
    _held: list[bytes] = field(default_factory=list)
    _held_size: int = 0
    _seam: bytes = b""
    _delivered: list[bytes] = field(default_factory=list)
    _delivered_size: int = 0
    _text: dict[bytes, list[str]] = field(default_factory=dict)
    _text_size: int = 0
    _model: str = ""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return those that are to go on now."""
        if self._held:
            seam = self._seam + data
            if _END_OF_EVENT.search(seam) is None:
                self._hold(data, seam)
                return b""
            data = b"".join((*self._held, data))
            self._held.clear()
            self._held_size = 0
        size = _plain_size(data)
        plain = data[:size]
        if plain:
            self._keep(plain)
        if size == len(data):
            return plain
        rest = data[size:]
        return plain + self._pass(rest if rest.endswith(b"\n\n") else self._complete(rest))

    def finish(self) -> bytes:
        """Note that no more bytes come; return what is to go on of a last event without its blank line, with one."""
        rest = b"".join(self._held).rstrip(b"\r\n")
        self._held.clear()
        return self._pass(rest + b"\n\n") if rest.strip() else b""

    def delivered_text(self) -> dict[str, str]:
        """Return the text that was passed on, by the JSON field that held it."""
        self._fold()
        return {name.decode(): "".join(pieces) for name, pieces in self._text.items()}

    @property
    def model(self) -> str:
        """The model that answers, as far as the stream has told."""
        self._fold()
        return (self.report.model if self.report else "") or self._model

    def _pass(self, block: bytes) -> bytes:
        if block:
            block = self._sort_out(block)
        if block:
            self._keep(block)
        return block

    def _complete(self, data: bytes) -> bytes:
        """Return the complete events, and hold the rest; comments and blank lines need not wait for more."""
        end = 0
        for match in _END_OF_EVENT.finditer(data):
            end = match.end()
        rest = data[end:]
        if not rest.strip() or _COMMENTS.fullmatch(rest):
            return data
        self._hold(rest, rest)
        return data[:end]

    def _hold(self, data: bytes, seam: bytes) -> None:
        # Pieces are joined when their event ends: joining at each read would copy a large event once a read.
        self._held.append(data)
        self._held_size += len(data)
        self._seam = seam[-3:]
        if self._held_size > LONGEST_EVENT:
            self.malformed = True

    def _sort_out(self, block: bytes) -> bytes:
        kept: list[bytes] = []
        start = 0
        for match in _END_OF_EVENT.finditer(block):
            event = block[start : match.end()]
            if _is_plain(block[start : match.start()]) or self._note(event):
                kept.append(event)
            start = match.end()
            if self.malformed:
                break
        else:
            kept.append(block[start:])
        return b"".join(kept)

    def _note(self, event: bytes) -> bool:
        """Take what an event tells and return whether it goes on to the caller."""
        lines = event.removeprefix(b"\xef\xbb\xbf").splitlines()
        if not all(_FIELD.match(line) for line in lines if line):
            self.malformed = True
            return False
        payload = b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
        if not payload:
            return True
        if payload == b"[DONE]":
            self.ended = True
            return True
        try:
            return self._note_object(without_halves(payload))
        except NOT_JSON:
            self.malformed = True
            return False

    def _note_object(self, payload: bytes) -> bool:
        envelope = _envelope(payload)
        if envelope.type.startswith("response."):
            self.resources += [each for each in made_in(payload) if each not in self.resources]
        if envelope.type in FINAL_TYPES:
            self.ended = True
            self.failed = envelope.type == "response.failed"
            self.report = read_report(bytes(envelope.response)) or self.report
            return True
        if envelope.type == "error" or bytes(envelope.error) != b"null":
            self.failed = True
            return not self._withhold(payload)
        report = read_report(payload)
        if report is None or report.usage is None:
            return True
        self.report = report
        return not (self.hide_usage and not _choices(payload).choices)

    def _withhold(self, payload: bytes) -> bool:
        """Tell whether an error event is the backend's own fault and nothing was said before it."""
        if any(fault in payload for fault in _REQUESTS_FAULTS) or any(self.delivered_text().values()):
            return False
        message = _MESSAGE.search(payload)
        self.withheld = unescaped(message[1])[:500] if message else "no message"
        return True

    def _keep(self, block: bytes) -> None:
        if self.record is not None:
            self.record(block)
        self._delivered.append(block)
        self._delivered_size += len(block)
        if self._delivered_size > FOLD_AT:
            self._fold()

    def _fold(self) -> None:
        raw = b"".join(self._delivered)
        self._delivered.clear()
        self._delivered_size = 0
        if not self._model and (match := _MODEL.search(raw)):
            self._model = match[1].decode("utf-8", "replace")
        if self._text_size > MOST_TEXT:
            return
        found: dict[bytes, list[str]] = {}
        collect(raw, self.texts, found)
        for name, pieces in found.items():
            # One string a fold: a stream has many more pieces than folds, and each small string has its price.
            text = "".join(pieces)
            self._text_size += len(text)
            self._text.setdefault(name, []).append(text)


def _plain_size(block: bytes) -> int:
    """Return how many of a block's first bytes are whole events that hold a piece of text and nothing to be noted."""
    *events, _ = block.split(b"\n\n")
    size = 0
    for event in events:
        if not _is_plain(event):
            break
        size += len(event) + 2
    return size


def _is_plain(event: bytes) -> bool:
    """Tell that of an event without its blank line."""
    if event.startswith(b"event: response."):
        # Responses name each event; what is reported comes in other events than deltas.
        name, _, event = event.partition(b"\n")
        if not name.endswith(b".delta"):
            return False
    return (
        event.startswith(b"data: {")
        and event.endswith(b"}")
        and event.find(b"\n") < 0
        # Braces that do not balance are a cut-off object, or braces in text: both are worth a parse.
        and event.count(b"{") == event.count(b"}")
        # rfind takes a third of the time that find and `in` do.
        and event.rfind(b'"error"') < 0
        and not _has_usage(event)
    )


def _has_usage(event: bytes) -> bool:
    place = event.find(b'"usage"')
    return place >= 0 and _USAGE.search(event, place) is not None


class Chatter:
    """Notices a stream that goes on without an event; times are monotonic seconds."""

    __slots__ = ("_patience", "_spoke")

    def __init__(self, patience: float, now: float) -> None:
        self._patience = patience
        self._spoke = now

    def too_long(self, block: bytes, now: float) -> bool:
        """Tell whether all that went on since long ago, up to this block, were comments, blank lines or nothing."""
        if block and not (block[0] in b":\n\r" and _NOTHING.fullmatch(block)):
            self._spoke = now
        return now - self._spoke > self._patience
