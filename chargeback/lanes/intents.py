"""Open calls: intents whose end has not been read yet, packed into a few rows of their lane. Pure: no I/O, no clock.

A row holds up to 1,000 calls in one binary column: msgpack, [[shape, [[id, time, prompt_tokens, pending], ...]], ...],
where a shape is what calls have in common. A busy lane thus rewrites one row of some 50 KB with each batch. Rows are
numbered; calls go to the first row with room, so that few rows stay few.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from chargeback.columns import as_bytes
from chargeback.keys import key
from gateway.usage import DeploymentType, Intent
from seams.tables import Entity

MAX_CALLS: Final = 1000
MAX_ROWS: Final = 8
MAX_BYTES: Final = 60 * 1024
"""A binary column holds 64 KiB, and all rows together, in base64, fit into a transaction."""

OPEN: Final = "open|"


class Shape(NamedTuple):
    """What many calls have in common; see gateway.usage.Intent for the fields.

    Rows outlive releases: a further field goes to the end, with a default.
    """

    subscription: str
    cost_centre: str
    operation: str
    deployment: str
    model: str
    backend: str
    deployment_type: DeploymentType
    region: str
    streamed: bool


class OpenCall(NamedTuple):
    """A call that was announced at `time`. `pending`: about to become an orphan, see chargeback.orphans.sweep."""

    id: str
    time: datetime
    prompt_tokens: int
    pending: bool
    shape: Shape


type OpenCalls = Mapping[str, OpenCall]
"""Calls by their ids."""


@dataclass(frozen=True, slots=True)
class OpenRow:
    """One row's calls and how they are stored."""

    calls: OpenCalls
    packed: bytes


type OpenRows = Mapping[int, OpenRow]
"""Rows by their numbers; none is empty."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[tuple[Shape, list[tuple[str, datetime, int, bool]]]]).decode


def open_call(intent: Intent) -> OpenCall:
    shape = Shape(
        intent.subscription,
        intent.cost_centre,
        intent.operation,
        intent.deployment,
        intent.model,
        intent.backend,
        intent.deployment_type,
        intent.region,
        intent.streamed,
    )
    # As it is read back.
    time = intent.time if intent.time.tzinfo is UTC else intent.time.astimezone(UTC)
    return OpenCall(intent.id, time, intent.prompt_tokens, False, shape)


def rearranged(rows: OpenRows, opening: OpenCalls, closed: AbstractSet[str]) -> tuple[OpenRows, int]:
    """Return the rows without `closed` and with `opening`, and the number of calls that found no room.

    Rows that stay as they are are the same objects.
    """
    after: dict[int, OpenRow] = {}
    waiting = dict(opening)
    for number in sorted(rows.keys() | range(MAX_ROWS)):
        row = rows.get(number)
        calls: OpenCalls = {} if row is None else row.calls
        if gone := calls.keys() & closed:
            calls = {name: call for name, call in calls.items() if name not in gone}
        if waiting and (room := MAX_CALLS - len(calls)) > 0:
            calls = {**calls, **dict(islice(waiting.items(), room))}
            waiting = dict(islice(waiting.items(), room, None))
        if row is not None and calls is row.calls:
            after[number] = row
        elif calls:
            after[number], too_many = _packed(calls)
            waiting = {**too_many, **waiting}
    return after, len(waiting)


def with_pending(row: OpenRow, due: AbstractSet[str]) -> OpenRow:
    """Return the row with these of its calls pending."""
    calls = {name: call._replace(pending=call.pending or name in due) for name, call in row.calls.items()}
    return OpenRow(calls, pack(calls))


def pack(calls: OpenCalls) -> bytes:
    shapes: dict[Shape, list[tuple[object, ...]]] = {}
    for call in calls.values():
        shapes.setdefault(call.shape, []).append(call[:4])
    return _encode(list(shapes.items()))


def unpack(packed: bytes) -> dict[str, OpenCall]:
    """Return the calls. Raises msgspec.DecodeError for what `pack` did not make."""
    return {call[0]: OpenCall(*call, shape) for shape, calls in _decode(packed) for call in calls}


def open_row(number: int) -> str:
    """Return the RowKey of a row of open calls."""
    return key("open", f"{number:04}")


def open_entity(partition: str, number: int, row: OpenRow, etag: str | None) -> Entity:
    return Entity(partition, open_row(number), {"calls": row.packed}, etag)


def open_row_of(entity: Entity) -> tuple[int, OpenRow]:
    """Read a row of open calls: its number and what it holds."""
    packed = as_bytes(entity.values["calls"])
    return int(entity.row.removeprefix(OPEN)), OpenRow(unpack(packed), packed)


def _packed(calls: OpenCalls) -> tuple[OpenRow, OpenCalls]:
    """Pack what fits into a row; the rest is returned."""
    fitting, packed = calls, pack(calls)
    while len(packed) > MAX_BYTES:
        fitting = dict(islice(fitting.items(), len(fitting) // 2))
        packed = pack(fitting)
    return OpenRow(fitting, packed), dict(islice(calls.items(), len(fitting), None))
