import socket

import openai
import pytest
from openai import AsyncOpenAI

from local.simulator.faults import Refuse, Stall
from local.simulator.listener import HOST
from local.simulator.server import Simulator, random_id, serve
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizers


async def test_closing_ends_open_streams_and_frees_the_port(settings: BackendSettings, tokenizers: Tokenizers) -> None:
    """A stalled stream does not hold up the end; it is billed, and nothing listens any more."""
    async with serve(settings, tokenizers=tokenizers) as simulator:
        await simulator.inject(Stall(after_chunks=3))
        client = AsyncOpenAI(base_url=f"{simulator.url}/openai/v1/", api_key=settings.api_key, max_retries=0)
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        await anext(stream)
    assert [line.outcome for line in simulator.invoice.lines] == ["client_left"]
    with socket.socket() as sock:
        assert sock.connect_ex((HOST, simulator.port)) != 0
    await stream.close()
    await client.close()


async def test_it_closes_while_it_refuses(settings: BackendSettings, tokenizers: Tokenizers) -> None:
    """A refusal that is still to end leaves nothing behind, asked for once or twice."""
    async with serve(settings, tokenizers=tokenizers) as simulator:
        await simulator.inject(Refuse(seconds=60))
        await simulator.inject(Refuse(seconds=60))
        assert simulator.faults() == [Refuse(seconds=60)]


async def test_a_port_that_is_taken_stops_the_start(simulator: Simulator, tokenizers: Tokenizers) -> None:
    """The second backend on a port fails at once."""
    taken = BackendSettings(name="other", api_key="key", deployments={}, port=simulator.port)
    with pytest.raises(OSError, match="in use"):
        async with serve(taken, tokenizers=tokenizers):
            pass


async def test_reset_forgets_everything_but_the_settings(simulator: Simulator, v1: AsyncOpenAI) -> None:
    """Faults, lines, requests, limits and stored responses are gone; the port answers."""
    made = await v1.responses.create(model="small", input="Hi", max_output_tokens=80)
    with pytest.raises(openai.RateLimitError):
        await v1.responses.create(model="small", input="Hi", max_output_tokens=80)
    await simulator.inject(Refuse())
    await simulator.reset()
    assert not simulator.invoice.lines
    assert not simulator.requests
    with pytest.raises(openai.NotFoundError):
        await v1.responses.retrieve(made.id)
    await v1.responses.create(model="small", input="Hi", max_output_tokens=80)


def test_request_ids_are_uuids() -> None:
    """They look like Azure's, and differ."""
    first, second = random_id(), random_id()
    assert [len(part) for part in first.split("-")] == [8, 4, 4, 4, 12]
    assert first != second
