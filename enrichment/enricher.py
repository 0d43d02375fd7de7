"""Tickets enriched: every task that was asked for, at once, each with an outcome of its own."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Final, Self

import openai
from openai.types.chat import ChatCompletionMessageParam

from enrichment.answers.answers import DIGEST, Enrichment, Summary, TaskOutcome
from enrichment.answers.findings import Findings
from enrichment.answers.streams import StreamedAnswer
from enrichment.caller import TicketCaller
from enrichment.calls.calls import Asker, CallPrices, ModelCall, Way, shown
from enrichment.calls.digest import Digests, ends_of, too_long
from enrichment.case import Case, case_of
from enrichment.errors import from_sdk
from enrichment.paragraphs import paragraph
from enrichment.privacy.placeholders import RULE, Placeholders
from enrichment.prompts.digest import DIGEST as DIGEST_PROMPT
from enrichment.requests.requests import EnrichRequest, Question
from enrichment.runs import Run, raise_if_refused, total
from enrichment.suggestions.patches import merged, patch_of
from enrichment.suggestions.triage import TriageRules
from enrichment.tasks.registry import TASKS
from enrichment.tickets.material import Part, parts_of
from enrichment.tickets.neighbours import Neighbours, neighbours
from enrichment.tickets.ticket import Ticket

SYNC_SECONDS: Final = 25.0
"""ServiceNow waits for 30."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnricherRules:
    """`deployment` answers, by `parallel_calls` of one ticket at a time; `embeddings` compares tickets, "" for none."""

    deployment: str
    embeddings: str = ""
    parallel_calls: int = 8
    triage: TriageRules = field(default_factory=TriageRules)


class Enricher:
    """Safe to share. `mark` draws the marks of fences."""

    def __init__(
        self, rules: EnricherRules, prices: CallPrices, *, mark: Callable[[], str] = lambda: secrets.token_hex(8)
    ) -> None:
        self._rules = rules
        self._prices = prices
        self._mark = mark
        self._digests = Digests()

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
        again. Raises GatewayRefused or GatewayFailed where the gateway let no call through at all and nothing is done.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        way = self._way(caller, request.ticket, request.history)
        kept = _succeeded(done)
        runs = [Run[Findings](name, TASKS[name].prompt, Asker(way)) for name in request.tasks if name not in kept]
        case = case_of(request, self._rules.triage)
        digest = Run[tuple[Part, ...]](DIGEST, DIGEST_PROMPT, Asker(way))
        readers = any(run.prompt for run in runs)
        near, parts = await asyncio.gather(
            self._neighbours(request, runs, deadline),
            self._parts(case.parts if readers else (), caller.subscription, digest, deadline),
        )
        seen = replace(case, parts=parts, material=shown(parts, way.hiding), neighbours=near)
        await asyncio.gather(*(run.until(deadline, partial(TASKS[run.name].run, seen, run.asker)) for run in runs))
        if not kept:
            raise_if_refused(runs, digest)
        began = [digest] if digest.ended else []
        return self._answer(seen, [*began, *runs], [run.result for run in runs if run.result], done)

    async def summarize(self, caller: TicketCaller, ticket: Ticket, *, seconds: float = SYNC_SECONDS) -> Summary:
        """Return the ticket in one paragraph. Raises NoAnswer, GatewayRefused, GatewayFailed, GatewayTimeout."""
        deadline = asyncio.get_running_loop().time() + seconds
        way = self._way(caller, ticket)
        digest = Run[tuple[Part, ...]](DIGEST, DIGEST_PROMPT, Asker(way))
        parts = await self._parts(parts_of(ticket), caller.subscription, digest, deadline)
        summary = await paragraph(way, parts, deadline)
        if summary.usage is None:
            return summary
        used = total([summary.usage, *(call.usage() for call in digest.asker.calls)])
        return summary.model_copy(update={"usage": used})

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

    def _way(self, caller: TicketCaller, ticket: Ticket, history: Sequence[Ticket] = ()) -> Way:
        people = {name for each in (ticket, *history) for name in _people(each)}
        return Way(
            models=caller.models,
            deployment=self._rules.deployment,
            slots=asyncio.Semaphore(self._rules.parallel_calls),
            mark=self._mark,
            hiding=Placeholders(people) if caller.placeholders else _Open(),
            hiding_rule=RULE if caller.placeholders else "",
        )

    async def _neighbours(self, request: EnrichRequest, runs: Sequence[Run[Findings]], deadline: float) -> Neighbours:
        """Return the similar tickets where a task needs them; what that uses is the first such task's."""
        asking = [run for run in runs if run.name in {"similar", "classification"}]
        if not asking or not request.history:
            return Neighbours()
        asker = min(asking, key=lambda run: run.name != "similar").asker
        try:
            async with asyncio.timeout_at(deadline):
                return await neighbours(request.ticket, request.history, asker, self._rules.embeddings)
        except TimeoutError:
            return Neighbours(late=True)

    async def _parts(
        self, parts: tuple[Part, ...], subscription: str, digest: Run[tuple[Part, ...]], deadline: float
    ) -> tuple[Part, ...]:
        """Return what of a ticket is shown to models; where the middle cannot be condensed, its two ends."""
        if not too_long(parts):
            return parts
        await digest.until(deadline, partial(self._digests.shortened, parts, subscription, digest.asker))
        return digest.result or ends_of(parts)

    def _answer(
        self,
        case: Case,
        runs: Sequence[Run[Findings] | Run[tuple[Part, ...]]],
        findings: Sequence[Findings],
        done: Enrichment | None,
    ) -> Enrichment:
        request = case.request
        calls = [call for run in runs for call in run.asker.calls]
        whole = merged([*([done] if done else []), *findings])
        outcomes = _succeeded(done) | {run.name: run.outcome() for run in runs}
        return Enrichment(
            **dict(whole),
            number=request.ticket.number,
            sys_id=request.ticket.sys_id,
            correlation_id=request.ticket.correlation_id,
            language=case.language,
            patch=patch_of(whole.suggestions, request),
            tasks=tuple(outcomes[name] for name in (DIGEST, *request.tasks) if name in outcomes),
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

    def apart(self) -> Self:
        return self


def _succeeded(done: Enrichment | None) -> dict[str, TaskOutcome]:
    return {outcome.name: outcome for outcome in done.tasks if outcome.status == "succeeded"} if done else {}


def _people(ticket: Ticket) -> set[str]:
    """Return the names of the people of whom a ticket tells."""
    return {ticket.caller_id.shown, *(entry.sys_created_by for entry in ticket.journal())} - {""}
