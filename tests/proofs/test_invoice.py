"""The promise of the bill: what the backends invoiced is what the statements say, to the token.

The whole product runs as a process of its own, as `make run` starts it; the backends and their invoices are here.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from gateway.metering.tokens import VOCABULARIES
from local.simulator.faults import (
    AnyFault,
    Cut,
    Garbage,
    Header,
    NotJson,
    Refuse,
    Reset,
    Stall,
    Status,
    UsageMissing,
    UsageZero,
)
from local.simulator.server import Simulator, serve_all
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizers
from tests.gateway.catalogs import MODELS, UPSTREAM_KEY, catalog_of
from tests.proofs.tollgate import KEYS, charged, collected, findings, invoiced, running_tollgate, statements

ROUNDS = 12
TEXTS = [
    "The printer on floor three is on fire. Please send somebody before the smoke reaches the server room.",
    "VPN drops every day at noon; reconnecting takes ten minutes. Üm­läuts and 日本語 do not matter.",
    "Say hello.",
]

type Use = Callable[[AsyncOpenAI, str, dict[str, str]], Awaitable[None]]


def chat_body(text: str) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}


async def json_chat(client: AsyncOpenAI, text: str, headers: dict[str, str]) -> None:
    await client.chat.completions.create(**chat_body(text), extra_headers=headers)


async def streamed_chat(client: AsyncOpenAI, text: str, headers: dict[str, str]) -> None:
    stream = await client.chat.completions.create(**chat_body(text), stream=True, extra_headers=headers)
    async for _ in stream:
        pass


async def reasoning(client: AsyncOpenAI, text: str, headers: dict[str, str]) -> None:
    body = chat_body(text) | {"model": "gpt-5-mini"}
    await client.chat.completions.create(**body, extra_headers=headers)


async def embedding(client: AsyncOpenAI, text: str, headers: dict[str, str]) -> None:
    await client.embeddings.create(model="embed", input=[text, text], extra_headers=headers)


async def response(client: AsyncOpenAI, text: str, headers: dict[str, str]) -> None:
    stream = await client.responses.create(model="gpt-4o", input=text, stream=True, extra_headers=headers)
    async for _ in stream:
        pass


async def abandoned(client: AsyncOpenAI, text: str, headers: dict[str, str]) -> None:
    """Read a few chunks of a stream whose backend then falls silent, and leave."""
    stream = await client.chat.completions.create(**chat_body(text), stream=True, extra_headers=headers)
    parts = aiter(stream)
    for _ in range(4):
        await anext(parts)
    await stream.close()


def scenarios() -> list[tuple[Use, AnyFault | None]]:
    """Return what each caller does, and what happens to it at the first backend; each fault hits its request alone."""
    uses: list[Use] = [json_chat, streamed_chat, reasoning, embedding, response]
    plain: list[tuple[Use, AnyFault | None]] = [(use, None) for use in uses]
    moved: list[AnyFault] = [
        Status(status=429, headers={"retry-after-ms": "90"}),
        Status(status=500),
        Status(status=503),
        Reset(),
        Garbage(),
        NotJson(),
    ]
    faulty: list[tuple[Use, AnyFault | None]] = [(use, fault) for use in (json_chat, streamed_chat) for fault in moved]
    broken: list[AnyFault] = [Cut(after_chunks=chunks) for chunks in (0, 1, 2, 3, 7)]
    faulty += [(streamed_chat, fault) for fault in broken]
    faulty += [(use, fault) for use in (json_chat, streamed_chat) for fault in (UsageMissing(), UsageZero())]
    faulty += [(response, Cut(after_chunks=6)), (abandoned, Stall(after_chunks=4))]
    return plain + faulty


async def use_everything(url: str, simulators: dict[str, Simulator]) -> int:
    """Let two subscriptions run every scenario in a mixed order, several at a time; return the number of calls."""
    clients = {
        "team-a": AsyncAzureOpenAI(azure_endpoint=url, api_key=KEYS["team-a"], api_version="2024-10-21", max_retries=0),
        "team-b": AsyncOpenAI(base_url=f"{url}/openai/v1/", api_key=KEYS["team-b"], max_retries=0),
    }
    calls = scenarios() * ROUNDS
    random.Random(4).shuffle(calls)
    at_once = asyncio.Semaphore(8)

    async def call(number: int, use: Use, fault: AnyFault | None) -> None:
        async with at_once:
            if number == len(calls) // 2:
                await simulators["first"].inject(Refuse(seconds=0.5))
            if fault is not None:
                await strike(simulators, fault, f"call-{number}")
            headers = {"x-ms-client-request-id": f"call-{number}"}
            try:
                await use(clients["team-a" if number % 3 else "team-b"], f"{TEXTS[number % 3]} {number}", headers)
            except openai.APIError:
                # A broken stream is an error for its caller; nothing else may be.
                if not isinstance(fault, Cut):
                    raise

    await asyncio.gather(*(call(number, *scenario) for number, scenario in enumerate(calls)))
    for client in clients.values():
        await client.close()
    return len(calls)


async def strike(simulators: dict[str, Simulator], fault: AnyFault, call: str) -> None:
    """Let a fault hit this call alone: at the first backend, or where it must hit wherever the call goes, at each."""
    fields = {name: getattr(fault, name) for name in fault.__struct_fields__}
    aimed = type(fault)(**fields | {"times": 1, "header": Header(name="x-ms-client-request-id", value=call)})
    for simulator in simulators.values() if isinstance(fault, Stall) else [simulators["first"]]:
        await simulator.inject(aimed)


def list_price(totals: dict[str, Counter[str]]) -> Decimal:
    """Price tokens by the published dollars per million, written down here and not looked up."""
    rates = {"gpt-4o": ("2.5", "10"), "gpt-5-mini": ("0.25", "2"), "text-embedding-3-small": ("0.02", "0")}
    million = Decimal(1_000_000)
    return sum(
        (
            (sums["prompt_tokens"] * Decimal(rates[model][0]) + sums["completion_tokens"] * Decimal(rates[model][1]))
            / million
            for model, sums in totals.items()
        ),
        Decimal(0),
    )


@pytest.mark.timeout(180)
async def test_the_statements_equal_the_invoices(tmp_path: Path) -> None:
    """Over a mixed run with failovers, a dead backend, cuts and departures, each billed token is charged once."""
    settings = [BackendSettings(name=name, api_key=UPSTREAM_KEY, deployments=MODELS) for name in ("first", "second")]
    async with serve_all(settings, tokenizers=await asyncio.to_thread(Tokenizers, VOCABULARIES)) as simulators:
        catalog = catalog_of(simulators)
        del catalog["subscriptions"]["team-b"]["deployments"]
        async with running_tollgate(catalog, tmp_path) as tollgate:
            calls = await use_everything(tollgate.url, simulators)
            found = await statements(tollgate.url, calls)
            await collected(tollgate.url)
        assert await findings(tmp_path) == []
        assert charged(found) == invoiced(simulators)
    assert sum(statement["requests"] for statement in found) == calls
    assert sum(Decimal(statement["total"]) for statement in found) == list_price(charged(found))
    assert not any(statement["unpriced"] for statement in found)
    assert min(statement["tokens"]["prompt_tokens"] for statement in found) > 0
    estimated = sum(line["estimated_requests"] for statement in found for line in statement["lines"])
    assert 0 < estimated < calls // 3
