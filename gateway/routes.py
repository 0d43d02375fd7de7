"""The gateway as a plain ASGI application: who calls, what for, which backend, its answer, its usage.

It stands in front of the web framework's router, because a call's own cost is a third of what it would be behind it.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import MutableMapping
from typing import Any

from gateway.answers.relay import Headers, Relay, Send, own_headers
from gateway.attempts.attempt import StreamBroken
from gateway.attempts.dispatch import Dispatcher
from gateway.cache.cache import Cache
from gateway.cache.replay import replay
from gateway.call import Call
from gateway.catalog.catalog import Catalog
from gateway.deadlines import Deadlines
from gateway.errors import CallerLeft, GatewayError, MethodNotAllowed, error_body
from gateway.identity.callers import SCOPE_KEY, Caller, Callers
from gateway.limits.limiter import Limiter
from gateway.metering.metering import Meter
from gateway.metering.open_responses import OpenResponses
from gateway.models import model, model_list
from gateway.observer import UNOBSERVED, Observer
from gateway.requests import operations
from gateway.requests.bodies import Receive
from gateway.requests.departure import DepartureWatch
from gateway.requests.intake import Intake
from gateway.requests.operations import Target
from gateway.routing.affinity import Affinity
from gateway.safety.prompt_log import PromptLog
from gateway.safety.shield import NO_DETECTOR, PromptShield
from gateway.usage import Outcome

type Scope = MutableMapping[str, Any]

INVOCATION_ID = "azure_functions.invocation_id"
"""Where the Functions bridge leaves the invocation's id; a host that retries a request keeps it."""

logger = logging.getLogger(__name__)


class Gateway:
    """Every path that begins with one of operations.PREFIXES is its own."""

    def __init__(
        self,
        catalog: Catalog,
        callers: Callers,
        *,
        intake: Intake,
        dispatcher: Dispatcher,
        relay: Relay,
        meter: Meter,
        affinity: Affinity,
        limiter: Limiter,
        cache: Cache,
        responses: OpenResponses,
        shield: PromptShield = NO_DETECTOR,
        prompt_log: PromptLog | None = None,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._catalog = catalog
        self._callers = callers
        self._intake = intake
        self._dispatcher = dispatcher
        self._relay = relay
        self._meter = meter
        self._affinity = affinity
        self._limiter = limiter
        self._cache = cache
        self._responses = responses
        self._shield = shield
        self._prompt_log = prompt_log
        self._observer = observer
        self._deadlines = Deadlines()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call_id = scope.get(INVOCATION_ID) or os.urandom(16).hex()
        try:
            caller: Caller = scope.get(SCOPE_KEY) or await self._callers.identify(scope["headers"])
            target = operations.target((scope.get("raw_path") or scope["path"].encode()).decode("latin-1"))
            if target.deployment is None and target.operation.partition("/")[0] == operations.MODELS:
                await answer_json(send, self._models(scope["method"], target, caller), call_id)
                return
            call = await self._intake.call(call_id, caller, target, scope, receive)
            if call.subscription.cache is not None:
                call.caching = self._cache.begin(call, scope["headers"])
        except GatewayError as error:
            self._observer.refused(error, None)
            await refuse(send, error, [(b"x-request-id", call_id.encode()), (b"x-gateway-attempts", b"0")])
        except CallerLeft:
            return
        else:
            await self._serve(call, receive, send)

    async def _serve(self, call: Call, receive: Receive, send: Send) -> None:
        self._observer.call_started(call)
        try:
            outcome = await self._outcome(call, receive, send)
        except asyncio.CancelledError:
            self._meter.settle_later(call, "client_closed")
            self._log_prompt(call, "client_closed")
            raise
        finally:
            self._let_go(call)
        await self._meter.settle(call, outcome)
        # Its traceback holds the call: the two, and the body, would stay until the garbage collector comes.
        call.error = None
        self._log_prompt(call, outcome)
        await self._affinity.save(call)
        if call.peek.background or call.stored is not None:
            await self._responses.note(call)
        if call.caching is not None:
            await self._cache.save(call, self)

    async def _outcome(self, call: Call, receive: Receive, send: Send) -> Outcome | None:
        """Answer a call, with an error where it must be, and return how it ended; None: no backend gave an answer."""
        try:
            rest = receive if call.upload is None else call.upload.after_body
            with DepartureWatch(rest, self._deadlines) as watch:
                return await self._answer(call, send, watch)
        except CallerLeft:
            return "client_closed"
        except GatewayError as error:
            call.error = error
            self._observer.refused(error, call)
            await refuse(send, error, own_headers(call))
            return None
        except Exception:
            logger.exception("%s failed", call.id)
            call.error = GatewayError(f"The gateway failed. Request id: {call.id}.")
            self._observer.refused(call.error, call)
            # Where the answer has begun, its server refuses a second start, and the caller sees it cut.
            with contextlib.suppress(RuntimeError):
                await refuse(send, call.error, own_headers(call))
            return "upstream_error" if call.attempt else None

    def _let_go(self, call: Call) -> None:
        """Give back what a call holds while it is answered."""
        self._dispatcher.done(call)
        if call.caching is not None:
            self._cache.done(call.caching)
        if call.claim is not None:
            call.claim.release()
        if call.upload is not None:
            call.upload.close()

    async def _answer(self, call: Call, send: Send, watch: DepartureWatch) -> Outcome:
        if call.caching is not None and (kept := await self._cache.find(call, self)):
            watch.stop()
            self._limiter.tell(call)
            await replay(call, kept, self._cache.now(), send)
            return "cached"
        await self._limiter.reserve(call)
        if call.subscription.safety is not None:
            await self._shield.check(call)
        outcome = await self._from_backend(call, send, watch)
        if call.caching is not None:
            self._cache.learn(call, outcome)
        return outcome

    def _log_prompt(self, call: Call, outcome: Outcome | None) -> None:
        if call.subscription.log_prompts and self._prompt_log is not None:
            self._prompt_log.note(call, outcome)

    async def _from_backend(self, call: Call, send: Send, watch: DepartureWatch) -> Outcome:
        attempt = await self._dispatcher.open(call)
        while True:
            try:
                return await self._relay.pass_on(call, attempt, send, watch)
            except StreamBroken as broken:
                try:
                    attempt = await self._dispatcher.reopen(call)
                except GatewayError:
                    watch.stop()
                    return await self._relay.give_up(call, broken.fault, send)

    def _models(self, method: str, target: Target, caller: Caller) -> bytes:
        if method != "GET":
            raise MethodNotAllowed("Models are listed with GET.", headers=((b"allow", b"GET"),))
        _, _, name = target.operation.partition("/")
        deployments = self._catalog.deployments
        return model(deployments, caller, name) if name else model_list(deployments.values(), caller)


async def answer_json(send: Send, body: bytes, call_id: str) -> None:
    await _answer(send, 200, body, [(b"x-request-id", call_id.encode())])


async def refuse(send: Send, error: GatewayError, headers: Headers) -> None:
    """Answer with an error of the gateway's own."""
    await _answer(send, error.status, error_body(error), [*headers, *error.headers])


async def _answer(send: Send, status: int, body: bytes, headers: Headers) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
