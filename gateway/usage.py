"""What the gateway tells the ledger, schema version 1: usage events, and the intents that come before them.

A usage event is one immutable record per answered request. It carries what the bill needs and nothing that was said:
no prompt, no completion, no key. An intent says that a call has been sent to a backend; it ends with the usage event of
the same id, or with a withdrawal where no backend gave an answer. All records of a call have one partition key, so that
the ledger reads them in this order. The gateway encodes, the ledger decodes, and both do so with msgspec, which checks
types and ranges while it parses.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=10**12)]

MOST_METERED: Final = 10**9
Metered = Annotated[int, msgspec.Meta(ge=0, le=MOST_METERED)]
"""Tokens, pictures, characters or milliseconds: more than any single request can use is a fault, not a bill."""

Name = Annotated[str, msgspec.Meta(max_length=256)]

SubscriptionName = Annotated[str, msgspec.Meta(max_length=100)]
"""The gateway always names one; whatever else writes to the hub and does not is still billed, see chargeback."""

DeploymentType = Literal["global", "datazone", "regional", "ptu"]
Outcome = Literal["completed", "client_closed", "upstream_error", "cached"]


class Meters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a request consumed.

    Cached, cache write, audio and image prompt tokens are subsets of `prompt_tokens`, which may overlap; reasoning and
    audio completion tokens are subsets of `completion_tokens`.
    """

    prompt_tokens: Metered = 0
    cached_tokens: Metered = 0
    cache_write_tokens: Metered = 0
    completion_tokens: Metered = 0
    reasoning_tokens: Metered = 0
    audio_prompt_tokens: Metered = 0
    audio_completion_tokens: Metered = 0
    image_prompt_tokens: Metered = 0
    images: Metered = 0
    characters: Metered = 0
    audio_milliseconds: Metered = 0


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request's usage. `time` is when the answer ended, aware, in UTC; durations are milliseconds.

    `outcome` is `completed` also for errors that a backend answered: `status` tells. `estimated` says that the counts
    are ours, because the backend's did not arrive. `parent` links an attempt that was billed although another backend
    gave the answer to the request that it belonged to.
    """

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    subscription: SubscriptionName
    operation: Name
    deployment: Name
    model: Name
    model_version: Name = ""
    backend: Name
    deployment_type: DeploymentType
    status: Annotated[int, msgspec.Meta(ge=100, le=599)]
    outcome: Outcome
    meters: Meters = Meters()
    version: Literal[1] = 1
    cost_centre: Name = ""
    product: Name = ""
    region: Name = ""
    service_tier: Name = ""
    context_tier: Name = ""
    streamed: bool = False
    estimated: bool = False
    replayed: bool = False
    attempts: Count = 1
    avoided: Meters = Meters()
    latency_ms: Count = 0
    first_token_ms: Count = 0
    parent: Name = ""
    labels: dict[str, str] = {}


class Intent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="intent"):
    """A call as its first attempt goes out: what is billed, as an estimate, where its usage event never comes.

    `id` is the usage event's. `time` is when the call began, aware, in UTC. `backend`, `deployment_type` and `region`
    are the first attempt's, `model` the deployment's, `prompt_tokens` an estimate.
    """

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    subscription: SubscriptionName
    operation: Name
    deployment: Name
    model: Name
    backend: Name
    deployment_type: DeploymentType
    version: Literal[1] = 1
    cost_centre: Name = ""
    region: Name = ""
    streamed: bool = False
    prompt_tokens: Metered = 0


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="withdrawal"):
    """The end of a call that no backend answered: nothing is billed, and its intent is void."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    subscription: SubscriptionName
    version: Literal[1] = 1


type Record = UsageEvent | Intent | Withdrawal

encode: Final = msgspec.json.Encoder().encode
"""Record -> JSON bytes. An intent's and a withdrawal's begin with `{"kind":`; a usage event has no such field."""

_KIND: Final = b'{"kind":'

decode_event: Final = msgspec.json.Decoder(UsageEvent).decode
"""JSON bytes -> UsageEvent. Raises as `decode`."""

_decode_announcement: Final = msgspec.json.Decoder(Intent | Withdrawal).decode


def decode(body: bytes) -> Record:
    """Return the record. Raises msgspec.DecodeError (ValidationError included) with the path of what is wrong."""
    return _decode_announcement(body) if body.startswith(_KIND) else decode_event(body)


def replayed(body: bytes) -> bytes:
    """Return a usage event's JSON marked as replayed: it may have been published before. All else stays as it is."""
    try:
        event = decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The ledger keeps it as a dead letter, where somebody sees it.
        return body
    return encode(msgspec.structs.replace(event, replayed=True)) if isinstance(event, UsageEvent) else body
