"""Tickets enriched: every task that was asked for, at once, each with an outcome of its own."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import openai
from openai.types.chat import ChatCompletionMessageParam

from enrichment.answers import Enrichment, Summary, TaskError, TaskOutcome, TaskWarning, Usage
from enrichment.caller import TicketCaller
from enrichment.calls import Asker, CallPrices, ModelCall, Way
from enrichment.case import Case, Found
from enrichment.errors import EnrichmentError, GatewayFailed, GatewayRefused, from_sdk
from enrichment.languages import language_of, named
from enrichment.material import parts_of
from enrichment.paragraphs import paragraph
from enrichment.patches import merged, patch_of
from enrichment.privacy.placeholders import RULE, Placeholders
from enrichment.requests import EnrichRequest, Question, TaskName
from enrichment.streams import StreamedAnswer
from enrichment.tasks.registry import TASKS
from enrichment.ticket import Ticket

SYNC_SECONDS: Final = 25.0
"""ServiceNow waits for 30."""

_TIMEOUT: Final = TaskError(code="timeout", message="The task was not done in time.")
_DEFECT: Final = TaskError(code="internal_error", message="The task failed; the log has the reason.")

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnricherRules:
    """`deployment` answers, `parallel_calls` of one ticket at a time."""

    deployment: str
    parallel_calls: int = 8


@dataclass(slots=True)
class _Run:
    """One task: its outcome is written when it ends, and what it used is known even where it fails."""

    name: TaskName
    asker: Asker
    found: Found | None = None
    error: TaskError | None = None
    cause: EnrichmentError | None = None


class Enricher:
    """Safe to share. `mark` draws the marks of fences."""

    def __init__(
        self, rules: EnricherRules, prices: CallPrices, *, mark: Callable[[], str] = lambda: secrets.token_hex(8)
    ) -> None:
        self._rules = rules
        self._prices = prices
        self._mark = mark

    async def enrich(
        self,
        caller: TicketCaller,
        request: EnrichRequest,
        *,
        seconds: float = SYNC_SECONDS,
        done: Enrichment | None = None,
    ) -> Enrichment:
        """Return what came of a ticket within `seconds`; tasks that were not done by then are failed as `timeout`.

        `done` is what an earlier try brought: its tasks that succeeded are taken over, and neither run nor charged
        again. Raises GatewayRefused or GatewayFailed where the gateway let no task's call through.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        way = self.way(caller, request.ticket)
        kept = _kept(done)
        runs = [_Run(name, Asker(way)) for name in request.tasks if name not in kept]
        case = _case(request)
        await asyncio.gather(*(_run(run, case, deadline) for run in runs))
        _raise_if_refused(runs, kept.values())
        return self._answer(request, case, runs, done)

    async def summarize(self, caller: TicketCaller, ticket: Ticket) -> Summary:
        """Return the ticket in one paragraph. Raises NoAnswer, GatewayRefused, GatewayFailed, GatewayTimeout."""
        return await paragraph(self.way(caller, ticket), parts_of(ticket), SYNC_SECONDS)

    async def answer(self, caller: TicketCaller, question: Question) -> StreamedAnswer:
        """Return the answer to the question as soon as it begins. Raises as `summarize`, but for its time limit."""
        hiding = Placeholders() if caller.placeholders else None
        asked = hiding.hide(question.input) if hiding else question.input
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": asked}]
        if asked != question.input:
            messages.insert(0, {"role": "system", "content": RULE})
        try:
            stream = await caller.models.chat.completions.create(
                model=self._rules.deployment, messages=messages, stream=True
            )
        except openai.APIError as error:
            raise from_sdk(error) from error
        answer = StreamedAnswer(stream, hiding.restoring() if hiding else None)
        await answer.begin()
        return answer

    def way(self, caller: TicketCaller, ticket: Ticket) -> Way:
        """Return how models are reached about this ticket."""
        hiding = Placeholders(_people(ticket)) if caller.placeholders else _Open()
        return Way(
            models=caller.models,
            deployment=self._rules.deployment,
            slots=asyncio.Semaphore(self._rules.parallel_calls),
            mark=self._mark,
            hiding=hiding,
            hiding_rule=RULE if caller.placeholders else "",
        )

    def _answer(self, request: EnrichRequest, case: Case, runs: Sequence[_Run], done: Enrichment | None) -> Enrichment:
        calls = [call for run in runs for call in run.asker.calls]
        kept = _kept(done)
        findings = merged([*([done] if done else []), *(run.found.findings for run in runs if run.found)])
        outcomes = {run.name: _outcome(run) for run in runs} | kept
        ticket = request.ticket
        return Enrichment(
            **dict(findings),
            number=ticket.number,
            sys_id=ticket.sys_id,
            correlation_id=ticket.correlation_id,
            language=case.language,
            patch=patch_of(findings.suggestions, request),
            tasks=tuple(outcomes[name] for name in request.tasks),
            usage=total([*(call.usage() for call in calls), *([done.usage] if done else [])]),
            cost=self._cost(calls, done),
        )

    def _cost(self, calls: Iterable[ModelCall], done: Enrichment | None) -> str | None:
        costs = [self._prices.cost(call) for call in calls]
        if done is not None:
            costs.append(None if done.cost is None else Decimal(done.cost))
        known = [cost for cost in costs if cost is not None]
        return f"{sum(known, Decimal(0)):f}" if len(known) == len(costs) else None


