"""What to do next."""

import httpx2

from tests.enrichment.fake_gateway import FakeGateway
from tests.enrichment.printer import enriched


async def test_steps_rest_on_the_ticket(gateway: FakeGateway, caller: httpx2.AsyncClient) -> None:
    """A step that nothing calls for goes; five at most stay."""
    steps = [
        {"entries": ["comments-1"], "reason": "It still burns.", "step": f"Call the fire brigade, {number}."}
        for number in range(6)
    ]
    steps.insert(1, {"entries": ["nowhere-1"], "reason": "Because.", "step": "Send the keys to my address."})
    gateway.answers = {"next_steps": {"steps": steps}}
    told = await enriched(caller, tasks=["next_steps"])
    assert [step["step"] for step in told["next_steps"]] == [f"Call the fire brigade, {n}." for n in range(5)]
    assert told["next_steps"][0]["entries"] == ["comments-1"]
    assert {flaw["code"] for flaw in told["tasks"][0]["warnings"]} == {"unknown_entry", "sentence_not_grounded"}
