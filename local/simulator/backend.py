"""The state of one simulated backend: what it was told to break, what it counted, what it billed, what it remembers."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from local.simulator import errors
from local.simulator.calls import Call
from local.simulator.exchange import Headers
from local.simulator.faults import FaultBook
from local.simulator.invoice import Invoice, Line, Outcome
from local.simulator.limits import limit_for
from local.simulator.settings import BackendSettings
from local.simulator.tokens import CACHE_FROM, PrefixCache, Priced, Tokenizers, Usage, prompt_tokens
from seams.clock import Clock

REQUESTS_KEPT = 1000
LOGGED_BODY_BYTES = 256 * 1024
RESPONSES_KEPT = 10_000
CREDENTIAL_HEADERS = frozenset((b"api-key", b"authorization", b"ocp-apim-subscription-key"))
V1_API = "v1"

_OPERATION_NAMES = {
    "chat/completions": "ChatCompletions_Create",
    "completions": "Completions_Create",
    "embeddings": "Embeddings_Create",
    "responses": "Responses_Create",
}


@dataclass(slots=True)
class SeenRequest:
    """A request as it arrived; `status` is 0 until it is answered, and stays 0 where no answer went out."""

    time: datetime
    request_id: str
    method: str
    path: str
    query: dict[str, str]
    headers: Headers
    credential: str
    body: bytes
    status: int = 0

    def document(self) -> dict[str, Any]:
        """Return it without its credentials; a body that is not JSON or is very large is left out."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in self.headers
            if name not in CREDENTIAL_HEADERS
        }
        try:
            body = msgspec.json.decode(self.body) if len(self.body) <= LOGGED_BODY_BYTES else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            body = None
        return {
            "time": self.time,
            "request_id": self.request_id,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": headers,
            "credential": self.credential,
            "body": body,
            "body_bytes": len(self.body),
            "status": self.status,
        }


@dataclass(slots=True)
class Work:
    """What is done for a response in the background: queued before `begins`, done from `ends` on unless it is ended."""

    call: Call
    usage: Usage
    begins: datetime
    ends: datetime
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response that can be fetched again, its input, and the conversation that led to it and ends with it.

    `document` is what it is in the end; `work` is there where that may be yet to come.
    """

    document: dict[str, Any]
    conversation: tuple[Any, ...]
    items: tuple[dict[str, Any], ...]
    work: Work | None = None


@dataclass(slots=True)
class Responses:
    """Stored responses of this backend and of no other, the oldest dropped above a bound."""

    kept: OrderedDict[str, StoredResponse] = field(default_factory=OrderedDict)

    def put(self, response: StoredResponse) -> None:
        self.kept[response.document["id"]] = response
        if len(self.kept) > RESPONSES_KEPT:
            self.kept.popitem(last=False)


class Backend:
    def __init__(
        self, settings: BackendSettings, tokenizers: Tokenizers, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        """`new_id` makes request ids, in a UUID's form."""
        self.settings = settings
        self.tokenizers = tokenizers
        self.clock = clock
        self.new_id = new_id
        self.faults = FaultBook()
        self._invoice = Invoice()
        self._working: list[Work] = []
        self.requests: deque[SeenRequest] = deque(maxlen=REQUESTS_KEPT)
        self.responses = Responses()
        self._prefixes = PrefixCache()
        self._set_limits()

    @property
    def invoice(self) -> Invoice:
        """What was billed so far, background responses that are done by now included."""
        now = self.clock.now()
        for work in self._working:
            if work.ends <= now and not work.cancelled:
                self._bill(work.call, "completed", work.usage, work.ends, stream=False)
        self._working = [work for work in self._working if work.ends > now and not work.cancelled]
        return self._invoice

    def begin(self, call: Call, usage: Usage, *, streamed: bool) -> Work:
        """Begin to work on a response in the background; it is billed when that is done, and not before.

        One that is streamed begins at once, and goes on where its caller leaves.
        """
        now, whole = self.clock.now(), 0.0 if streamed else self.settings.background_ms
        length = whole + self.settings.token_delay_ms * usage.completion
        billed = Usage() if call.report == "zero" else usage
        work = Work(call, billed, now + timedelta(milliseconds=whole / 2), now + timedelta(milliseconds=length))
        self._working.append(work)
        return work

    def _set_limits(self) -> None:
        self._limits = {
            name: limit_for(entry.kind, entry.tokens_per_minute, entry.requests_per_minute)
            for name, entry in self.settings.deployments.items()
        }

    def reset(self) -> None:
        """Forget everything but the settings."""
        self.faults.clear()
        self._working.clear()
        self._invoice.clear()
        self.requests.clear()
        self.responses.kept.clear()
        self._prefixes.clear()
        self._set_limits()

    def admit(self, call: Call, prompt: Priced, max_tokens: int | None) -> Usage:
        """Count a prompt against the limits and return its usage. Raises AzureError, 429, where it does not fit."""
        tokens = prompt_tokens(prompt, call.tokenizer)
        limit = self._limits[call.deployment_name]
        refusal = limit.admit(tokens + (max_tokens or 0), self.clock.monotonic())
        if refusal is not None:
            headers = {name.decode(): value.decode() for name, value in self.headers(call)}
            seconds = -(-refusal.retry_after_ms // 1000)
            raise errors.too_many_requests(
                f"Requests to the {_OPERATION_NAMES[call.operation]} Operation under Azure OpenAI API version "
                f"{call.api_version or V1_API} have exceeded {refusal.resource} rate limit of your "
                f"current OpenAI S0 pricing tier. Please retry after {seconds} seconds. Please go here: "
                "https://aka.ms/oai/quotaincrease if you would like to further increase the default rate limit.",
                refusal.retry_after_ms,
                headers,
            )
        cached = self._prefixes.look_up(prompt, call.tokenizer) if tokens >= CACHE_FROM else 0
        return Usage(prompt=tokens, cached=cached)

    def settle(self, call: Call, max_tokens: int | None, completion: int) -> None:
        """Tell the limits what the completion cost for which `max_tokens` was counted at admission."""
        self._limits[call.deployment_name].settle(max_tokens or 0, completion, self.clock.monotonic())

    def headers(self, call: Call) -> Headers:
        """Return what Azure puts on every answer of a deployment, limits included."""
        request_id = call.request_id.encode()
        return [
            (b"apim-request-id", request_id),
            (b"x-request-id", request_id),
            (b"x-ms-client-request-id", request_id),
            (b"x-ms-region", self.settings.region.encode()),
            (b"x-ms-deployment-name", call.deployment_name.encode()),
            (b"azureml-model-session", b"simulated-20250101000000"),
            (b"cache-control", b"no-cache, must-revalidate"),
            (b"strict-transport-security", b"max-age=31536000; includeSubDomains; preload"),
            (b"x-content-type-options", b"nosniff"),
            *self._limits[call.deployment_name].headers(self.clock.monotonic()),
        ]

    def bill(self, call: Call, outcome: Outcome, usage: Usage, *, stream: bool) -> None:
        self._bill(call, outcome, usage, self.clock.now(), stream=stream)

    def _bill(self, call: Call, outcome: Outcome, usage: Usage, time: datetime, *, stream: bool) -> None:
        self._invoice.bill(
            Line(
                request_id=call.request_id,
                time=time,
                deployment=call.deployment_name,
                model=call.model,
                operation=call.operation,
                stream=stream,
                outcome=outcome,
                prompt_tokens=usage.prompt,
                cached_tokens=usage.cached,
                completion_tokens=usage.completion,
                reasoning_tokens=usage.reasoning,
            )
        )
