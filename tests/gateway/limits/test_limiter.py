"""Limits through a running gateway, with the SDK and simulated backends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx2
import openai
import pytest

from chargeback.prices import Prices
from gateway.metering.tokens import TokenCounter
from hosting.services.charges import StatementPricing
from local.simulator.faults import Stall
from local.simulator.server import Simulator
from tests.gateway.catalogs import KEY, catalog_of, key_hash
from tests.gateway.running import RunningGateway, run_gateway
from tests.served import served

HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def limited(simulators: dict[str, Simulator], counter: TokenCounter) -> Any:
    """Return a function that runs a gateway whose one subscription has these limits."""

    @asynccontextmanager
    async def run(**fields: Any) -> AsyncIterator[RunningGateway]:
        subscription = {"key_hashes": [key_hash(KEY)], "cost_centre": "4711"} | fields
        catalog = catalog_of(simulators, subscriptions={"team-a": subscription})
        async with run_gateway(simulators, counter, catalog=catalog) as gateway:
            yield gateway

    return run


async def ask(gateway: RunningGateway, model: str = "gpt-4o", **parameters: Any) -> Any:
    """Return the SDK's raw response."""
    return await gateway.openai().chat.completions.with_raw_response.create(model=model, messages=HELLO, **parameters)


async def ask_often(gateway: RunningGateway, times: int, **parameters: Any) -> None:
    for _ in range(times):
        await ask(gateway, **parameters)


def cost_of(gateway: RunningGateway) -> Decimal:
    """Return what the statement charges for all events so far."""
    pricing = StatementPricing(Prices())
    amounts = [
        pricing.amount(
            event.model,
            event.time.date(),
            event.meters,
            model_version=event.model_version,
            deployment_type=event.deployment_type,
            service_tier=event.service_tier,
        )
        for event in gateway.events
    ]
    return sum((amount for amount in amounts if amount is not None), Decimal(0))


async def test_requests_per_minute(limited: Any) -> None:
    """The limit's requests pass and count down; the next raises RateLimitError and says when to come back."""
    async with limited(limits={"requests_per_minute": 3}) as gateway:
        answers = [await ask(gateway) for _ in range(3)]
        assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["2", "1", "0"]
        assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
        assert 55 <= int(answers[0].headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 60
        with pytest.raises(openai.RateLimitError) as refused:
            await ask(gateway)
        headers = refused.value.response.headers
        assert refused.value.code == "rate_limit_exceeded"
        assert 55_000 <= int(headers["retry-after-ms"]) <= 60_000
        assert 55 <= int(headers["retry-after"]) <= 60
        assert headers["x-ratelimit-remaining-requests"] == "0"
        assert headers["x-gateway-attempts"] == "0"
        assert headers["x-request-id"]
        assert "team-a is at its limit of 3 requests per minute" in refused.value.message
        assert len(await gateway.settled(3)) == 3


async def test_a_burst_at_the_limit(limited: Any) -> None:
    """Of many requests at once exactly the limit's number pass."""
    async with limited(limits={"requests_per_minute": 10}) as gateway:
        answers = await asyncio.gather(*(ask(gateway) for _ in range(25)), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, openai.RateLimitError)]
        assert len(refused) == 15
        assert len(await gateway.settled(10)) == 10


async def test_the_backends_own_limits_stay_there(limited: Any, gateway: RunningGateway) -> None:
    """A limited subscription sees its own limits only; one without limits sees the backend's."""
    async with limited(limits={"tokens_per_minute": 10_000}) as limited_gateway:
        headers = (await ask(limited_gateway, max_tokens=50)).headers
        names = {name for name in headers if name.startswith("x-ratelimit-")}
        assert names == {f"x-ratelimit-{what}-tokens" for what in ("limit", "remaining", "reset")}
        assert headers["x-ratelimit-limit-tokens"] == "10000"
        assert 9_850 <= int(headers["x-ratelimit-remaining-tokens"]) < 9_950
    async with limited(quota={"tokens": 10_000, "per": "day"}) as with_quota:
        assert not [name for name in (await ask(with_quota)).headers if name.startswith("x-ratelimit-")]


