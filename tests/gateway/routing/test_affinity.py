"""Stored responses: they are continued, shown and deleted where they live, and by who made them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from gateway.requests.operations import RESPONSES
from gateway.routing.affinity import Affinity, forget
from gateway.routing.resources import made_in, resources_in
from local.simulator.faults import Status
from local.tables import SQLiteTables
from tests.clocks import HandClock
from tests.gateway.catalogs import key_hash

THROTTLED = Status(status=429, headers={"retry-after-ms": "60000"}, times=1)
SUBSCRIPTIONS = {name: {"key_hashes": [key_hash(f"sk-{name}")]} for name in ("team-a", "team-b")}


@pytest.fixture
async def tables(tmp_path: Path) -> Any:
    opened = SQLiteTables(tmp_path / "tables.sqlite")
    yield opened
    await opened.close()


async def at_second(gateway: Any, client: AsyncOpenAI, **options: Any) -> Any:
    """Create a response at the second backend, by throttling the first for a moment."""
    await gateway.simulators["first"].inject(THROTTLED)
    return await client.responses.create(model="gpt-4o", input="Hello there", **options)


def clients(gateway: Any) -> list[AsyncOpenAI]:
    return [gateway.azure(), gateway.openai(), gateway.openai(path="/v1/")]


async def test_a_conversation_stays_where_it_began(gateway_with: Any, tables: Any) -> None:
    """A response that continues another goes to the backend that made it, though a better tier is free."""
    async with gateway_with(tables=tables) as gateway:
        for client in clients(gateway):
            began = await at_second(gateway, client)
            raw = await client.responses.with_raw_response.create(
                model="gpt-4o", input="Go on", previous_response_id=began.id
            )
            assert raw.headers["x-gateway-backend"] == "second"
            stream = await client.responses.create(
                model="gpt-4o", input="And on", previous_response_id=raw.parse().id, stream=True
            )
            last: Any = [event async for event in stream][-1]
            third = await client.responses.with_raw_response.create(
                model="gpt-4o", input="And on", previous_response_id=last.response.id
            )
            assert third.headers["x-gateway-backend"] == "second"
            await gateway.simulators["first"].reset()


async def test_stored_responses_are_shown_and_deleted(gateway_with: Any, tables: Any) -> None:
    """GET and DELETE reach the backend that keeps the response, and cost no tokens."""
    async with gateway_with(tables=tables) as gateway:
        client = gateway.openai()
        began = await at_second(gateway, client)
        assert (await client.responses.retrieve(began.id)).output_text == began.output_text
        await client.responses.delete(began.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(began.id)
        events = await gateway.settled(4)
        assert [event.meters.prompt_tokens > 0 for event in events] == [True, False, False, False]
        assert {event.backend for event in events} == {"second"}


async def test_all_that_is_asked_of_stored_responses(gateway_with: Any, tables: Any) -> None:
    """Input items, the state of work in the background and its end are asked of the backend that keeps it."""
    async with gateway_with(tables=tables) as gateway:
        for client in clients(gateway):
            began = await at_second(gateway, client, background=True)
            [item] = (await client.responses.input_items.list(began.id)).data
            assert item.to_dict()["content"] == [{"type": "input_text", "text": "Hello there"}]
            assert (await client.responses.retrieve(began.id)).status in {"queued", "in_progress"}
            assert (await client.responses.cancel(began.id)).status == "cancelled"
            await gateway.simulators["first"].reset()
        assert not gateway.simulators["second"].invoice.lines


async def test_another_instance_knows_from_the_table(gateway_with: Any, tables: Any) -> None:
    """An instance that did not make the response finds its backend in the table."""
    async with gateway_with(tables=tables) as one, gateway_with(tables=tables) as other:
        began = await at_second(one, one.openai())
        await one.settled(1)
        raw = await other.openai().responses.with_raw_response.retrieve(began.id)
        assert raw.headers["x-gateway-backend"] == "second"


async def test_a_response_is_its_makers_alone(gateway_with: Any, tables: Any) -> None:
    """Another subscription cannot see, delete or continue it: for it there is no such response."""
    async with gateway_with(tables=tables, subscriptions=SUBSCRIPTIONS) as gateway:
        began = await at_second(gateway, gateway.openai())
        stranger = gateway.openai(key="sk-team-b")
        for attempt in (
            stranger.responses.retrieve(began.id),
            stranger.responses.delete(began.id),
            stranger.responses.cancel(began.id),
            stranger.responses.input_items.list(began.id),
            stranger.responses.create(model="gpt-4o", input="Go on", previous_response_id=began.id),
        ):
            with pytest.raises(openai.NotFoundError) as raised:
                await attempt
            assert raised.value.code == "response_not_found"
        assert len(gateway.simulators["second"].requests) == 1


async def test_without_storage_this_instance_knows_alone(gateway: Any) -> None:
    """With the tables out of reach a response is still found by the instance that made it, and unknown ids are 404."""
    client = gateway.openai()
    began = await at_second(gateway, client)
    assert (await client.responses.retrieve(began.id)).id == began.id
    with pytest.raises(openai.NotFoundError, match="no response resp_unknown"):
        await client.responses.retrieve("resp_unknown")


def call_that_made(resource: str) -> Any:
    """Return as much of a call as affinity looks at."""
    return SimpleNamespace(
        id="call",
        target=SimpleNamespace(operation=RESPONSES),
        attempt=object(),
        reader=SimpleNamespace(resources=[resource]),
        subscription=SimpleNamespace(name="team-a"),
        deployment=SimpleNamespace(name="gpt-4o"),
        member=SimpleNamespace(backend=SimpleNamespace(name="second")),
        peek=SimpleNamespace(background=False),
    )


@pytest.mark.parametrize("made", range(0, 62, 9))
async def test_response_is_known_for_as_long_as_azure_keeps_it(made: int, tables: Any) -> None:
    """Whenever it was made, another instance finds it for 30 days, whatever is deleted meanwhile; later it goes."""
    clock = HandClock(datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=made))
    await Affinity(tables, clock).save(call_that_made("resp_1"))

    clock.pass_by(days=30)
    assert await forget(tables, clock) == 0
    home = await Affinity(tables, clock).home("resp_1")
    assert home is not None
    assert home.backend == "second"

    clock.pass_by(days=32)
    assert await forget(tables, clock) == 1
    assert await Affinity(tables, clock).home("resp_1") is None


def test_ids_in_bodies() -> None:
    """Reasoning items count where their encrypted content is there; a response's id is the first."""
    item = {"type": "reasoning", "id": "rs_1", "encrypted_content": "x"}
    assert resources_in(json.dumps({"input": [item, item]}).encode()) == ["rs_1"]
    assert resources_in(b'{"input": [{"type": "reasoning", "id": "rs_1"}]}') == []
    assert made_in(json.dumps({"id": "resp_1", "output": [item]}).encode()) == ["resp_1", "rs_1"]
