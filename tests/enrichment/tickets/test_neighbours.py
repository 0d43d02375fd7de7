"""Similar tickets by embeddings and by words."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from enrichment.calls.calls import Asker, Way
from enrichment.privacy.placeholders import Placeholders
from enrichment.tickets.neighbours import Neighbours, neighbours
from enrichment.tickets.ticket import Ticket
from enrichment.tickets.words import WordVectors
from hosting.services.models import Models
from tests.enrichment.fake_gateway import FakeGateway, says

PRINTER = Ticket(number="INC1", short_description="The printer is on fire")
HISTORY = [
    Ticket(number="INC2", short_description="VPN drops"),
    Ticket(number="INC3", short_description="Printing sets the paper on fire"),
    PRINTER,
]


@pytest.fixture
async def asker(gateway: FakeGateway) -> AsyncIterator[Asker]:
    async with Models(gateway=gateway).for_caller("one") as models:
        yield Asker(Way(models, "m", asyncio.Semaphore(1), lambda: "m4rk", Placeholders()))


def vectors(*given: list[float]) -> dict[str, Any]:
    return {
        "object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 9, "total_tokens": 9},
        "data": [{"object": "embedding", "index": place, "embedding": each} for place, each in enumerate(given)],
    }  # fmt: skip


def numbers(found: Neighbours) -> list[str]:
    return [near.ticket.number for near in found.nearest]


async def test_by_embeddings(gateway: FakeGateway, asker: Asker) -> None:
    """The nearest vectors win, in one call that is recorded; the ticket itself is no neighbour of its own."""
    gateway.answers = {"embeddings": says(vectors([1, 0], [0.5, 0.5], [0.9, 0.1]))}
    found = await neighbours(PRINTER, HISTORY, asker, "embed")
    assert (found.method, numbers(found)) == ("embeddings", ["INC3", "INC2"])
    assert found.nearest[0].score == pytest.approx(0.994, abs=0.001)
    assert asker.calls[0].prompt_tokens == 9
    assert len(gateway.requests[0][1]["input"]) == 3


async def test_what_other_tickets_hide_stays_theirs(gateway: FakeGateway, asker: Asker) -> None:
    """Each text is hidden by itself, and no mark of it means anything where the ticket's own answers are read."""
    gateway.answers = {"embeddings": says(vectors([1, 0], [0, 1], [0, 1]))}
    history = [Ticket(number=f"INC{number}", description=f"Mail to {number}@example.com") for number in (2, 3)]
    await neighbours(PRINTER, history, asker, "embed")
    assert gateway.requests[0][1]["input"][1:] == ["\nMail to [EMAIL-1]"] * 2
    assert asker.way.hiding.restore("[EMAIL-1] [EMAIL-2]") == "[EMAIL-1] [EMAIL-2]"


@pytest.mark.parametrize(
    "answer",
    [
        vectors([1, 0], [0, 1]),
        vectors([1, 0], [0, 1], [1, 0, 0]),
        vectors([1, 0], [0, 1], []),
        {"data": None},
        {"error": {"message": "no"}},
    ],
)
async def test_embeddings_that_are_not_to_be_had(gateway: FakeGateway, asker: Asker, answer: dict[str, Any]) -> None:
    """Refused, missing or malformed vectors are no failure: words are compared, and the result says so."""
    gateway.answers = {"embeddings": says(answer, 429 if "error" in answer else 200)}
    found = await neighbours(PRINTER, HISTORY, asker, "embed")
    assert (found.method, found.fell_back, numbers(found)) == ("words", True, ["INC3"])


async def test_texts_are_hidden_before_they_are_compared(gateway: FakeGateway, asker: Asker) -> None:
    """An address in a ticket of the history goes to no model."""
    gateway.answers = {"embeddings": says(vectors([1, 0], [1, 0]))}
    await neighbours(PRINTER, [Ticket(description="mail joe@example.com")], asker, "embed")
    assert "joe@" not in str(gateway.requests)


async def test_nothing_to_compare_with(asker: Asker) -> None:
    """Without another ticket nothing is asked."""
    assert await neighbours(PRINTER, [PRINTER], asker, "embed") == Neighbours()


def test_words_count_by_their_rarity() -> None:
    """A shared rare word says more than shared common ones; endings do not matter; unlike texts share nothing."""
    texts = ["printer prints the page", "the the printing", "the page is long", "ganz etwas anderes"]
    printing, page, unlike = WordVectors(texts).similarities(0)
    assert printing > page > unlike == 0
    assert WordVectors(["", "x"]).similarities(0) == [0]
