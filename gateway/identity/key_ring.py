"""An identity provider's signing keys, kept near and fetched anew beside the requests.

A task of its own fetches them when the first token comes, then every `refresh` seconds. A token with a key id that is
not known asks for them ahead of that, at most once in `again` seconds however many such tokens come; only such tokens
wait for it. While the identity provider is out of reach, the known keys go on serving; without any, tokens cannot be
judged: 503.
"""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.errors import IdentityUnavailable, TokenRefused
from gateway.identity.jwks import KeysUnreadable, read_discovery, read_keys
from gateway.upstream.upstream import Request, Upstream, UpstreamError, whole
from seams.clock import Clock

LARGEST_DOCUMENT = 1024 * 1024
"""Bytes; Entra ID's are below 30 kB."""

BACKOFF_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Between fetches that fail while there are no keys at all."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeyRules:
    """Seconds, but for `waiting`: how many requests may wait for keys at a time. `timeout` is for a whole fetch."""

    refresh: float = 3600.0
    again: float = 30.0
    timeout: float = 10.0
    waiting: int = 1000


@dataclass(frozen=True, slots=True)
class _Published:
    issuers: frozenset[str]
    keys: Mapping[str, RSAPublicKey]


class KeyRing:
    """Made for one event loop, in which `close` is awaited; `upstream` stays its owner's to close."""

    def __init__(
        self, authority: str, tenant: str, upstream: Upstream, clock: Clock, rules: KeyRules | None = None
    ) -> None:
        """Take the authority as scheme and host, without a slash at the end, and the tenant's id in lower case."""
        self._url = f"{authority}/{tenant}/v2.0/.well-known/openid-configuration"
        self._tenant = tenant
        self._older_issuer = _older_issuer(authority, tenant)
        self._upstream = upstream
        self._clock = clock
        self._rules = rules or KeyRules()
        self._published = _Published(frozenset(), {})
        self._fault = "not asked yet"
        self._failures = 0
        self._allowed_at = clock.monotonic()
        self._wanted = asyncio.Event()
        self._fetched = asyncio.Event()
        self._fetching = False
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def issuers(self) -> frozenset[str]:
        """Whose tokens the keys sign; empty before the first fetch."""
        return self._published.issuers

    def known(self, key_id: str) -> RSAPublicKey | None:
        """Return the key where it is at hand; the same object as long as it is published."""
        return self._published.keys.get(key_id)

    async def key(self, key_id: str) -> RSAPublicKey:
        """Return the key of this id, fetched if need be. Raises TokenRefused and IdentityUnavailable."""
        key = self.known(key_id)
        if key is None and (self._fetching or self._clock.monotonic() >= self._allowed_at) and not self._closed:
            await self._next_fetch()
            key = self.known(key_id)
        if key is not None:
            return key
        if self._fault or self._fetching or self._closed:
            wait = max(1.0, self._allowed_at - self._clock.monotonic())
            raise IdentityUnavailable(
                "The access token cannot be checked now: the identity provider's signing keys are out of reach. "
                "Try again.",
                retry_after=wait,
            )
        raise TokenRefused("it is signed with a key that its tenant does not publish")

    async def close(self) -> None:
        """End the task; the known keys serve on."""
        self._closed = True
        self._fetched.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _next_fetch(self) -> None:
        """Wait until the fetch that runs or is asked for now has ended, well or badly."""
        if self._waiting >= self._rules.waiting:
            return
        self._fetching = True
        self._wanted.set()
        if self._task is None:
            # A context of its own: log lines of the task belong to no request.
            self._task = asyncio.create_task(self._run(), name="entra keys", context=contextvars.Context())
        self._waiting += 1
        try:
            async with asyncio.timeout(self._rules.timeout + 1):
                await self._fetched.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1

    async def _run(self) -> None:
        while True:
            self._fetching = True
            pause = await self._refresh()
            self._wanted.clear()
            self._fetching = False
            self._fetched.set()
            self._fetched = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wanted.wait()

    async def _refresh(self) -> float:
        """Fetch, and return the seconds until the next fetch that nobody asks for."""
        try:
            async with asyncio.timeout(self._rules.timeout):
                self._published = await self._fetch()
        except Exception as error:  # noqa: BLE001 (whatever failed, the task must live to try again)
            return self._failed(error)
        self._fault, self._failures = "", 0
        self._allowed_at = self._clock.monotonic() + self._rules.again
        return self._rules.refresh

    def _failed(self, error: Exception) -> float:
        known = len(self._published.keys)
        pause = self._rules.again if known else BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
        slow = f"no answer within {self._rules.timeout:g} seconds"
        said = str(error) if isinstance(error, (KeysUnreadable, UpstreamError)) else type(error).__name__
        self._fault = slow if isinstance(error, TimeoutError) else said
        self._failures += 1
        self._allowed_at = self._clock.monotonic() + pause
        state = f"the {known} known ones go on" if known else "no access token can be checked"
        logger.error("No signing keys from %s: %s; %s. Next try in %g s.", self._url, self._fault, state, pause)
        return pause

    async def _fetch(self) -> _Published:
        discovery = read_discovery(await self._get(self._url), self._tenant)
        issuers = frozenset({discovery.issuer, self._older_issuer})
        found = read_keys(await self._get(discovery.keys_url), self._tenant, issuers)
        old = self._published.keys
        return _Published(issuers, {name: old[name] if old.get(name) == key else key for name, key in found.items()})

    async def _get(self, url: str) -> bytes:
        answer = await self._upstream.send(Request("GET", url, {"accept": "application/json"}, b""))
        try:
            if answer.status != 200:
                raise KeysUnreadable(f"{url} answered {answer.status}")
            return await whole(answer, LARGEST_DOCUMENT)
        finally:
            answer.close()


def _older_issuer(authority: str, tenant: str) -> str:
    """Return the issuer of access tokens of version 1.0, which the same keys sign.

    An API gets that version unless its registration asks for 2 (requestedAccessTokenVersion,
    https://learn.microsoft.com/entra/identity-platform/access-tokens#token-formats), and so do Azure's own, whose
    tokens backends with `auth = "caller"` need. Azure operated by 21Vianet has another host for it.
    """
    host = "sts.chinacloudapi.cn" if authority.endswith(".cn") else "sts.windows.net"
    return f"https://{host}/{tenant}/"
