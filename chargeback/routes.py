"""Chargeback over HTTP. Who reads is settled by whoever composes the app; what they may read is asked here."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Path

from chargeback.errors import StatementForbidden
from chargeback.models import Statement
from chargeback.statements import Statements


class Reader(Protocol):
    """Somebody who was recognised by a key or a token."""

    def may_read(self, subscription: str) -> bool: ...


type ReaderOf = Callable[..., Reader | Awaitable[Reader]]
"""A FastAPI dependency that returns the reader, or raises the composing app's own error for a 401."""


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
        subscription: str,
        period: Annotated[str, Path(description="The month, yyyy-mm, in UTC.", examples=["2026-11"])],
        reader: Annotated[Reader, Depends(reader_of)],
    ) -> Statement:
        if not reader.may_read(subscription):
            raise StatementForbidden("This key may not read that subscription's statements.")
        return await statements.month(subscription, period)

    return routes
