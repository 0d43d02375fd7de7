"""Every name under which telemetry leaves the app: attributes, metrics, the logger of calls, and their values.

`gen_ai.*` as published in open-telemetry/semantic-conventions-genai, status Development: the names change between its
versions, and they change here alone. The metrics are those of its gen-ai-metrics.md; a later page of it, not released,
puts `gen_ai.client.inference.*` in their place. Names that begin with `tollgate` are the gateway's own.
"""

from typing import Final

from gateway.requests import operations

SCOPE: Final = "tollgate"
"""Instrumentation scope, and the prefix of our own names."""

CALLS_LOGGER: Final = "tollgate.calls"
"""Logger of one JSON line per call."""

PROVIDER: Final = "gen_ai.provider.name"
AZURE_OPENAI: Final = "azure.ai.openai"
OPERATION: Final = "gen_ai.operation.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - the name of an attribute, no secret
INPUT: Final = "input"
OUTPUT: Final = "output"
ERROR_TYPE: Final = "error.type"
STATUS: Final = "http.response.status_code"

REQUEST_ID: Final = "tollgate.request.id"
SUBSCRIPTION: Final = "tollgate.subscription"
DEPLOYMENT: Final = "tollgate.deployment"
BACKEND: Final = "tollgate.backend"
ATTEMPTS: Final = "tollgate.attempts"
ATTEMPT: Final = "tollgate.attempt"
RESULT: Final = "tollgate.attempt.result"
OUTCOME: Final = "tollgate.outcome"
ESTIMATED: Final = "tollgate.estimated"
CODE: Final = "tollgate.error.code"
BREAKER: Final = "tollgate.breaker"

ATTEMPT_FAILED: Final = "tollgate.attempt.failed"
"""A span's event."""

OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
OPERATION_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105 - the name of a metric, no secret
ATTEMPT_COUNT: Final = "tollgate.attempts"
COOLDOWN_COUNT: Final = "tollgate.cooldowns"
BREAKER_CHANGES: Final = "tollgate.breaker.changes"
BREAKER_STATE: Final = "tollgate.breaker.state"
REFUSALS: Final = "tollgate.refusals"
EVENT_LAG: Final = "tollgate.usage_event.lag"
EVENTS_OUTBOXED: Final = "tollgate.usage_events.outboxed"
RECORDS_REPLAYED: Final = "tollgate.usage_records.replayed"
EVENTS_LOST: Final = "tollgate.usage_events.lost"
INTENTS_DROPPED: Final = "tollgate.intents.dropped"

DURATION_BOUNDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Seconds; the buckets that the conventions ask for."""

TOKEN_BOUNDS: Final = tuple(4**power for power in range(14))
"""Tokens; 1 to 67,108,864, likewise."""

BREAKER_STATES: Final = {"closed": 0, "half-open": 1, "open": 2}

REFUSED: Final = "refused"
"""Outcome of a call that no backend answered."""

OTHER: Final = "other"
"""Stands for what would make too many series."""

_OPERATIONS: Final = {
    operations.CHAT: "chat",
    operations.COMPLETIONS: "text_completion",
    operations.EMBEDDINGS: "embeddings",
    operations.RESPONSES: "chat",
}

_OWN_OPERATIONS: Final = frozenset(
    {"images/generations", "images/edits", "audio/transcriptions", "audio/translations", "audio/speech"}
)


def operation_name(operation: str) -> str:
    """Return `gen_ai.operation.name`: a well-known value, a few of ours, or OTHER; callers choose their paths."""
    return _OPERATIONS.get(operation) or (operation if operation in _OWN_OPERATIONS else OTHER)
