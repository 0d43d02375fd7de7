"""`/chargeback/proofs`: what operators read and ask of the proofs of days over HTTP."""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict

from chargeback import periods
from chargeback.closing.closing import Closing
from chargeback.closing.proofs import Proof, ProofTotals
from chargeback.readers import ReaderOf, operator_of

_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "Not a day or month, or a day that has not begun."},
    401: {"description": "Nobody we know is asking."},
    403: {"description": "The key is no operator's."},
    503: {"description": "The tables or the event hub did not answer in time."},
}

type Day = Annotated[str, Path(description="The day, yyyy-mm-dd, in UTC.", examples=["2026-11-20"])]


class ProofSummary(BaseModel):
    """A day's latest proof without its lanes."""

    model_config = ConfigDict(frozen=True)

    day: date
    status: Literal["proved", "open", "broken"]
    revision: int
    closed_at: datetime | None
    totals: ProofTotals


class ProofMonth(BaseModel):
    """The days of a month that are closed, in order."""

    model_config = ConfigDict(frozen=True)

    proofs: list[ProofSummary]


def router(closing: Closing, reader_of: ReaderOf) -> APIRouter:
    """Return the routes; errors of `chargeback.errors` and of the seams are for the app's exception handlers."""
    operators_only = [Depends(operator_of(reader_of))]
    routes = APIRouter(prefix="/chargeback/proofs", tags=["proofs"], responses=_REFUSALS, dependencies=operators_only)
    _add_reading(routes, closing)
    _add_proving(routes, closing)
    return routes


def _add_reading(routes: APIRouter, closing: Closing) -> None:
    @routes.get("", operation_id="list-proofs", summary="List the days of a month that are closed")
    async def list_proofs(
        period: Annotated[str, Query(description="The month, yyyy-mm, in UTC.", examples=["2026-11"])],
    ) -> ProofMonth:
        proofs = await closing.month(periods.first_day(period))
        return ProofMonth(proofs=[ProofSummary.model_validate(dict(proof)) for proof in proofs])

    @routes.get(
        "/{day}", operation_id="get-proof", summary="Show what was emitted, received, summed and stored of a day"
    )
    async def get_proof(day: Day) -> Proof:
        """A day that is not closed shows what is known now; its detail rows are counted when it is closed."""
        return await closing.proof(periods.day(day))


def _add_proving(routes: APIRouter, closing: Closing) -> None:
    @routes.post(
        "/{day}",
        operation_id="prove-day",
        summary="Prove a day anew: compare its books now, and keep what is new as another revision",
    )
    async def prove_day(day: Day) -> Proof:
        """Counts every detail row of the day, which takes about a minute for a million."""
        return await closing.prove(periods.day(day))
