"""The proof of a day: what the hub gave out, what was received, summed and stored, lane by lane; and its row.

For each lane and day these must hold, and where one does not, the proof says which, and by how much:

    emitted      == received + missing            numbers of the hub that were enqueued on the day
    received     == usage_events + intents + withdrawals + dead_letters
    day_events   == summed + duplicates           usage events whose answers ended on the day
    summed       == stored                        rollups against detail rows, also by subscription

Table `proofs`: PartitionKey `yyyymm`, RowKey `yyyymmdd-{revision}`; columns `status`, `closed_at` and the proof as JSON
in `proof_0`, `proof_1`, ... Rows are inserted and never changed: what is found out later is another revision.
"""

from datetime import date, datetime
from itertools import batched
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from chargeback.columns import as_bytes
from seams.tables import Entity, Value

PROOFS: Final = "proofs"
_CHUNK_BYTES: Final = 60_000

Count = Annotated[int, Field(ge=0)]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True)


class ProofTotals(_Wire):
    """Numbers of the hub and what they were, by the day they were enqueued; usage events by the day they ended.

    `missing` are numbers that never arrived. `day_events` are the usage events whose answers ended on this day,
    whenever they were received; `summed` those in the rollups, `duplicates` those that had come before and were not
    summed again. `stored` are the detail rows: null where they are not kept, not any more, or not counted yet.
    """

    emitted: Count = 0
    received: Count = 0
    usage_events: Count = 0
    intents: Count = 0
    withdrawals: Count = 0
    dead_letters: Count = 0
    missing: Count = 0
    day_events: Count = 0
    summed: Count = 0
    duplicates: Count = 0
    stored: Count | None = None


class LaneNumbers(_Wire):
    """Numbers `first` to `last` of the lane were enqueued on the day; `last` comes before `first` where none were."""

    lane: str
    incarnation: str
    partition: str
    first: int = 0
    last: int = -1


class LaneProof(ProofTotals, LaneNumbers):
    """One partition of one incarnation of the hub. `gaps` are [from, to], both missing.

    `complete` says that the collector has read all that the hub held at the end of the day; else `lag` is how many
    numbers it is behind.
    """

    gaps: list[list[int]] = Field(default_factory=list)
    complete: bool = True
    lag: Count = 0


class Proof(_Wire):
    """A day's proof. `open`: not over, or not collected to its end; `broken`: `findings` say what does not agree.

    `revision` counts the proofs of this day, 0 for one that is not kept because the day is open.
    """

    day: date
    status: Literal["proved", "open", "broken"]
    revision: Count = 0
    closed_at: datetime | None = None
    findings: list[str] = Field(default_factory=list)
    totals: ProofTotals
    lanes: list[LaneProof]

    def lane(self, name: str) -> LaneProof | None:
        return next((lane for lane in self.lanes if lane.lane == name), None)

    def tells_the_same(self, other: Self) -> bool:
        """Tell whether the two differ in nothing but their revision and the time of the close."""
        unlike = {"revision": 0, "closed_at": None}
        return self.model_copy(update=unlike) == other.model_copy(update=unlike)


def proof_partition(day: date) -> str:
    return f"{day:%Y%m}"


def proof_rows(day: date) -> tuple[str, str]:
    """Return the RowKeys (first, end) of a day's revisions, which come in order."""
    return f"{day:%Y%m%d}-", f"{day:%Y%m%d}~"


def to_entity(proof: Proof) -> Entity:
    written = proof.model_dump_json().encode()
    columns: dict[str, Value] = {"status": proof.status}
    if proof.closed_at is not None:
        columns["closed_at"] = proof.closed_at
    chunks = batched(written, _CHUNK_BYTES, strict=False)
    columns.update({f"proof_{index}": bytes(chunk) for index, chunk in enumerate(chunks)})
    return Entity(proof_partition(proof.day), f"{proof.day:%Y%m%d}-{proof.revision:06}", columns)


def from_entity(entity: Entity) -> Proof:
    chunks = [name for name in entity.values if name.startswith("proof_")]
    whole = b"".join(as_bytes(entity.values[f"proof_{index}"]) for index in range(len(chunks)))
    return Proof.model_validate_json(whole)
