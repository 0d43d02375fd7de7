"""Failover over real sockets: what moves a call on, what does not, and what is answered when all are out."""

import asyncio
import time
from typing import Any

import httpx2
import openai
import pytest

from local.simulator.faults import (
    Cut,
    Fault,
    Garbage,
    Html,
    NotJson,
    Refuse,
    Reset,
    Slow,
    Status,
)
from tests.gateway.catalogs import key_hash
from tests.served import served

HELLO: Any = [{"role": "user", "content": "The printer on floor three is on fire."}]
THROTTLED = Status(status=429, headers={"retry-after-ms": "60000"})


async def ask(gateway: Any, **options: Any) -> tuple[str, str]:
    """Return the backend that answered and the number of attempts."""
    create = gateway.azure().chat.completions.with_raw_response.create
    raw = await create(model="gpt-4o", messages=HELLO, **options)
    if options.get("stream"):
        async for _ in raw.parse():
            pass
    return raw.headers["x-gateway-backend"], raw.headers["x-gateway-attempts"]


@pytest.mark.parametrize(
    "fault",
    [
        THROTTLED,
        *(Status(status=status, times=1) for status in (408, 500, 502, 503, 504)),
        Status(status=307, headers={"location": "https://elsewhere.example/"}, times=1),
        Reset(times=1),
        Garbage(times=1),
        NotJson(times=1),
        Html(status=502, times=1),
        Html(status=200, times=1),
        Cut(after_chunks=0, times=1),
        Refuse(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_backend_answers(gateway: Any, fault: Fault, stream: bool) -> None:
    """A backend that throttles, fails, talks nonsense or is gone costs an attempt and nothing else."""
    await gateway.simulators["first"].inject(fault)
    assert await ask(gateway, stream=stream) == ("second", "2")


async def test_wrong_credentials_of_one_backend(gateway: Any) -> None:
    """A backend that refuses our key, or does not know its deployment, is passed over and left alone."""
    body = {"error": {"code": "DeploymentNotFound", "message": "gone"}}
    for fault in (Status(status=401, times=1), Status(status=403, times=1), Status(status=404, body=body, times=1)):
        await gateway.simulators["first"].inject(fault)
        assert (await ask(gateway))[0] == "second"
    assert len(gateway.simulators["first"].requests) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
async def test_the_requests_own_faults_are_not_retried(gateway: Any, status: int) -> None:
    """What the request is at fault for comes back as it is, from the first backend, and cools nothing down."""
    await gateway.simulators["first"].inject(Status(status=status, times=1))
    with pytest.raises(openai.APIStatusError) as raised:
        await ask(gateway)
    assert raised.value.status_code == status
    assert raised.value.response.headers["x-gateway-attempts"] == "1"
    assert not gateway.simulators["second"].requests
    assert await ask(gateway) == ("first", "1")


async def test_a_throttled_backend_is_left_alone_until_its_time(gateway: Any) -> None:
    """Retry-After is kept: no request before it, and the first tier again after it."""
    await gateway.simulators["first"].inject(Status(status=429, headers={"retry-after-ms": "400"}, times=1))
    began = time.monotonic()
    assert await ask(gateway) == ("second", "2")
    async with asyncio.timeout(20):
        while (answered := await ask(gateway)) == ("second", "1"):
            await asyncio.sleep(0.01)
    assert answered == ("first", "1")
    assert time.monotonic() - began >= 0.4


async def test_a_dead_backend_trips_its_breaker(gateway: Any) -> None:
    """After five failures in a row the dead backend is not tried any more, until a probe."""
    await gateway.simulators["first"].inject(Refuse())
    attempts = [(await ask(gateway))[1] for _ in range(7)]
    assert attempts == ["2"] * 5 + ["1"] * 2


async def test_all_throttled(gateway: Any) -> None:
    """When every backend throttles the answer is 429 with the earliest recovery and what the last one said."""
    for name, milliseconds in (("first", "60000"), ("second", "7000")):
        await gateway.simulators[name].inject(Status(status=429, headers={"retry-after-ms": milliseconds}))
    for attempts in ("2", "0"):
        with pytest.raises(openai.RateLimitError) as raised:
            await ask(gateway)
        headers = raised.value.response.headers
        assert 6 <= int(headers["retry-after"]) <= 9
        assert 6000 < int(headers["retry-after-ms"]) <= 8000
        assert headers["x-gateway-attempts"] == attempts
        assert raised.value.code == "rate_limit_exceeded"
    assert not gateway.events


async def test_all_dead(gateway: Any) -> None:
    """When no backend can be reached the answer is 503 with Retry-After, and nothing is charged."""
    for simulator in gateway.simulators.values():
        await simulator.inject(Refuse())
    with pytest.raises(openai.InternalServerError) as raised:
        await ask(gateway)
    assert raised.value.status_code == 503
    assert raised.value.code == "no_backend_available"
    assert int(raised.value.response.headers["retry-after"]) >= 1
    assert not gateway.events


async def test_garbage_everywhere(gateway: Any) -> None:
    """When all that comes back is no answer the caller gets a 502 with the request id."""
    for simulator in gateway.simulators.values():
        await simulator.inject(Garbage())
    with pytest.raises(openai.InternalServerError) as raised:
        await ask(gateway)
    assert raised.value.status_code == 502
    assert raised.value.response.headers["x-request-id"] in raised.value.message


async def test_a_silent_backend_is_given_up(gateway_with: Any) -> None:
    """No first byte in time is a failure: the next backend answers."""
    async with gateway_with(first_byte=0.3) as gateway:
        await gateway.simulators["first"].inject(Slow(seconds=10, times=1))
        assert await ask(gateway) == ("second", "2")


async def test_a_billed_attempt_that_broke_has_its_own_event(gateway: Any) -> None:
    """A stream that breaks before its first byte moves on; the prompt that its backend bills is charged, too."""
    await gateway.simulators["first"].inject(Cut(after_chunks=0, times=1))
    assert await ask(gateway, stream=True) == ("second", "2")
    events = await gateway.settled(2)
    broken = next(event for event in events if event.parent)
    answered = next(event for event in events if not event.parent)
    assert broken.parent == answered.id
    assert (broken.backend, broken.estimated, broken.meters.completion_tokens) == ("first", True, 0)
    assert broken.meters.prompt_tokens == answered.meters.prompt_tokens
    for name, event in (("first", broken), ("second", answered)):
        billed = gateway.simulators[name].invoice.usage()
        assert (billed.prompt, billed.completion) == (event.meters.prompt_tokens, event.meters.completion_tokens)


async def test_deployments_have_other_names_there(gateway_with: Any) -> None:
    """A backend's own name for a deployment is put into the path, or into the body where the path has none."""
    pool = [{"backend": "first", "deployment": "gpt-4o"}]
    async with gateway_with(deployments={"chat": {"model": "gpt-4o", "pool": pool}}) as gateway:
        for client in (gateway.azure(), gateway.openai()):
            answer = await client.chat.completions.create(model="chat", messages=HELLO)
            assert answer.model.startswith("gpt-4o")
        paths = [request.path for request in gateway.simulators["first"].requests]
        assert paths == ["/openai/deployments/gpt-4o/chat/completions", "/openai/v1/chat/completions"]
        assert gateway.simulators["first"].requests[-1].body.startswith(b'{"model":"gpt-4o"')


async def test_weights_share_a_tier(gateway_with: Any) -> None:
    """Inside a priority, traffic goes by weight."""
    pool = [{"backend": "first", "weight": 1}, {"backend": "second", "weight": 3}]
    async with gateway_with(deployments={"gpt-4o": {"model": "gpt-4o", "pool": pool}}, random=True) as gateway:
        backends = [(await ask(gateway))[0] for _ in range(120)]
    assert 10 <= backends.count("first") <= 55


async def test_no_connection_is_left_behind(gateway: Any) -> None:
    """A caller that leaves while its backend is silent has the upstream request cancelled at once."""
    await gateway.simulators["first"].inject(Slow(seconds=30, times=1))
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"api-key": "sk-team-a"}) as client:
        asking = asyncio.create_task(
            client.post("/v1/chat/completions", json={"model": "gpt-4o", "messages": HELLO}, timeout=30)
        )
        async with asyncio.timeout(30):
            while not gateway.simulators["first"].requests:
                await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])
    (event,) = await gateway.settled(1)
    assert (event.outcome, event.estimated, event.status) == ("client_closed", True, 499)


