"""A call's memory, over real sockets."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from gateway.call import Call
from local.simulator.faults import Cut, Status
from tests.gateway.running import RunningGateway

HELLO: Any = [{"role": "user", "content": "The printer on floor three is on fire."}]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def until_there_are_none() -> None:
    async with asyncio.timeout(20):
        while any(isinstance(each, Call) for each in gc.get_objects()):
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("no_collector")
async def test_an_answered_call_is_freed_at_once(gateway: RunningGateway) -> None:
    """No cycle keeps a call that was answered, whole or as a stream, until the garbage collector comes."""
    completions = gateway.azure().chat.completions
    await completions.create(model="gpt-4o", messages=HELLO)
    async for _ in await completions.create(model="gpt-4o", messages=HELLO, stream=True):
        pass
    await gateway.settled(2)
    await until_there_are_none()


@pytest.mark.usefixtures("no_collector")
async def test_a_failed_call_is_freed_at_once(gateway: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    """Neither does the error of one that no backend answered, nor that of a stream that broke off."""
    # Records hold the errors that they name, and are kept in tests alone.
    caplog.set_level("ERROR", "gateway")
    completions = gateway.azure().chat.completions
    for simulator in gateway.simulators.values():
        await simulator.inject(Cut(after_chunks=2, times=1))
    with pytest.raises(openai.APIError):
        async for _ in await completions.create(model="gpt-4o", messages=HELLO, stream=True):
            pass
    for simulator in gateway.simulators.values():
        await simulator.inject(Status(status=500))
    with pytest.raises(openai.InternalServerError):
        await completions.create(model="gpt-4o", messages=HELLO)
    await until_there_are_none()
