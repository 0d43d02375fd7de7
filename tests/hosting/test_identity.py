"""Tokens from a managed identity: the real azure-identity against App Service's identity endpoint on loopback."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest
import uvicorn
from azure.core.credentials import AccessTokenInfo
from azure.core.credentials_async import AsyncSupportsTokenInfo
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from hosting.identity import EntraTokenSource, credential
from seams.clock import SystemClock
from seams.tokens import TokenUnavailable

SCOPE = "https://cognitiveservices.azure.com/.default"


@dataclass
class HandClock(SystemClock):
    """Wall time that a test moves, in seconds since the epoch."""

    seconds: float

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


@dataclass
class IdentityEndpoint:
    """What App Service serves at IDENTITY_ENDPOINT (api-version 2019-08-01), with faults.

    Tokens are named token-1, token-2, ... and expire at `expires_on`. A time in the past makes azure-identity, which
    goes by the machine's clock, forget the token at once, so that each fetch reaches this endpoint.
    """

    expires_on: int
    status: int = 200
    silent: bool = False
    requests: list[dict[str, list[str]]] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.requests.append(parse_qs(request.url.query))
        self.headers.append(request.headers.get("x-identity-header", ""))
        if self.silent:
            assert (await receive())["type"] == "http.request"
            assert (await receive())["type"] == "http.disconnect"
            return
        token = {
            "access_token": f"token-{len(self.requests)}",
            "expires_on": str(self.expires_on),
            "resource": SCOPE.removesuffix("/.default"),
            "token_type": "Bearer",
        }
        answer = token if self.status == 200 else {"message": "no such identity", "access_token": "secret-token"}
        await JSONResponse(answer, self.status)(scope, receive, send)


@asynccontextmanager
async def served(endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    server = uvicorn.Server(uvicorn.Config(endpoint, port=0, lifespan="off", log_level="warning"))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{port}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header-of-this-instance")
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not reached():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def source(clock: HandClock, **options: float) -> AsyncIterator[EntraTokenSource]:
    async with credential("my-client-id", on_azure=True) as identity:
        tokens = EntraTokenSource(identity, SCOPE, clock, **options)
        yield tokens
        await tokens.close()


@pytest.fixture
def clock() -> HandClock:
    """An hour before the machine's time: what expires "now" for azure-identity is good for an hour for us."""
    return HandClock(time.time() - 3600)


@pytest.fixture
def endpoint() -> IdentityEndpoint:
    return IdentityEndpoint(expires_on=int(time.time()))


