"""An identity provider on loopback that signs with real RSA keys, and misbehaves as it is told."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.types import Receive, Scope, Send

from gateway.identity.entra import EntraRules, EntraTokens
from gateway.identity.key_ring import KeyRing, KeyRules
from gateway.upstream.http11 import Http11Upstream
from tests.served import served

TENANT = "11111111-2222-3333-4444-555555555555"
OTHER_TENANT = "99999999-2222-3333-4444-555555555555"
AUDIENCE = "api://tollgate"
APP = "aaaaaaaa-0000-0000-0000-000000000001"
USER = "bbbbbbbb-0000-0000-0000-000000000002"
GROUP = "cccccccc-0000-0000-0000-000000000003"

type Mood = Literal["good", "down", "slow", "garbage", "huge", "endless", "moved", "another's", "no keys", "far keys"]


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """Return the private key of this name, the same in the whole run: making one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024 if name.startswith("weak") else 2048)


def published(name: str, **fields: Any) -> dict[str, Any]:
    """Return a key as Entra ID publishes it."""
    key = jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key(name).public_key(), as_dict=True)
    return {"kty": "RSA", "use": "sig", "kid": name, "n": key["n"], "e": key["e"], "x5c": ["MII"]} | fields


@dataclass
class IdentityProvider:
    """`kids` are the keys that are published; `paths` is what was asked for."""

    url: str = ""
    mood: Mood = "good"
    kids: Sequence[str] = ("first",)
    paths: list[str] = field(default_factory=list)

    @property
    def issuer(self) -> str:
        return f"{self.url}/{TENANT}/v2.0"

    @property
    def fetches(self) -> int:
        """How often the keys were asked for, successfully or not."""
        return sum(path.endswith("/openid-configuration") for path in self.paths)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return an app's claims; a change to None takes a claim out."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": AUDIENCE, "tid": TENANT, "azp": APP, "exp": now + 3600, "nbf": now - 60}
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, kid: str = "first", *, signed_by: str = "", headers: Any = None, **changes: Any) -> str:
        """Return a token that says it is signed by key `kid`, and is unless `signed_by` names another."""
        key = rsa_key(signed_by or kid)
        return jwt.encode(self.claims(**changes), key, algorithm="RS256", headers={"kid": kid} | (headers or {}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        status, body = self._answer(scope["path"])
        if self.mood == "slow":
            await asyncio.sleep(0.5)
        headers = [(b"content-type", b"application/json"), (b"location", f"{self.url}/elsewhere".encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        while self.mood == "endless":
            await send({"type": "http.response.body", "body": b" " * 65_536, "more_body": True})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, path: str) -> tuple[int, bytes]:
        if path == f"/{TENANT}/v2.0/.well-known/openid-configuration":
            keys_url = "http://example.com/keys" if self.mood == "far keys" else f"{self.url}/keys"
            issuer = self.issuer.replace(TENANT, OTHER_TENANT) if self.mood == "another's" else self.issuer
            document: Any = {"issuer": issuer, "jwks_uri": keys_url, "token_endpoint": "ignored"}
        elif path in {"/keys", "/evil"}:
            kids = ("evil",) if path == "/evil" else () if self.mood == "no keys" else self.kids
            document = {"keys": [published(kid) for kid in kids]}
        else:
            return 404, b"{}"
        match self.mood:
            case "down":
                return 500, b"out of order"
            case "moved":
                return 302, b""
            case "garbage":
                return 200, b'{"issuer": ' + b"[" * 100_000
            case "huge":
                document["padding"] = "x" * 2_000_000
        return 200, json.dumps(document).encode()


@asynccontextmanager
async def identity_provider() -> AsyncIterator[IdentityProvider]:
    provider = IdentityProvider()
    async with served(provider) as url:
        provider.url = url
        yield provider


@dataclass
class HandClock:
    """Goes on only when it is told; starts at the present."""

    passed: float = 0.0
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        return self.started + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed


@asynccontextmanager
async def token_reader(
    provider: IdentityProvider, clock: HandClock, rules: KeyRules | None = None, *, most_kept: int = 100
) -> AsyncIterator[EntraTokens]:
    """Yield a reader of the provider's tokens; it has no keys yet."""
    entra = EntraRules.of(provider.url, TENANT, AUDIENCE)
    upstream = Http11Upstream(connect_timeout=2)
    keys = KeyRing(entra.authority, entra.tenant, upstream, clock, rules or KeyRules(timeout=5))
    try:
        yield EntraTokens(entra, keys, clock, most_kept=most_kept)
    finally:
        await keys.close()
        await upstream.close()


def part(value: Any) -> str:
    """Return a part of a token: JSON in base64, without padding."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
