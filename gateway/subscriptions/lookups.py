"""Questions to storage about subscriptions: one at a time for each proof, in time, and not while it is down."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.errors import SubscriptionUnreadable
from gateway.subscriptions.index import Proof
from gateway.subscriptions.store import StoredSubscription
from seams.clock import Clock
from seams.tables import TableUnavailable

type Question = Callable[[], Awaitable[StoredSubscription | None]]
type Answer = Callable[[StoredSubscription | None], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LookupRules:
    """Times in seconds. `pause` is how long storage that failed is left alone.

    `in_flight` bounds the questions that wait, `at_once` those of them that storage has been asked.
    """

    timeout: float = 3.0
    pause: float = 2.0
    in_flight: int = 1024
    at_once: int = 32


class Lookups:
    """Owns a task for each question; `close` ends them."""

    def __init__(self, clock: Clock, rules: LookupRules) -> None:
        self._clock = clock
        self._rules = rules
        self._under_way: dict[Proof, asyncio.Task[bool]] = {}
        self._gate = asyncio.Semaphore(rules.at_once)
        self._down_until: float | None = None
        self._changes = 0

    def __contains__(self, proof: Proof) -> bool:
        return proof in self._under_way

    def ask(self, proof: Proof, question: Question, answer: Answer) -> asyncio.Task[bool] | None:
        """Return the task that asks about this proof, begun now where there is none.

        Its result tells whether storage answered; `answer` has been called by then. None where storage is down or too
        many questions are under way.
        """
        task = self._under_way.get(proof)
        if task is None and len(self._under_way) < self._rules.in_flight and self._may_ask():
            task = asyncio.create_task(self._run(question, answer), name="look up a subscription")
            self._under_way[proof] = task
            task.add_done_callback(lambda _: self._under_way.pop(proof))
        return task

    def ask_again(self) -> None:
        """Let questions under way be asked anew: what they are about was changed here."""
        self._changes += 1

    async def close(self) -> None:
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _may_ask(self) -> bool:
        if self._down_until is None:
            return True
        now = self._clock.monotonic()
        if now < self._down_until:
            return False
        self._down_until = now + self._rules.pause  # one asks, and the others see what comes of it
        return True

    async def _run(self, question: Question, answer: Answer) -> bool:
        try:
            async with asyncio.timeout(self._rules.timeout), self._gate:
                stored = await self._settled(question)
        except TableUnavailable as error:
            self._failed(str(error))
            return False
        except TimeoutError:
            self._failed(f"no answer within {self._rules.timeout:g} s")
            return False
        if self._down_until is not None:
            logger.warning("subscriptions can be looked up again")
            self._down_until = None
        answer(stored)
        return True

    async def _settled(self, question: Question) -> StoredSubscription | None:
        while True:
            changes = self._changes
            try:
                stored = await question()
            except SubscriptionUnreadable as error:
                logger.error("%s Its keys are refused.", error)  # noqa: TRY400 - the message says it all
                return None
            if changes == self._changes:
                return stored

    def _failed(self, reason: str) -> None:
        if self._down_until is None:
            logger.warning("subscriptions cannot be looked up, known ones go on: %s", reason)
        self._down_until = self._clock.monotonic() + self._rules.pause
