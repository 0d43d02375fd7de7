"""`/manage/jobs` and `/manage/jobdeadletters`: what operators do with jobs over HTTP."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from enrichment.answers.answers import ErrorBody
from enrichment.answers.findings import optional
from enrichment.jobs.deadletters import JobDeadLetter
from enrichment.jobs.errors import JobNotFound
from enrichment.jobs.job import Job, JobName, Status
from enrichment.jobs.oversight import Oversight
from enrichment.jobs.routes import CallbackState, JobError
from enrichment.requests.intake import IntakeRoute

type OperatorOf = Callable[..., Awaitable[str]]
"""A FastAPI dependency that gives the name of the operator who asks, and raises for everybody else."""

MOST: Final = 200
type Asked = Literal["any", "queued", "running", "succeeded", "failed"]

_REASONS: Final = {
    401: "Nobody we know is asking.",
    403: "The key is no operator's.",
    404: "There is no such job, or no longer; or no dead letter of this id.",
    503: "The tables or the event hub did not answer in time.",
}
_REQUEUE_REASONS: Final = {
    409: "The job is being run, or succeeded.",
    413: "The mended event is over 1 MiB.",
    422: "It would become a dead letter again; the message says why.",
}
_MENDED: Final[dict[str, Any]] = {
    "requestBody": {
        "description": "The job to publish in place of the event that was kept; none publishes that as it is.",
        "required": False,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def _described(reasons: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody, "description": reason} for status, reason in reasons.items()}


class JobView(BaseModel):
    """A job without its ticket and result, which are its subscription's."""

    model_config = ConfigDict(frozen=True)

    subscription: str
    id: str
    status: Status
    attempts: int = Field(description="Tries so far; waiting for its turn counts as none.")
    created_at: datetime
    lease_until: datetime | SkipJsonSchema[None] = optional("Whoever runs it is believed to be alive until then.")
    not_before: datetime | SkipJsonSchema[None] = optional("When it is tried again.")
    finished_at: datetime | SkipJsonSchema[None] = optional()
    error: JobError | SkipJsonSchema[None] = optional("Of the latest try that failed.")
    callback: CallbackState | SkipJsonSchema[None] = optional("Of a job with a callback.")

    @classmethod
    def of(cls, job: Job) -> Self:
        told = {name: getattr(job, name) for name in cls.model_fields if hasattr(job, name)}
        told |= {"subscription": job.name.subscription, "id": job.name.id, "callback": None}
        if job.failure:
            told["error"] = JobError(code=job.failure.code, message=job.failure.message)
        if job.callback:
            told["callback"] = CallbackState.of(job.delivery)
        return cls.model_validate(told)


class JobPage(BaseModel):
    jobs: list[JobView]
    next: str | None = Field(description="What `after` is to be for the next page; null on the last one.")


def _left_out(description: str | None = None) -> Any:
    """Return a field that is left out where it is empty."""
    return Field(default="", exclude_if=lambda text: not text, description=description)


class JobDeadLetterView(BaseModel):
    """A job that was given up, or an event that is no job: then its place in the hub."""

    model_config = ConfigDict(frozen=True)

    id: str
    reason: str
    at: datetime
    subscription: str = _left_out()
    job: str = _left_out("The job's id.")
    attempts: int | SkipJsonSchema[None] = optional()
    partition: str = _left_out()
    sequence_number: int | SkipJsonSchema[None] = optional()
    size: int | SkipJsonSchema[None] = optional("In bytes.")
    requeued_at: datetime | SkipJsonSchema[None] = optional("The last time that it was put back.")
    requeued_by: str = _left_out()

    @classmethod
    def of(cls, letter: JobDeadLetter) -> Self:
        told = {name: getattr(letter, name) for name in cls.model_fields if hasattr(letter, name)}
        named = letter.job or JobName("", "")
        return cls.model_validate(told | {"subscription": named.subscription, "job": named.id})


class JobDeadLetterPage(BaseModel):
    dead_letters: list[JobDeadLetterView]
    next: str | None = Field(description="What `after` is to be for the next page; null on the last one.")


class WholeJobDeadLetter(BaseModel):
    """A dead letter with what was kept of an event, in which a key reads `...`; empty of what is no text."""

    dead_letter: JobDeadLetterView
    body: str


