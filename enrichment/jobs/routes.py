"""HTTP routes for jobs: POST /jobs, GET /jobs/{id}."""

import json
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, Self

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from enrichment.answers.answers import Enrichment, ErrorBody
from enrichment.answers.findings import optional
from enrichment.jobs.accepted import RETRY_SECONDS, AcceptedJob, accepted
from enrichment.jobs.desk import JobDesk
from enrichment.jobs.errors import JobNotFound
from enrichment.jobs.job import Delivery, JobName
from enrichment.jobs.keys import IDEMPOTENCY_KEY, key_of
from enrichment.jobs.order import JobBody, Order
from enrichment.requests.intake import IntakeRoute

type Responses = dict[int | str, dict[str, Any]]

_REASONS: Final = {
    400: "The body is not JSON.",
    401: "No subscription key, or one that is not valid.",
    403: "An operator's key, which has no jobs.",
    408: "The body did not arrive in time.",
    409: "An earlier request had the same idempotency key, and another body.",
    413: "The body is over 1 MiB, or does not fit into a row although compressed.",
    422: "Not what the route takes; or the callback may not be sent: code callback_refused.",
    503: "The tables did not answer in time: try again after Retry-After.",
}
_ERRORS: Final[Responses] = {status: {"model": ErrorBody, "description": reason} for status, reason in _REASONS.items()}

_GET_ERRORS: Final[Responses] = {
    **{status: _ERRORS[status] for status in (401, 403, 503)},
    404: {"model": ErrorBody, "description": "The subscription has no such job, or no longer."},
}


class JobError(BaseModel):
    code: str
    message: str


class CallbackState(BaseModel):
    """How telling the callback goes."""

    status: Literal["waiting", "pending", "delivered", "failed"]
    attempts: int
    error: str = Field(description="Of the last attempt; empty where there was none.")

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        status = "waiting" if delivery.status == "none" else delivery.status
        return cls(status=status, attempts=delivery.attempts, error=delivery.error)


class JobAnswer(AcceptedJob):
    result: Enrichment | SkipJsonSchema[None] = optional("Of a job that succeeded.")
    error: JobError | SkipJsonSchema[None] = optional("Of a job that failed.")
    callback: CallbackState | SkipJsonSchema[None] = optional("Of a job with a callback.")


def router(subscription_of: Callable[..., Any], desk: JobDesk) -> APIRouter:
    """Return the routes. `subscription_of` is a dependency that gives the name of the caller's subscription.

    It raises its own error for a caller it does not know.
    """
    routes = APIRouter(route_class=IntakeRoute, tags=["tickets"])
    _add_post(routes, subscription_of, desk)
    _add_get(routes, subscription_of, desk)
    return routes


def _add_post(routes: APIRouter, subscription_of: Callable[..., Any], desk: JobDesk) -> None:
    type Caller = Annotated[str, Depends(subscription_of)]

    @routes.post(
        "/jobs",
        operation_id="create-job",
        summary="Enrich a ticket later, and be told of it",
        status_code=202,
        response_model=AcceptedJob,
        responses=_ERRORS,
    )
    async def create(
        asked: JobBody,
        caller: Caller,
        request: Request,
        idempotency_key: Annotated[str, Header(**IDEMPOTENCY_KEY)] = "",
    ) -> Response:
        """Keeps the job and hands it on; `Location` is where it is to be asked for, after `Retry-After`."""
        name = desk.name("jobs", caller, key_of(idempotency_key, asked.ticket, asked.tasks))
        job = await desk.submit(Order.of(name, await request.json(), asked))
        return accepted(job.name, job.status)


def _add_get(routes: APIRouter, subscription_of: Callable[..., Any], desk: JobDesk) -> None:
    type Caller = Annotated[str, Depends(subscription_of)]

    @routes.get(
        "/jobs/{id}",
        operation_id="get-job",
        summary="Ask for a job of one's own subscription",
        response_model=JobAnswer,
        responses=_GET_ERRORS,
    )
    async def get(job_id: Annotated[str, Path(alias="id", max_length=100)], caller: Caller) -> Response:
        """A finished job is kept for JOB_RETENTION_DAYS."""
        try:
            told = await desk.show(JobName.checked(caller, job_id))
        except ValueError:
            told = None
        if told is None:
            raise JobNotFound("The subscription has no job of this id, or no longer.")
        waits = told["status"] in ("queued", "running")
        return Response(json.dumps(told), 200, {"retry-after": RETRY_SECONDS} if waits else {}, "application/json")
