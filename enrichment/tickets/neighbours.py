"""Similar tickets: the nearest of a history that came with the request.

By embeddings through the gateway where the operator names a deployment for them, else by the words that tickets share.
"""

import logging
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import openai

from enrichment.calls.calls import Asker, answered
from enrichment.errors import EnrichmentError, GatewayFailed, from_sdk
from enrichment.tickets.ticket import Ticket
from enrichment.tickets.words import WordVectors

NEAREST: Final = 5
LEAST: Final = {"embeddings": 0.3, "words": 0.12}
"""Below it tickets have nothing to do with each other; embeddings of any two texts are somewhat alike."""
_CHARACTERS: Final = 2_000
"""Of a ticket's title and description that are compared."""

type Method = Literal["embeddings", "words"]

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Neighbour:
    ticket: Ticket
    score: float


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest tickets, the most similar first.

    `fell_back`: embeddings were wanted and not to be had. `late`: they were not there in time.
    """

    method: Method = "words"
    nearest: tuple[Neighbour, ...] = ()
    fell_back: bool = False
    late: bool = False


async def neighbours(ticket: Ticket, history: Sequence[Ticket], asker: Asker, deployment: str) -> Neighbours:
    """Return the tickets of the history that are most like this one; the ticket itself is left out."""
    others = [other for other in history if not _is_itself(ticket, other)]
    if not others:
        return Neighbours()
    texts = [_text(each) for each in (ticket, *others)]
    if deployment:
        try:
            return _nearest("embeddings", others, _cosines(await _embedded(texts, asker, deployment)))
        except EnrichmentError as error:
            _log.warning("tickets are compared by their words, since embeddings failed: %s", error.code)
    found = _nearest("words", others, WordVectors(texts).similarities(0))
    return Neighbours(found.method, found.nearest, fell_back=bool(deployment))


def _nearest(method: Method, others: Sequence[Ticket], scores: Sequence[float]) -> Neighbours:
    ranked = sorted(zip(others, scores, strict=True), key=lambda pair: pair[1], reverse=True)
    near = [(other, score) for other, score in ranked[:NEAREST] if score >= LEAST[method]]
    return Neighbours(method, tuple(Neighbour(other, round(score, 3)) for other, score in near))


async def _embedded(texts: Sequence[str], asker: Asker, deployment: str) -> list[array[float]]:
    # Each by itself: a model that is talked into writing a mark must not get what another ticket hid behind it.
    hidden = [asker.way.hiding.apart().hide(text) for text in texts]
    try:
        async with asker.way.slots:
            raw = await asker.way.models.embeddings.with_raw_response.create(
                model=deployment, input=hidden, extra_headers={"x-workload-id": "ticket:similar"}
            )
            made = raw.parse()
    except openai.APIError as error:
        raise from_sdk(error) from error
    except (ValueError, TypeError) as garbage:
        # The SDK unpacks vectors itself, and raises what it meets there.
        raise GatewayFailed("The embeddings are malformed.") from garbage
    asker.record(answered(raw.headers, deployment, made.model, made.usage))
    if len(made.data) != len(texts) or len({len(each.embedding) for each in made.data}) != 1:
        raise GatewayFailed("The embeddings are not one for each text.")
    return [array("f", each.embedding) for each in sorted(made.data, key=lambda each: each.index)]


def _cosines(vectors: Sequence[array[float]]) -> list[float]:
    """Return how like the first vector each of the others is."""
    first, *others = vectors
    norm = math.hypot(*first)
    return [
        math.sumprod(first, other) / (norm * length) if norm and (length := math.hypot(*other)) else 0.0
        for other in others
    ]


def _text(ticket: Ticket) -> str:
    return f"{ticket.short_description}\n{ticket.description}"[:_CHARACTERS] or "-"


def _is_itself(ticket: Ticket, other: Ticket) -> bool:
    return bool((ticket.sys_id and ticket.sys_id == other.sys_id) or (ticket.number and ticket.number == other.number))
