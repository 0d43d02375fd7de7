"""Attempts: a call is sent to one backend after the other until one gives an answer that can be passed on.

What counts against a backend, what makes it cool down, and what is the request's own fault, follows
docs/gateway.md, "Failure". An answer is usable when its head has come and, where it is JSON, all of it; where it is a
stream, its first bytes.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.answers.reports import read_error, read_report
from gateway.attempts.attempt import Attempt, AttemptFailed, Kind
from gateway.attempts.credentials import credential
from gateway.call import Call
from gateway.catalog.catalog import CallerToken, Member
from gateway.deadlines import Deadlines
from gateway.errors import NoBackend, UploadInterrupted, UpstreamGarbage
from gateway.observer import UNOBSERVED, Observer
from gateway.requests import operations
from gateway.requests.bodies import with_model
from gateway.routing.cooldown import cooldown
from gateway.routing.pool import Pool
from gateway.routing.shared_cooldowns import SharedCooldowns
from gateway.upstream.upstream import Answer, Body, Request, Upstream, UpstreamError, UpstreamNonsense, header, whole
from seams.clock import Clock
from seams.tokens import TokenSource, TokenUnavailable

RETRIED = frozenset({408, 500, 502, 503, 504})
LONGEST_JSON = 128 * 1024 * 1024
"""Bytes. The largest that backends send are 2,048 vectors of 3,072 numbers, some 80 MB; while its pieces are joined an
answer takes twice its size."""
MISCONFIGURED_COOLDOWN = 30.0
"""Seconds for which a backend that refuses our credentials or does not know its deployment is left alone."""

WAIT_SPREAD = 0.05
"""Seconds over which calls that wait for one backend come back."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DispatchRules:
    """Seconds, but for `attempts`. No attempt starts after `deadline` seconds from the call's start.

    Where all backends are out, the first to come back within `wait` seconds is waited for, once.
    """

    attempts: int
    first_byte: float
    deadline: float
    wait: float