def router(oversight: Oversight, operator: OperatorOf) -> APIRouter:
    routes = APIRouter(prefix="/manage", route_class=IntakeRoute, tags=["jobs"], responses=_described(_REASONS))
    _add_jobs(routes, oversight, operator)
    _add_letters(routes, oversight, operator)
    _add_requeues(routes, oversight, operator)
    return routes


def _add_jobs(routes: APIRouter, oversight: Oversight, operator: OperatorOf) -> None:
    @routes.get(
        "/jobs",
        operation_id="list-jobs",
        summary="List jobs, those that are looked at next first",
        dependencies=[Depends(operator)],
    )
    async def list_jobs(
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
        after: Annotated[str, Query(max_length=200, description="The `next` of the page before.")] = "",
        status: Annotated[Asked, Query(description="Only jobs of it; a page may then be short.")] = "any",
    ) -> JobPage:
        page = await oversight.jobs(limit, after, None if status == "any" else status)
        return JobPage(jobs=[JobView.of(job) for job in page.found], next=page.next)

    @routes.get(
        "/jobs/{subscription}/{job}",
        operation_id="show-job",
        summary="Show how a job of any subscription goes",
        dependencies=[Depends(operator)],
    )
    async def show_job(name: Annotated[JobName, Depends(_name)]) -> JobView:
        return JobView.of(await oversight.job(name))


def _add_letters(routes: APIRouter, oversight: Oversight, operator: OperatorOf) -> None:
    @routes.get(
        "/jobdeadletters",
        operation_id="list-job-dead-letters",
        summary="List jobs that were given up and events that are no job, the latest day first",
        dependencies=[Depends(operator)],
    )
    async def list_letters(
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
        after: Annotated[str, Query(max_length=254, description="The last id already seen.")] = "",
        days: Annotated[int, Query(ge=1, le=366, description="How far back.")] = 30,
        waiting: Annotated[bool, Query(description="Only those that were never put back.")] = False,
    ) -> JobDeadLetterPage:
        page = await oversight.letters(limit, after, days, waiting=waiting)
        return JobDeadLetterPage(dead_letters=[JobDeadLetterView.of(each) for each in page.found], next=page.next)

    @routes.get(
        "/jobdeadletters/{id}",
        operation_id="get-job-dead-letter",
        summary="Show a dead letter of jobs with its event",
        dependencies=[Depends(operator)],
    )
    async def get_letter(id: str) -> WholeJobDeadLetter:  # noqa: A002 - it is called so on the wire
        letter = await oversight.letter(id)
        return WholeJobDeadLetter(dead_letter=JobDeadLetterView.of(letter), body=letter.body().decode(errors="replace"))


def _add_requeues(routes: APIRouter, oversight: Oversight, operator: OperatorOf) -> None:
    @routes.post(
        "/jobs/{subscription}/{job}/requeue",
        operation_id="requeue-job",
        summary="Run a job anew",
        responses=_described(_REQUEUE_REASONS),
    )
    async def requeue_job(
        name: Annotated[JobName, Depends(_name)],
        by: Annotated[str, Depends(operator)],
        force: Annotated[bool, Query(description="Also one that succeeded.")] = False,
    ) -> JobView:
        """With all its tries; what it asks of models is charged to its subscription."""
        return JobView.of(await oversight.requeue(name, by, force=force))

    @routes.post(
        "/jobdeadletters/{id}/requeue",
        operation_id="requeue-job-dead-letter",
        summary="Run a dead letter's job anew, or publish its event again, as it is or mended",
        responses=_described(_REQUEUE_REASONS),
        openapi_extra=_MENDED,
    )
    async def requeue_letter(
        id: str,  # noqa: A002 - it is called so on the wire
        request: Request,
        by: Annotated[str, Depends(operator)],
        force: Annotated[bool, Query(description="Also a job that succeeded since.")] = False,
    ) -> JobDeadLetterView:
        """The row stays, and says when and by whom it was put back."""
        return JobDeadLetterView.of(await oversight.requeue_letter(id, by, await request.body(), force=force))


def _name(subscription: str, job: Annotated[str, Path(description="The job's id.")]) -> JobName:
    try:
        return JobName.checked(subscription, job)
    except ValueError as error:
        raise JobNotFound(f"There is no such job: {error}.") from error
