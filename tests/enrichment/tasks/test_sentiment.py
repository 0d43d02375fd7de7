"""How the caller feels."""

from typing import Any

import httpx2
import pytest

from tests.enrichment.fake_gateway import FakeGateway
from tests.enrichment.printer import TICKET, enriched


def mood(**fields: Any) -> dict[str, Any]:
    return {
        "evidence": "Still burning!", "reason": "The caller is upset.", "value": "negative", "trend": "worsening",
        "confidence": 0.9,
    } | fields  # fmt: skip


async def test_sentiment(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Value, trend, reason and the caller's own words."""
    gateway.answers = {"sentiment": mood()}
    told = await enriched(caller, tasks=["sentiment"])
    assert told["sentiment"] == mood(band="High")


async def test_words_that_nobody_said_are_dropped(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Invented evidence goes, and takes trust with it."""
    gateway.answers = {"sentiment": mood(evidence="I will sue you")}
    told = await enriched(caller, tasks=["sentiment"])
    assert (told["sentiment"]["evidence"], told["sentiment"]["band"]) == ("", "Medium")
    assert told["tasks"][0]["warnings"][0]["code"] == "evidence_not_found"


@pytest.mark.parametrize("words", ["", "It says PC-LOAD."])
async def test_calm_needs_no_proof(gateway: FakeGateway, caller: httpx2.AsyncClient, words: str) -> None:
    """A neutral ticket may have no words that show it."""
    gateway.answers = {"sentiment": mood(value="neutral", evidence=words)}
    told = await enriched(caller, tasks=["sentiment"])
    assert (told["sentiment"]["band"], "warnings" in told["tasks"][0]) == ("High", False)


async def test_a_trend_has_two_ends(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Where the caller spoke once, no trend can be told, whatever the model says."""
    gateway.answers = {"sentiment": mood(evidence="")}
    told = await enriched(caller, tasks=["sentiment"], ticket=TICKET | {"comments": ""})
    assert told["sentiment"]["trend"] == "unknown"