async def test_first_callers_share_one_fetch(
    clock: HandClock, endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Concurrent first callers get one token from one request, which asks as App Service wants to be asked."""
    async with served(endpoint, monkeypatch), source(clock) as tokens:
        assert await asyncio.gather(*(tokens.token() for _ in range(50))) == ["token-1"] * 50
        assert await tokens.token() == "token-1"
    assert endpoint.requests == [
        {
            "api-version": ["2019-08-01"],
            "resource": ["https://cognitiveservices.azure.com"],
            "client_id": ["my-client-id"],
        }
    ]
    assert endpoint.headers == ["header-of-this-instance"]


async def test_refreshed_ahead_of_expiry(
    clock: HandClock, endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Near its expiry the kept token still answers at once, while the next one is fetched beside it."""
    async with served(endpoint, monkeypatch), source(clock) as tokens:
        assert await tokens.token() == "token-1"
        clock.seconds = endpoint.expires_on - 200
        endpoint.expires_on += 3600
        started = asyncio.all_tasks()
        assert await tokens.token() == "token-1"
        assert asyncio.all_tasks() == started
        await until(lambda: len(endpoint.requests) == 2)
        async with asyncio.timeout(30):
            while await tokens.token() == "token-1":
                await asyncio.sleep(0.005)
        assert await tokens.token() == "token-2"
        assert len(endpoint.requests) == 2


async def test_refresh_fails_while_the_token_is_valid(
    clock: HandClock, endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed refresh costs no request anything before the kept token has expired; then it is TokenUnavailable."""
    async with served(endpoint, monkeypatch), source(clock) as tokens:
        assert await tokens.token() == "token-1"
        endpoint.status = 400
        clock.seconds = endpoint.expires_on - 200
        await tokens.token()
        await until(lambda: len(endpoint.requests) == 2)
        assert await tokens.token() == "token-1"
        clock.seconds = endpoint.expires_on
        with pytest.raises(TokenUnavailable):
            await tokens.token()


async def test_refused(clock: HandClock, endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal tells the operator what to check, and quotes nothing of the answer's body."""
    endpoint.status = 400
    async with served(endpoint, monkeypatch), source(clock) as tokens:
        with pytest.raises(TokenUnavailable, match=r"check that the app has a managed identity") as caught:
            await tokens.token()
    assert "secret-token" not in str(caught.value)
    assert SCOPE in str(caught.value)


async def test_back_off(clock: HandClock, endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure callers are refused without another request until the pause is over; then they are served."""
    endpoint.status = 400
    async with served(endpoint, monkeypatch), source(clock) as tokens:
        for _ in range(20):
            with pytest.raises(TokenUnavailable):
                await tokens.token()
        asked = len(endpoint.requests)
        endpoint.status = 200
        clock.seconds += 2
        assert await tokens.token() == f"token-{asked + 1}"
    assert asked == 1


async def test_silent_endpoint(clock: HandClock, endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that never answers is TokenUnavailable within the time-out."""
    endpoint.silent = True
    async with served(endpoint, monkeypatch), source(clock, timeout_seconds=0.2) as tokens:
        async with asyncio.timeout(30):
            with pytest.raises(TokenUnavailable, match=r"did not answer within 0\.2 s"):
                await tokens.token()


async def test_close(clock: HandClock, endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing ends the task and releases those who wait; afterwards only a token that is still valid is given."""
    before = asyncio.all_tasks()
    endpoint.silent = True
    async with served(endpoint, monkeypatch), credential("", on_azure=True) as identity:
        tokens = EntraTokenSource(identity, SCOPE, clock)
        waiting = asyncio.create_task(tokens.token())
        await until(lambda: bool(endpoint.requests))
        await tokens.close()
        with pytest.raises(TokenUnavailable, match="closed"):
            await waiting
        with pytest.raises(TokenUnavailable, match="closed"):
            await tokens.token()
    assert asyncio.all_tasks() == before


class FaultyCredential(AsyncSupportsTokenInfo):
    """Fails with an error of nobody's tree, then issues tokens that name their own time of refresh."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.calls = 0

    async def get_token_info(self, *scopes: str, options: object = None) -> AccessTokenInfo:
        self.calls += 1
        if self.calls == 1:
            raise KeyError("access_token: secret-token")
        now = int(self.clock.seconds)
        return AccessTokenInfo(f"token-{self.calls}", now + 86400, refresh_on=now + 43200)

    async def close(self) -> None:
        """Nothing is held."""

    async def __aexit__(self, *_: object) -> None:
        """Nothing is held."""


async def test_issuers_own_refresh_time(clock: HandClock) -> None:
    """An unexpected error is survived without quoting it, and a token is refreshed when its issuer says so."""
    identity = FaultyCredential(clock)
    tokens = EntraTokenSource(identity, SCOPE, clock)
    with pytest.raises(TokenUnavailable, match="KeyError: no details"):
        await tokens.token()
    clock.seconds += 2
    assert await tokens.token() == "token-2"
    clock.seconds += 43100
    assert await tokens.token() == "token-2"
    assert identity.calls == 2
    clock.seconds += 200
    assert await tokens.token() == "token-2"
    await until(lambda: identity.calls == 3)
    assert await tokens.token() == "token-3"
    await tokens.close()


async def test_credential() -> None:
    """On Azure the managed identity alone is asked; elsewhere whatever the developer is logged in with."""
    async with credential("", on_azure=True) as managed, credential("", on_azure=False) as found:
        assert isinstance(managed, ManagedIdentityCredential)
        assert isinstance(found, DefaultAzureCredential)
