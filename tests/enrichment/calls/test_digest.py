"""Tickets that are too long to be sent as they are."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from starlette.types import Receive, Send

from enrichment.calls import digest
from enrichment.calls.calls import Asker, Way
from enrichment.calls.digest import FIRST_ENTRIES, LAST_ENTRIES, LONGEST, PIECES, Digests
from enrichment.privacy.placeholders import Placeholders
from enrichment.tickets.material import Part, parts_of
from enrichment.tickets.ticket import Ticket
from hosting.services.models import Models
from tests.enrichment.fake_gateway import FakeGateway, completion, says
from tests.enrichment.printer import SUMMARY, enriched, sentence


def journal(entries: int, characters: int = 500) -> list[dict[str, str]]:
    start = datetime(2023, 10, 2, 10, tzinfo=UTC)
    return [
        {"value": f"entry {number} {'x' * characters}", "sys_created_on": f"{start + timedelta(minutes=number):%F %T}"}
        for number in range(1, entries + 1)
    ]  # fmt: skip


def ticket(entries: int = 300, **fields: Any) -> dict[str, Any]:
    return {"short_description": "It never ends", "work_notes": journal(entries)} | fields


FACTS = {"facts": [sentence("Something was tried.", "work_notes-100", "work_notes-101")]}


async def test_the_middle_is_condensed(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Of 300 entries the first and last reach the task as they are, the rest as sentences that can be cited."""
    summary = SUMMARY | {"issue": [sentence("It never ends.", "work_notes-100")], "actions_taken": []}
    gateway.answers = {"digest": FACTS, "summary": summary}
    told = await enriched(caller, tasks=["summary"], ticket=ticket())
    material = gateway.asked_of("summary")[0]["messages"][1]["content"]
    assert len(material) < LONGEST
    for number in (1, FIRST_ENTRIES, 301 - LAST_ENTRIES, 300):
        assert f"^entry^{number}^x" in material
    assert f"^entry^{FIRST_ENTRIES + 1}^" not in material
    assert "[work_notes-100, work_notes-101]\n^Something^was^tried." in material
    assert material.index("work_notes-100") < material.index("[work_notes-300]")
    assert told["summary"]["citations"] == [{"sentence": "It never ends.", "entries": ["work_notes-100"]}]
    digested, summarised = told["tasks"]
    assert (digested["name"], digested["status"], summarised["name"]) == ("digest", "succeeded", "summary")
    assert digested["usage"]["total_tokens"] == 18 * len(gateway.asked_of("digest"))
    assert told["usage"]["total_tokens"] == 18 * len(gateway.requests)


async def test_it_is_condensed_once(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """The next request about the same ticket finds what was made; one about a longer ticket does not."""
    gateway.answers = {"digest": FACTS, "summary": SUMMARY}
    await enriched(caller, tasks=["summary"], ticket=ticket())
    asked = len(gateway.asked_of("digest"))
    told = await enriched(caller, tasks=["summary"], ticket=ticket())
    assert len(gateway.asked_of("digest")) == asked
    assert told["tasks"][0]["usage"]["total_tokens"] == 0
    await enriched(caller, tasks=["summary"], ticket=ticket(301))
    assert len(gateway.asked_of("digest")) > asked


async def test_long_descriptions_and_entries(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """The beginning of a long field stays, and its rest is condensed under the same name."""
    gateway.answers = {"digest": FACTS, "summary": SUMMARY}
    await enriched(caller, tasks=["summary"], ticket=ticket(1, description="begin " + "word " * 10_000 + "end"))
    material = gateway.asked_of("summary")[0]["messages"][1]["content"]
    pieces = [body["messages"][1]["content"] for body in gateway.asked_of("digest")]
    assert "^begin^word" in material
    assert "word^end" not in material
    assert any("[description]" in piece and "word^end" in piece for piece in pieces)


async def test_no_address_is_cut(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Wherever a long field has to be cut, what is personal is hidden whole."""
    gateway.answers = {"digest": FACTS, "summary": SUMMARY}
    await enriched(caller, tasks=["summary"], ticket=ticket(1, description="Ask jane.doe@example.com. " * 3_000))
    sent = json.dumps([body for _, body in gateway.requests])
    assert len(gateway.asked_of("digest")) > 1
    assert not any(part in sent for part in ("jane", "doe", "example"))


async def test_calls_are_bounded(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """A ticket of a megabyte costs no more calls than that, and the answer says what was left out."""
    gateway.answers = {"digest": FACTS, "summary": SUMMARY}
    told = await enriched(caller, tasks=["summary"], ticket=ticket(1_800))
    assert len(gateway.asked_of("digest")) == PIECES
    assert [flaw["code"] for flaw in told["tasks"][0]["warnings"]] == ["ticket_shortened"]


async def test_what_is_still_long_is_condensed_again(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Sentences that are too many become fewer in another round, and after the last round are cut."""
    many = {"facts": [sentence("fact " * 150, f"work_notes-{number}") for number in range(1, 300)]}
    gateway.answers = {"digest": many, "summary": SUMMARY}
    await enriched(caller, tasks=["summary"], ticket=ticket())
    material = gateway.asked_of("summary")[0]["messages"][1]["content"]
    assert 0 < material.count("fact") * len("fact ") <= digest.FACTS
    assert len(gateway.asked_of("digest")) > 12


@pytest.mark.parametrize("failing", ["one", "all"])
async def test_pieces_that_fail(gateway: FakeGateway, caller: httpx2.AsyncClient, failing: str) -> None:
    """One piece that fails is left out and told of; where all fail, tasks go on with the ends and the digest failed."""

    async def reply(receive: Receive, send: Send) -> None:
        fails = failing == "all" or "[work_notes-3]" in json.dumps(gateway.requests[-1][1])
        body = completion(None, refusal="no") if fails else completion(json.dumps(FACTS))
        await says(body)(receive, send)

    gateway.answers = {"digest": reply, "summary": SUMMARY}
    told = await enriched(caller, tasks=["summary"], ticket=ticket())
    digested, summarised = told["tasks"]
    assert summarised["status"] == "succeeded"
    assert digested["status"] == ("failed" if failing == "all" else "succeeded")
    if failing == "one":
        assert [flaw["code"] for flaw in digested["warnings"]] == ["ticket_shortened"]
    assert "^entry^300^x" in gateway.asked_of("summary")[0]["messages"][1]["content"]


async def test_a_task_without_a_model_needs_no_digest(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """Nothing is condensed for what nobody reads."""
    told = await enriched(caller, tasks=["similar"], ticket=ticket())
    assert [task["name"] for task in told["tasks"]] == ["similar"]
    assert not gateway.requests


async def test_digests_are_kept_by_subscription_and_not_for_ever(gateway: FakeGateway) -> None:
    """What one subscription paid for is not another's, and the latest alone are remembered."""
    gateway.answers = {"digest": FACTS}
    parts = parts_of(Ticket.model_validate(ticket()))
    others = parts_of(Ticket.model_validate(ticket(301)))
    digests = Digests(kept=2)

    async def calls(of: tuple[Part, ...], subscription: str) -> int:
        async with Models(gateway=gateway).for_caller(subscription) as models:
            asker = Asker(Way(models, "m", asyncio.Semaphore(8), lambda: "m4rk", Placeholders()))
            await digests.shortened(of, subscription, asker)
            return len(asker.calls)

    assert await calls(parts, "one") > 0
    assert await calls(parts, "one") == 0
    assert await calls(parts, "two") > 0
    assert await calls(others, "two") > 0
    assert await calls(parts, "two") == 0
    assert await calls(parts, "one") > 0
