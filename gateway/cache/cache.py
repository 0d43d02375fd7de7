"""The answer cache: a subscription that wants it gets what it was answered before, without asking a backend again.

Exact: the same request, by the digest of what its answer depends on (cacheable.py). Semantic: also a chat or a
response that differs in its last user turn alone, and in that by its wording only. What is kept belongs to one
subscription. It stands in memory, bounded, and in the table `cache` for the other instances; a hit in memory waits for
nothing. Of calls that ask the same at the same time, one asks a backend, and the others wait for its answer; streams
do not wait, since theirs would begin when the first one has ended. A subscription without a cache costs one look at its
fields.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from math import sumprod
from typing import Final

from gateway.answers.reports import AnswerReport
from gateway.attempts.attempt import Attempt
from gateway.cache import cacheable
from gateway.cache.cacheable import OPERATIONS
from gateway.cache.caching import BYPASS, HIT, LONGEST_ANSWER, MISS, Caching, KeptAnswer
from gateway.cache.embeddings import App, EmbeddingFailed, Embeddings
from gateway.cache.kept_memory import Front, Questions
from gateway.cache.kept_rows import KeptRows, Question
from gateway.cache.turns import Turn
from gateway.call import Call
from gateway.catalog.catalog import CacheRules
from gateway.upstream.upstream import header
from gateway.usage import Meters, Outcome
from seams.clock import Clock

FLIGHT_SECONDS: Final = 10.0
"""For which a call waits for another one's answer; one that takes longer is not worth more waiting than asking."""

logger = logging.getLogger(__name__)


