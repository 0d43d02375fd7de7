"""Statements over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from chargeback.errors import StatementForbidden
from chargeback.readers import Reader, ReaderOf
from chargeback.statements.models import Statement
from chargeback.statements.statements import Statements


def router(statements: Statements, reader_of: ReaderOf) -> APIRouter:
    """Return the routes; errors of `chargeback.errors` and TableUnavailable are for the app's exception handlers."""
    routes = APIRouter(prefix="/chargeback", tags=["chargeback"])

    @routes.get(
        "/statements/{subscription}/{period}",
        operation_id="get-statement",
        summary="A subscription's month: tokens and money by day, deployment and model",
        responses={
            400: {"description": "The period is not a month."},
            401: {"description": "Nobody we know is asking."},
            403: {"description": "The reader may not see this subscription."},
            503: {"description": "The tables did not answer in time."},
        },
    )
    async def get_statement(
        subscription: Annotated[
            str,
            Path(description="A subscription; `unattributed` is what names none, or one that nobody has."),
        ],
        period: Annotated[str, Path(description="The month, yyyy-mm, in UTC.", examples=["2026-11"])],
        reader: Annotated[Reader, Depends(reader_of)],
    ) -> Statement:
        if not reader.may_read(subscription):
            raise StatementForbidden("This key may not read that subscription's statements.")
        return await statements.month(subscription, period)

    return routes