async def test_a_recovery_that_is_near_is_waited_for(gateway: Any) -> None:
    """When every backend throttles and the first comes back soon, the caller waits and has its answer."""
    for name, milliseconds in (("first", "60000"), ("second", "400")):
        await gateway.simulators[name].inject(Status(status=429, headers={"retry-after-ms": milliseconds}, times=1))
    began = time.monotonic()
    create = gateway.azure().chat.completions.with_raw_response.create
    raw = await create(model="gpt-4o", messages=HELLO)
    assert 0.4 <= time.monotonic() - began < 20
    assert raw.headers["x-gateway-backend"] == "second"
    assert raw.headers["x-gateway-attempts"] == "3"
    assert raw.headers["x-gateway-tried"] == "first=429, second=429, second=200"


async def test_a_caller_names_its_backend(gateway_with: Any) -> None:
    """Where the subscription may, the named backend alone is asked; where it may not, that is said."""
    subscriptions = {
        "team-a": {"key_hashes": [key_hash("sk-team-a")], "may_choose_backend": True},
        "team-b": {"key_hashes": [key_hash("sk-team-b")]},
    }
    second = {"x-gateway-backend": "second"}
    async with gateway_with(subscriptions=subscriptions) as gateway:
        assert await ask(gateway, extra_headers=second) == ("second", "1")
        await gateway.simulators["second"].inject(Status(status=500, times=1))
        with pytest.raises(openai.InternalServerError):
            await ask(gateway, extra_headers=second)
        assert not gateway.simulators["first"].requests
        with pytest.raises(openai.BadRequestError, match="not served by the backend third"):
            await ask(gateway, extra_headers={"x-gateway-backend": "third"})
        create = gateway.azure(key="sk-team-b").chat.completions.create
        with pytest.raises(openai.PermissionDeniedError, match="may not choose a backend"):
            await create(model="gpt-4o", messages=HELLO, extra_headers=second)