class Cache:
    """`clock` tells what is over; the rows of other instances go by the same clock, to within its skew."""

    def __init__(self, rows: KeptRows, embeddings: Embeddings, clock: Clock) -> None:
        self._rows = rows
        self._embeddings = embeddings
        self._clock = clock
        self._front = Front()
        self._asked = Questions()
        self._flights: dict[tuple[str, str], asyncio.Event] = {}

    def begin(self, call: Call, headers: Iterable[tuple[bytes, bytes]]) -> Caching | None:
        """Return what the cache has to do with a call of a subscription with a cache; None where it is off for it."""
        rules = call.subscription.cache
        operation, deployment = call.target.operation, call.deployment.name
        if rules is None or operation not in OPERATIONS:
            return None
        if rules.deployments is not None and deployment not in rules.deployments:
            return None
        directives = _directives(headers)
        fields = None if b"no-store" in directives else cacheable.asked(call, rules)
        if fields is None:
            return Caching(BYPASS)
        return Caching(
            BYPASS if b"no-cache" in directives else MISS,
            scope=cacheable.scope_of(call.subscription),
            key=cacheable.key_of(call, fields),
            keeps=True,
            turn=cacheable.turn_of(call, fields) if rules.kind == "semantic" else None,
        )

    async def find(self, call: Call, app: App) -> KeptAnswer | None:
        """Return the answer to give again, and leave it as the call's `hit`. `app` is asked for embeddings."""
        caching, rules = call.caching, call.subscription.cache
        if caching is None or rules is None or caching.verdict != MISS:
            return None
        found = await self._kept(caching.scope, caching.key)
        if found is None and not call.peek.stream:
            found = await self._under_way(caching)
        if found is None and caching.turn is not None:
            found = await self._similar(call, caching, rules, caching.turn, app)
        if found is not None:
            caching.verdict, caching.hit, caching.keeps = HIT, found, False
        return found

    def done(self, caching: Caching) -> None:
        """Note that a call has learned its answer, or will not: whoever waited for it goes on."""
        if caching.leads:
            caching.leads = False
            self._flights.pop((caching.scope, caching.key)).set()

    def learn(self, call: Call, outcome: Outcome) -> None:
        """Keep an answer in memory, where it is one to be kept."""
        caching, attempt, rules = call.caching, call.attempt, call.subscription.cache
        if caching is None or attempt is None or rules is None or not caching.keeps:
            return
        reader = call.reader
        body = caching.recorded if attempt.body is None else attempt.body
        report = attempt.report if reader is None else reader.report
        whole = outcome == "completed" and attempt.answer.status == 200 and not call.broken
        if not whole or (reader is not None and not reader.ended) or not 0 < len(body) <= LONGEST_ANSWER:
            return
        if report is None or report.usage is None:
            # What a hit saves could not be told.
            return
        if cacheable.is_whole(call.target.operation, body, streamed=attempt.streamed):
            caching.fresh = self._fresh(attempt, rules, body, report)
            self._front.put(caching.scope, caching.key, caching.fresh)

    async def save(self, call: Call, app: App) -> None:
        """Tell the other instances of an answer that was learned; where storage fails, this one alone knows."""
        caching, rules = call.caching, call.subscription.cache
        if caching is None or caching.fresh is None or rules is None:
            return
        await self._rows.keep(caching.scope, caching.key, caching.fresh)
        turn = caching.turn
        if turn is None or (vector := await self._vector(call, caching, rules, turn, app)) is None:
            return
        question = Question(vector, turn.tokens, caching.key, caching.fresh.expires_at)
        self._asked.add(caching.scope, turn.context, question)
        await self._rows.add(caching.scope, turn.context, question)

    def now(self) -> datetime:
        return self._clock.now()

    async def close(self) -> None:
        """Wait for the embeddings that are being made."""
        await self._embeddings.close()

    async def _kept(self, scope: str, key: str) -> KeptAnswer | None:
        if (answer := self._in_memory(scope, key)) is not None:
            return answer
        answer = await self._rows.answer(scope, key)
        if answer is None or answer.expires_at <= self._clock.now():
            return None
        self._front.put(scope, key, answer)
        return answer

    def _in_memory(self, scope: str, key: str) -> KeptAnswer | None:
        answer = self._front.get(scope, key)
        if answer is not None and answer.expires_at <= self._clock.now():
            self._front.drop(scope, key)
            return None
        return answer

    async def _under_way(self, caching: Caching) -> KeptAnswer | None:
        """Wait for the answer to a call that asks the same, or be the call that others wait for."""
        place = (caching.scope, caching.key)
        flight = self._flights.get(place)
        if flight is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLIGHT_SECONDS):
                    await flight.wait()
        answer = self._in_memory(*place)
        if answer is None and flight is None:
            self._flights[place] = asyncio.Event()
            caching.leads = True
        return answer

    async def _similar(
        self, call: Call, caching: Caching, rules: CacheRules, turn: Turn, app: App
    ) -> KeptAnswer | None:
        questions = await self._questions(caching.scope, turn)
        now = self._clock.now()
        alike = [each for each in questions if each.tokens == turn.tokens and each.expires_at > now]
        # A vector is bought only where there is one to compare it with.
        if not alike or (vector := await self._vector(call, caching, rules, turn, app)) is None:
            return None
        for nearness, key in sorted(((sumprod(vector, each.vector), each.key) for each in alike), reverse=True):
            if nearness < rules.threshold:
                return None
            if (answer := await self._kept(caching.scope, key)) is not None:
                return answer
        return None

    async def _questions(self, scope: str, turn: Turn) -> list[Question]:
        now = self._clock.monotonic()
        known, fresh = self._asked.get(scope, turn.context, now)
        if fresh:
            return known
        read = await self._rows.questions(scope, turn.context)
        questions = known if read is None else read
        self._asked.put(scope, turn.context, now, questions)
        return questions

    async def _vector(
        self, call: Call, caching: Caching, rules: CacheRules, turn: Turn, app: App
    ) -> list[float] | None:
        if caching.vector is None:
            try:
                caching.vector = await self._embeddings.vector(app, call.caller, rules.embeddings, turn.text)
            except EmbeddingFailed as error:
                logger.warning("%s: similar questions were not looked for: %s", call.id, error)
        return caching.vector

    def _fresh(self, attempt: Attempt, rules: CacheRules, body: bytes, report: AnswerReport) -> KeptAnswer:
        now = self._clock.now()
        backend = attempt.member.backend
        return KeptAnswer(
            body=body,
            content_type=header(attempt.answer, b"content-type"),
            streamed=attempt.streamed,
            kept_at=now,
            expires_at=now + timedelta(seconds=rules.ttl_seconds),
            meters=report.usage or Meters(),
            model=report.model,
            service_tier=report.service_tier,
            backend=backend.name,
            deployment_type=backend.deployment_type,
            region=backend.region,
        )


def _directives(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    return {
        directive.strip().lower()
        for name, value in headers
        if name == b"cache-control"
        for directive in value.split(b",")
    }
