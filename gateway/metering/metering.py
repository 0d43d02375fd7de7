"""From a call to its usage events: the backend's counts where they came, else our own, and marked so.

A call is announced by an intent as its first attempt goes out, and ends with its usage event, or with a withdrawal
where no backend answered.
"""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import NamedTuple

import msgspec

from gateway.answers.reports import AnswerReport, split_version
from gateway.answers.texts import texts_of
from gateway.cache.caching import KeptAnswer
from gateway.call import Call
from gateway.catalog.catalog import Member
from gateway.limits import estimates
from gateway.metering.open_responses import background_response, report_of
from gateway.metering.tokens import TokenCounter
from gateway.metering.units import with_units
from gateway.observer import UNOBSERVED, Observer
from gateway.publishing.publisher import UsagePublisher
from gateway.requests import operations
from gateway.usage import Intent, Meters, Outcome, UsageEvent, Withdrawal
from seams.clock import Clock

NOTHING = Meters()


class _Consumed(NamedTuple):
    meters: Meters = NOTHING
    estimated: bool = False
    model: str = ""
    service_tier: str = ""


class Meter:
    """Publishes an intent and one event a call, and one event for each broken attempt that a backend bills."""

    def __init__(
        self, counter: TokenCounter, publisher: UsagePublisher, clock: Clock, observer: Observer = UNOBSERVED
    ) -> None:
        self._counter = counter
        self._publisher = publisher
        self._clock = clock
        self._observer = observer
        self._tasks: set[asyncio.Task[None]] = set()

    def announce(self, call: Call) -> None:
        """Tell the ledger of a call whose first attempt is about to go out; nobody waits for that.

        So a call leaves a trace although its instance is killed before it has an end. Not told of are calls that cost
        nothing, and none while the event hub is out.
        """
        if self._publisher.announces and call.stored is None and operations.is_billed(call.target.operation):
            call.announced = self._publisher.announce(self._intent(call))

    async def settle(self, call: Call, outcome: Outcome | None) -> None:
        """Publish what a call consumed; returns when it is durable. `outcome` None: no backend gave an answer.

        Where nothing was consumed by a call that was announced, that is told instead.
        """
        events = [await self._broken(call, number) for number in call.broken]
        if call.caching is not None and call.caching.hit is not None:
            events.append(self._cached(call, call.caching.hit))
        elif outcome is not None and call.tried:
            consumed = await self._consumed(call, outcome)
            events.append(self._event(call, call.member, outcome, consumed))
            events += self._of_background(call)
        if call.claim is not None:
            call.claim.settle(events)
        self._observer.call_ended(call, events)
        records: list[UsageEvent | Withdrawal] = [*events]
        if call.announced and not any(event.id == call.id for event in events):
            records.append(Withdrawal(id=call.id, time=self._clock.now(), subscription=call.subscription.name))
        if len(records) == 1:
            await self._publisher.publish(records[0])
        elif records:
            await asyncio.gather(*(self._publisher.publish(record) for record in records))

    def settle_later(self, call: Call, outcome: Outcome) -> None:
        """Do the same in a task of our own, where the call's own task is being cancelled."""
        self._own(self.settle(call, outcome))

    async def close(self) -> None:
        """Wait for the events of cancelled calls."""
        await asyncio.gather(*self._tasks)
        await self._publisher.close()

    def _own(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _intent(self, call: Call) -> Intent:
        backend = call.member.backend
        operation = call.target.operation
        claim = call.claim
        prompt = estimates.prompt_tokens(operation, call.body) if claim is None else claim.prompt_tokens
        return Intent(
            id=call.id,
            time=self._clock.now() - timedelta(seconds=self._clock.monotonic() - call.started),
            subscription=call.subscription.name,
            cost_centre=call.subscription.cost_centre,
            operation=operation[:256],
            deployment=call.deployment.name,
            model=call.deployment.model,
            backend=backend.name,
            deployment_type=backend.deployment_type,
            region=backend.region,
            streamed=bool(call.peek.stream),
            prompt_tokens=prompt,
        )

    def _cached(self, call: Call, kept: KeptAnswer) -> UsageEvent:
        """Return the event of an answer that was given again: it consumed nothing, and tells what it saved."""
        elapsed = int((self._clock.monotonic() - call.started) * 1000)
        model, version = split_version(kept.model or call.deployment.model)
        return UsageEvent(
            id=call.id,
            time=self._clock.now(),
            subscription=call.subscription.name,
            cost_centre=call.subscription.cost_centre,
            operation=call.target.operation[:256],
            deployment=call.deployment.name,
            model=model,
            model_version=version,
            backend=kept.backend,
            deployment_type=kept.deployment_type,
            region=kept.region,
            service_tier=kept.service_tier,
            streamed=kept.streamed,
            outcome="cached",
            status=200,
            attempts=0,
            avoided=kept.meters,
            labels=call.labels,
            latency_ms=elapsed,
            first_token_ms=elapsed,
        )

    async def _consumed(self, call: Call, outcome: Outcome) -> _Consumed:
        attempt, reader = call.attempt, call.reader
        if attempt is None:
            # The caller left while a backend was working, or a stream found no backend to go on: what the broken
            # attempts cost is in their own events.
            waiting = len(call.tried) not in call.broken and outcome == "client_closed"
            return await self._estimate(call, {}) if waiting else _Consumed()
        if attempt.answer.status >= 400 or call.stored is not None or background_response(call) is not None:
            return _Consumed()
        report = attempt.report if reader is None else reader.report
        if report is not None and report.usage is not None:
            return _reported(report, with_units(call.target.operation, report.usage, call.body, attempt.body or b""))
        if call.target.operation not in operations.METERED or call.peek.background:
            return _Consumed(with_units(call.target.operation, NOTHING, call.body, attempt.body or b""))
        if reader is not None:
            return await self._estimate(call, reader.delivered_text(), reader.model)
        texts = texts_of(call.target.operation, attempt.body or b"")
        return await self._estimate(call, texts, report.model if report else "")

    def _of_background(self, call: Call) -> list[UsageEvent]:
        """Return the bill of a background response whose usage a call tells; each call that does makes the same one.

        Marked as replayed it is looked for in the ledger first, so that it counts once however often it is told.
        """
        if (response := background_response(call)) is None:
            return []
        report = report_of(call)
        if report is None or report.usage is None or call.attempt is None or call.attempt.answer.status >= 400:
            return []
        event = self._event(call, call.member, "completed", _reported(report, report.usage))
        changes = {"id": response, "parent": call.id, "operation": operations.RESPONSES, "replayed": True}
        return [msgspec.structs.replace(event, **changes)]

    async def _estimate(self, call: Call, texts: dict[str, str], model: str = "") -> _Consumed:
        name = model or call.deployment.model
        prompt = await self._counter.request(call.target.operation, name, call.body)
        completion = await self._counter.texts(name, texts.values())
        return _Consumed(Meters(prompt_tokens=prompt, completion_tokens=completion), estimated=True, model=model)

    async def _broken(self, call: Call, number: int) -> UsageEvent:
        member = call.tried[number - 1]
        consumed = await self._estimate(call, {})
        return self._event(call, member, "upstream_error", consumed, number)

    def _event(
        self, call: Call, member: Member, outcome: Outcome, consumed: _Consumed, number: int | None = None
    ) -> UsageEvent:
        now = self._clock.monotonic()
        first = call.first_byte_at or now
        model, version = split_version(consumed.model or call.deployment.model)
        attempt = call.attempt if number is None else None
        return UsageEvent(
            id=call.id if number is None else f"{call.id}-{number}",
            parent="" if number is None else call.id,
            time=self._clock.now(),
            subscription=call.subscription.name,
            cost_centre=call.subscription.cost_centre,
            operation=call.target.operation[:256],
            deployment=call.deployment.name,
            model=model,
            model_version=version,
            backend=member.backend.name,
            deployment_type=member.backend.deployment_type,
            region=member.backend.region,
            service_tier=consumed.service_tier,
            streamed=attempt.streamed if attempt else bool(call.peek.stream),
            outcome=outcome,
            status=attempt.answer.status if attempt else 499 if outcome == "client_closed" else 502,
            estimated=consumed.estimated,
            attempts=len(call.tried),
            meters=consumed.meters,
            labels=call.labels,
            latency_ms=int((now - call.started) * 1000),
            first_token_ms=int((first - call.started) * 1000),
        )


def _reported(report: AnswerReport, meters: Meters) -> _Consumed:
    return _Consumed(meters, model=report.model, service_tier=report.service_tier)