class Dispatcher:
    def __init__(
        self,
        pool: Pool,
        upstream: Upstream,
        cooldowns: SharedCooldowns,
        *,
        tokens: TokenSource,
        clock: Clock,
        rules: DispatchRules,
        random: Callable[[], float],
        announce: Callable[[Call], None],
        observer: Observer = UNOBSERVED,
    ) -> None:
        """Take `announce`, which is told of each call before the first of its attempts goes out."""
        self._pool = pool
        self._upstream = upstream
        self._cooldowns = cooldowns
        self._tokens = tokens
        self._clock = clock
        self._rules = rules
        self._random = random
        self._announce = announce
        self._observer = observer
        self._deadlines = Deadlines()

    async def open(self, call: Call) -> Attempt:
        """Return the first usable answer.

        Raises NoBackend or UpstreamGarbage when there is none. Cancelled, it leaves no connection behind.
        """
        self._cooldowns.refresh()
        last: tuple[Kind, str] | None = None
        passed_over = list(call.tried)
        waited = False
        while len(call.tried) < self._rules.attempts:
            now = self._clock.monotonic()
            if last is not None and now - call.started > self._rules.deadline:
                break
            member = self._pool.choose(call.deployment, passed_over, now, call.prompt)
            if member is None:
                if waited or not await self._recovered(call, now):
                    break
                waited = True
                passed_over.clear()
                continue
            call.attempt_began = now
            call.tried.append(member)
            passed_over.append(member)
            if len(call.tried) == 1:
                self._announce(call)
            try:
                call.attempt = await self._attempt(call, member)
            except AttemptFailed as failure:
                self._pool.released(member)
                # Not the failure itself, whose traceback holds this frame: neither could be freed.
                last = failure.kind, failure.message
                call.results.append(failure.result)
                self._observer.attempt_failed(call, failure.result)
                logger.warning("%s attempt %d at %s: %s", call.id, len(call.tried), member.backend.name, failure)
                if failure.answered:
                    call.broken.append(len(call.tried))
                _check_repeatable(call, failure)
            except BaseException:
                self._pool.released(member)
                self._pool.undecided(member, call.attempt_began)
                raise
            else:
                call.results.append(str(call.attempt.answer.status))
                call.first_byte_at = self._clock.monotonic()
                return call.attempt
        raise self._all_out(call, last)

    def done(self, call: Call) -> None:
        """Note that a call's answer has been passed on, or given up."""
        if call.attempt is not None:
            self._pool.released(call.attempt.member)

    async def _recovered(self, call: Call, now: float) -> bool:
        """Wait for a backend that comes back soon; return False at once where none does."""
        wait = self._pool.earliest_recovery(call.deployment, now)
        if not 0 < wait <= self._rules.wait or now + wait - call.started > self._rules.deadline:
            return False
        # A little later than the backend asked, and not all waiting calls at one moment.
        await asyncio.sleep(wait + self._random() * WAIT_SPREAD)
        return True

    async def reopen(self, call: Call) -> Attempt:
        """Return the next usable stream for a caller whose stream broke before it had any content; raises like open.

        What the broken one cost is billed for itself.
        """
        self._pool.failed(call.member, self._clock.monotonic(), call.attempt_began)
        call.broken.append(len(call.tried))
        self.done(call)
        call.attempt = None
        attempt = await self.open(call)
        if not attempt.streamed or attempt.answer.status >= 400:
            attempt.answer.close()
            raise UpstreamGarbage(f"The next backend did not go on with the stream. Request id: {call.id}.")
        return attempt

    async def _attempt(self, call: Call, member: Member) -> Attempt:
        request = await self._request(call, member)
        answer: Answer | None = None
        try:
            with self._deadlines.within(self._rules.first_byte):
                answer = await self._upstream.send(request)
                attempt = await self._read(call, member, answer)
        except BaseException as error:
            if answer is not None:
                answer.close()
            if isinstance(error, (TimeoutError, UpstreamError)):
                raise self._broken(call, member, error, answer) from error
            raise
        if not attempt.streamed:
            answer.close()
        self._judge(call, member, attempt)
        return attempt

    async def _request(self, call: Call, member: Member) -> Request:
        path = call.target.upstream.format(member.deployment)
        url = f"{member.backend.endpoint}{path}?{call.query}" if call.query else f"{member.backend.endpoint}{path}"
        body: bytes | Body = call.body if call.upload is None else call.upload.to(member.deployment)
        if call.body and call.target.deployment is None and call.peek.model not in {None, member.deployment}:
            body = with_model(call.body, member.deployment)
        name, value = await self._credential(call, member)
        return Request(call.method, url, {**call.headers, name: value}, body)

    async def _credential(self, call: Call, member: Member) -> tuple[str, str]:
        try:
            return await credential(member.backend.auth, self._tokens, call.caller.token)
        except TokenUnavailable as error:
            self._pool.undecided(member, call.attempt_began)
            raise AttemptFailed("failed", "no access token for the backend could be had", result="no-token") from error

    async def _read(self, call: Call, member: Member, answer: Answer) -> Attempt:
        kind = _content_type(answer)
        good = answer.status < 400
        metered = call.target.operation in operations.METERED
        if metered and 300 <= answer.status < 400:
            raise UpstreamNonsense(f"the answer is a redirect ({answer.status}), and none is followed")
        if good and kind == "text/event-stream":
            if metered and not call.peek.stream:
                raise UpstreamNonsense("the answer is a stream that nobody asked for")
            first = await answer.chunk()
            if not first:
                raise UpstreamNonsense("the stream ended before it began")
            return Attempt(member, answer, first=first)
        if good and not metered and not kind.endswith("json"):
            return Attempt(member, answer, first=await answer.chunk())
        body = await whole(answer, LONGEST_JSON)
        report = read_report(body)
        if good and metered and report is None:
            raise UpstreamNonsense("the answer is not JSON")
        return Attempt(member, answer, body=body, report=report)

    def _broken(self, call: Call, member: Member, error: Exception, answer: Answer | None) -> AttemptFailed:
        self._pool.failed(member, self._clock.monotonic(), call.attempt_began)
        answered = answer is not None and answer.status < 400 and not isinstance(error, UpstreamNonsense)
        if isinstance(error, TimeoutError):
            message = f"no answer within {self._rules.first_byte:g} seconds"
            return AttemptFailed("failed", message, result="timeout", answered=answered)
        garbage = isinstance(error, UpstreamNonsense)
        kind: Kind = "garbage" if garbage else "failed"
        result = "garbage" if garbage else "cut" if answer else "unreachable"
        return AttemptFailed(kind, str(error), result=result, answered=answered)

    def _judge(self, call: Call, member: Member, attempt: Attempt) -> None:
        """Note what the answer says of its backend. Raises AttemptFailed where another backend is to be asked."""
        now, began = self._clock.monotonic(), call.attempt_began
        status = attempt.answer.status
        if status < 400:
            self._pool.answered(member, now, began)
            return
        code, message = read_error(attempt.body or b"")
        said = f"{status} {message}".strip()
        headers = _text_headers(attempt.answer)
        if status == 429:
            self._cooldowns.announce(member, self._pool.throttled(member, headers, now, self._clock.now(), began))
            raise AttemptFailed("throttled", said, result=str(status))
        if status in RETRIED:
            self._pool.failed(member, now, began)
            if "retry-after" in headers or "retry-after-ms" in headers:
                asked = cooldown(headers, self._clock.now(), 1)
                self._cooldowns.announce(member, self._pool.cool(member, asked, now))
            raise AttemptFailed("failed", said, result=str(status))
        if self._misconfigured(member, status, code):
            logger.error("Backend %s, deployment %s: %s", member.backend.name, member.deployment, said)
            self._pool.cool(member, MISCONFIGURED_COOLDOWN, now)
            self._pool.undecided(member, began)
            raise AttemptFailed("failed", said, result=str(status))
        self._pool.answered(member, now, began)

    @staticmethod
    def _misconfigured(member: Member, status: int, code: str) -> bool:
        # A 404 for a path that no backend has is the request's fault; cooling down for it would let one caller take
        # a backend from all others. The same holds for a refusal of the caller's own token.
        if status in {401, 403}:
            return not isinstance(member.backend.auth, CallerToken)
        return status == 404 and code == "DeploymentNotFound"

    def _all_out(self, call: Call, last: tuple[Kind, str] | None) -> NoBackend | UpstreamGarbage:
        now = self._clock.monotonic()
        name = call.deployment.name
        kind, message = last or (None, "")
        if kind == "garbage":
            return UpstreamGarbage(
                f"The backend of deployment {name} gave no usable answer: {message}. Request id: {call.id}."
            )
        recovery = self._pool.earliest_recovery(call.deployment, now) or 1.0
        throttled = kind == "throttled" if kind else self._pool.throttling(call.deployment, now)
        said = f" The last one said: {message}" if kind else ""
        wait = recovery + self._random() * min(1.0, recovery / 10)
        return NoBackend(
            f"No backend of deployment {name} is available; try again in {wait:.1f} seconds.{said}",
            throttled=throttled,
            retry_after=wait,
        )


def _check_repeatable(call: Call, failure: AttemptFailed) -> None:
    if call.upload is not None and not call.upload.repeatable:
        raise UploadInterrupted(
            "The backend failed when a part of the upload had gone to it, and there was no room to keep that for "
            f"another one: send it again. The backend said: {failure.message}. Request id: {call.id}."
        ) from failure


def _content_type(answer: Answer) -> str:
    return header(answer, b"content-type").partition(b";")[0].strip().lower().decode("latin-1")


def _text_headers(answer: Answer) -> Mapping[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