async def test_tokens_per_minute_are_reserved_and_given_back(limited: Any) -> None:
    """A bound on the answer is reserved whole and refunded down to what was used, so that the next request fits."""
    async with limited(limits={"tokens_per_minute": 1000}) as gateway:
        for _ in range(3):
            await ask(gateway, max_tokens=900)
        used = sum(event.meters.prompt_tokens + event.meters.completion_tokens for event in await gateway.settled(3))
        headers = (await ask(gateway, max_tokens=700)).headers
        assert int(headers["x-ratelimit-remaining-tokens"]) < 1000 - used - 700
        with pytest.raises(openai.RateLimitError, match="1000 tokens per minute; try again in"):
            await ask(gateway, max_tokens=990)


async def test_concurrent_bounds_share_the_minute(limited: Any) -> None:
    """Requests under way hold what they may come to: two bounds of 600 do not fit into 1000 tokens."""
    async with limited(limits={"tokens_per_minute": 1000}) as gateway:
        answers = await asyncio.gather(*(ask(gateway, max_tokens=600) for _ in range(4)), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Exception)]
        assert refused
        assert all(isinstance(answer, openai.RateLimitError) for answer in refused)


async def test_tokens_per_minute_without_a_bound(limited: Any) -> None:
    """Where the caller names no bound the average of past answers is reserved, never more than the limit itself."""
    async with limited(limits={"tokens_per_minute": 400}) as gateway:
        first = await ask(gateway)
        assert first.headers["x-ratelimit-remaining-tokens"] == "0"
        with pytest.raises(openai.RateLimitError, match="at its limit of 400 tokens per minute"):
            await ask_often(gateway, 20)
        used = sum(event.meters.prompt_tokens + event.meters.completion_tokens for event in gateway.events)
        assert used <= 400


async def test_a_bound_over_the_limit(limited: Any) -> None:
    """A bound that no minute could hold is refused at once, and the SDKs are told not to try again."""
    async with limited(limits={"tokens_per_minute": 1000}) as gateway:
        with pytest.raises(openai.RateLimitError, match="ask for fewer") as refused:
            await ask(gateway, max_completion_tokens=500, n=3)
        assert refused.value.response.headers["x-should-retry"] == "false"
        assert "retry-after" not in refused.value.response.headers


async def test_limits_of_a_deployment(limited: Any) -> None:
    """A deployment's own limit holds inside the subscription's, and other deployments do not notice."""
    limits = {"gpt-4o": {"requests_per_minute": 1}}
    async with limited(limits={"requests_per_minute": 3}, deployment_limits=limits) as gateway:
        assert (await ask(gateway)).headers["x-ratelimit-limit-requests"] == "1"
        with pytest.raises(openai.RateLimitError, match="for the deployment gpt-4o, is at its limit of 1"):
            await ask(gateway)
        assert (await ask(gateway, "gpt-5-mini")).headers["x-ratelimit-remaining-requests"] == "1"
        await ask(gateway, "gpt-5-mini")
        with pytest.raises(openai.RateLimitError, match="team-a is at its limit of 3"):
            await ask(gateway, "gpt-5-mini")


async def test_requests_at_once(limited: Any, simulators: dict[str, Simulator]) -> None:
    """Streams that are open count; the one too many is refused, until a caller leaves its stream."""
    async with limited(limits={"concurrent": 2}) as gateway:
        await simulators["first"].inject(Stall(after_chunks=4, times=2))
        streams = [
            await gateway.openai().chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
            for _ in range(2)
        ]
        with pytest.raises(openai.RateLimitError, match="2 requests at once") as refused:
            await ask(gateway)
        assert refused.value.response.headers["retry-after"] == "1"
        await streams[0].close()
        async with asyncio.timeout(30):
            while True:
                try:
                    await ask(gateway)
                except openai.RateLimitError:
                    await asyncio.sleep(0.01)
                else:
                    break
        await streams[1].close()


