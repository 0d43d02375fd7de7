"""The statement on the wire. Amounts are decimal strings in `currency`; tokens and requests are counts."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Amount = Annotated[str, Field(pattern=r"^\d+\.\d{10}$", description="A decimal number with ten places.")]
Counted = Annotated[int, Field(ge=0)]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True)


class Tokens(_Wire):
    """`cached_tokens` are part of `prompt_tokens`, `reasoning_tokens` part of `completion_tokens`."""

    prompt_tokens: Counted = 0
    cached_tokens: Counted = 0
    completion_tokens: Counted = 0
    reasoning_tokens: Counted = 0


class Requests(_Wire):
    """`estimated_requests` are those of `requests` whose counts are our estimates.

    `orphaned_requests` are those of them whose end nobody saw: their instance was killed, or their events are still on
    the way and will take their place. Only their prompts are counted.

    `further_attempts` are not among `requests`: attempts that broke after their backend had begun to answer, so that it
    bills them, too. Their counts are estimates.
    """

    requests: Counted = 0
    estimated_requests: Counted = 0
    orphaned_requests: Counted = 0
    further_attempts: Counted = 0


class Units(_Wire):
    """What some models are billed by in place of tokens."""

    images: Counted = 0
    characters: Counted = 0
    audio_milliseconds: Counted = 0


class Usage(Units, Tokens, Requests):
    """What was used."""


class AvoidedRequests(_Wire):
    """Requests that the cache answered; no price is known for what `unpriced_requests` of them saved."""

    requests: Counted = 0
    unpriced_requests: Counted = 0


class Avoided(Units, Tokens, AvoidedRequests):
    """What answers out of the cache saved: not used, in no other count but `requests`, and in no total.

    `amount` is what they would have cost in the backends that gave them first: nothing in provisioned capacity.
    """

    amount: Amount


class LineNames(_Wire):
    day: date
    deployment: str
    model: str


class StatementLine(Usage, LineNames):
    """A day's use of a model through a deployment.

    Neither of these adds to `amount`: `provisioned_requests`, served by provisioned capacity that is paid by the hour,
    and `unpriced_requests`, for which no price is known.
    """

    provisioned_requests: Counted = 0
    unpriced_requests: Counted = 0
    amount: Amount
    avoided: Avoided


class UnpricedNames(_Wire):
    deployment: str
    model: str
    model_version: str
    deployment_type: str
    service_tier: str


class UnpricedUsage(Usage, UnpricedNames):
    """A month's use that no known price covers: it is in the statement's counts and lines, and not in its total."""


class Statement(_Wire):
    """A subscription's month. `total` is the sum of the lines' amounts as they are shown, so is that in `avoided`."""

    subscription: str
    period: Annotated[str, Field(description="The month, yyyy-mm, in UTC.")]
    currency: str
    total: Amount
    requests: Counted
    tokens: Tokens
    avoided: Avoided
    lines: list[StatementLine]
    unpriced: list[UnpricedUsage]