async def test_a_workload_is_a_label(gateway: Any) -> None:
    """`x-workload-id` is on the usage event, and goes nowhere else; one that is no name is refused."""
    await ask(gateway, extra_headers={"x-workload-id": "nightly import/7"})
    (event,) = await gateway.settled(1)
    assert event.labels == {"workload": "nightly import/7"}
    assert b"x-workload-id" not in dict(gateway.simulators["first"].requests[-1].headers)
    with pytest.raises(openai.BadRequestError, match="x-workload-id"):
        await ask(gateway, extra_headers={"x-workload-id": "a;b"})


async def test_a_long_prompt_stays_with_its_backend(gateway_with: Any) -> None:
    """A prompt long enough to be cached goes to one backend each time; short ones are shared."""
    pool = [{"backend": "first"}, {"backend": "second"}]
    long: Any = [{"role": "user", "content": f"{'The printer is on fire. ' * 300}"}]
    async with gateway_with(deployments={"gpt-4o": {"model": "gpt-4o", "pool": pool}}, random=True) as gateway:
        create = gateway.azure().chat.completions.with_raw_response.create
        homes = [(await create(model="gpt-4o", messages=long)).headers["x-gateway-backend"] for _ in range(6)]
        assert len(set(homes)) == 1
        assert len({(await ask(gateway))[0] for _ in range(20)}) == 2


async def test_the_least_loaded_backend_serves(gateway_with: Any) -> None:
    """Among equals a call goes where fewer are under way."""
    pool = [{"backend": "first"}, {"backend": "second"}]
    async with gateway_with(deployments={"gpt-4o": {"model": "gpt-4o", "pool": pool}}) as gateway:
        await gateway.simulators["second"].inject(Slow(seconds=2))
        slow = asyncio.create_task(ask(gateway))
        async with asyncio.timeout(30):
            while not gateway.simulators["second"].requests:
                await asyncio.sleep(0.01)
        assert {(await ask(gateway))[0] for _ in range(5)} == {"first"}
        assert await slow == ("second", "1")


async def test_an_error_that_is_no_text(gateway_with: Any) -> None:
    """An error body that is not UTF-8 counts against its backend like any other, and the next one answers."""

    async def backend(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 500, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"error":{"message":"caf\xe9"}}'})

    async with served(backend) as url:
        async with gateway_with() as plain:
            second = {"endpoint": plain.simulators["second"].url, "auth": {"api_key": "setting:UPSTREAM_KEY"}}
        backends = {"first": {"endpoint": url, "auth": {"api_key": "setting:UPSTREAM_KEY"}}, "second": second}
        pool = [{"backend": "first"}, {"backend": "second", "priority": 2}]
        deployments = {"gpt-4o": {"model": "gpt-4o", "pool": pool}}
        async with gateway_with(backends=backends, deployments=deployments) as gateway:
            assert await ask(gateway) == ("second", "2")


async def test_misconfigured_backends_do_not_throttle(gateway: Any) -> None:
    """When all backends refuse our credentials the answer is 503, also while they are left alone."""
    for simulator in gateway.simulators.values():
        await simulator.inject(Status(status=401))
    for _ in range(2):
        with pytest.raises(openai.InternalServerError) as raised:
            await ask(gateway)
        assert (raised.value.status_code, raised.value.code) == (503, "no_backend_available")