async def test_callers_one_after_the_other(limited: Any) -> None:
    """With one request at once allowed, each request may follow the answer of the one before without a pause."""
    async with limited(limits={"concurrent": 1}) as gateway:
        for _ in range(20):
            await ask(gateway)
        async with httpx2.AsyncClient() as client:
            url = f"{gateway.url}/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
            broken = await client.post(url, headers={"api-key": KEY}, json={"messages": 5})
            assert broken.status_code == 400
        await ask(gateway)


async def test_quota(limited: Any) -> None:
    """When the period's tokens do not suffice the answer is 403, with whom to ask and when the period ends."""
    async with limited(quota={"tokens": 60, "per": "month"}) as gateway:
        await ask(gateway, max_tokens=20)
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await ask_often(gateway, 20, max_tokens=20)
        assert refused.value.code == "quota_exceeded"
        assert "cost centre 4711 or the platform team" in refused.value.message
        assert "The next month begins at 20" in refused.value.message
        assert "-01T00:00:00Z" in refused.value.message
        used = sum(event.meters.prompt_tokens + event.meters.completion_tokens for event in gateway.events)
        assert used <= 60


async def test_a_hard_budget(limited: Any) -> None:
    """Requests pass while their dearest outcome fits; the sum stays within the budget and is the statement's."""
    budget = {"amount": "0.002", "per": "day", "hard": True}
    async with limited(budget=budget) as gateway:
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await ask_often(gateway, 60, max_tokens=20)
        assert refused.value.code == "budget_exceeded"
        cost = cost_of(gateway)
        assert Decimal("0.0015") < cost <= Decimal("0.002")
        left = (Decimal("0.002") - cost).quantize(Decimal("0.0001"))
        assert f"budget of 0.002 USD per day: {left} are left" in refused.value.message


async def test_a_soft_budget(limited: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A budget that is not hard refuses nothing and is told once in the log when it is crossed."""
    async with limited(budget={"amount": "0.00001", "per": "month"}) as gateway:
        for _ in range(4):
            await ask(gateway)
        await gateway.settled(4)
    told = [record.message for record in caplog.records if "is used up" in record.message]
    assert told == ["Subscription team-a, cost centre 4711: the month's budget of 0.00001 USD is used up"]


async def test_a_streams_place_is_free_at_its_last_byte(counter: TokenCounter) -> None:
    """Whoever has the end of its stream may ask again, though the backend has not closed its answer yet."""
    over = asyncio.Event()

    async def backend(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        event = b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\ndata: [DONE]\n\n'
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await over.wait()
        await send({"type": "http.response.body", "body": b""})

    async with served(backend) as url:
        catalog = catalog_of({}, subscriptions={"a": {"key_hashes": [key_hash(KEY)], "limits": {"concurrent": 1}}})
        catalog["backends"] = {"one": {"endpoint": url, "auth": {"api_key": "setting:UPSTREAM_KEY"}}}
        catalog["deployments"] = {"gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "one"}]}}
        async with run_gateway({}, counter, catalog=catalog) as gateway:
            for _ in range(5):
                stream = await gateway.openai().chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
                assert [part async for part in stream]
            over.set()


async def test_failed_requests_give_their_tokens_back(limited: Any) -> None:
    """What a backend refuses consumed no tokens: the quota and the minute's tokens are as before."""
    async with limited(limits={"tokens_per_minute": 1000}, quota={"tokens": 1000, "per": "day"}) as gateway:
        for _ in range(5):
            with pytest.raises(openai.BadRequestError):
                await gateway.openai().post(
                    "/chat/completions", body={"model": "gpt-4o", "messages": 5, "max_tokens": 900}, cast_to=object
                )
        await ask(gateway, max_tokens=900)