class _Open:
    """Hides nothing."""

    def hide(self, text: str) -> str:
        return text

    def restore(self, text: str) -> str:
        return text


async def _run(run: _Run, case: Case, deadline: float) -> None:
    try:
        async with asyncio.timeout_at(deadline):
            run.found = await TASKS[run.name].run(case, run.asker)
    except TimeoutError:
        run.error = _TIMEOUT
    except EnrichmentError as error:
        run.error, run.cause = TaskError(code=error.code or "failed", message=error.message), error
    except Exception:  # noqa: BLE001 - a defect is the outcome of its task, and logged
        # What other tasks found, and what was used, is not lost to a defect in one of them.
        _log.exception("the task %s failed", run.name)
        run.error = _DEFECT


def total(usages: Iterable[Usage]) -> Usage:
    """Return the sum."""
    prompt = completion = 0
    for usage in usages:
        prompt += usage.prompt_tokens
        completion += usage.completion_tokens
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


def _outcome(run: _Run) -> TaskOutcome:
    calls, prompt = run.asker.calls, TASKS[run.name].prompt
    warnings: tuple[TaskWarning, ...] = run.found.warnings if run.found else ()
    return TaskOutcome(
        name=run.name,
        status="succeeded" if run.found else "failed",
        error=run.error,
        warnings=warnings,
        prompt=prompt.label if prompt else None,
        model=calls[-1].model if calls else None,
        request_ids=tuple(call.request_id for call in calls),
        usage=total(call.usage() for call in calls),
    )


def _kept(done: Enrichment | None) -> dict[str, TaskOutcome]:
    return {outcome.name: outcome for outcome in done.tasks if outcome.status == "succeeded"} if done else {}


def _raise_if_refused(runs: Sequence[_Run], kept: Iterable[TaskOutcome]) -> None:
    """Pass the gateway's refusal on where it is all that came: its status and Retry-After are what the caller needs."""
    if any(kept) or any(run.asker.calls for run in runs):
        return
    causes = [run.cause for run in runs if isinstance(run.cause, GatewayRefused | GatewayFailed)]
    if causes and len(causes) == len(runs):
        raise causes[0]


def _case(request: EnrichRequest) -> Case:
    parts = parts_of(request.ticket)
    text = "\n".join(part.text for part in parts)
    language = language_of(text)
    return Case(
        request=request,
        parts=parts,
        names=frozenset(part.name for part in parts),
        text=text,
        language=language,
        writing=named(request.output_language or language),
    )


def _people(ticket: Ticket) -> set[str]:
    """Return the names of the people of whom a ticket tells."""
    return {ticket.caller_id.shown, *(entry.sys_created_by for entry in ticket.journal())} - {""}
