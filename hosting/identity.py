"""Microsoft Entra identity: the one credential of the app, and access tokens for backends kept ahead of expiry."""

import asyncio
import contextlib
import contextvars
import logging
from dataclasses import dataclass
from typing import Final

from azure.core.credentials_async import AsyncSupportsTokenInfo
from azure.core.exceptions import AzureError
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

from seams.clock import Clock
from seams.tokens import TokenSource, TokenUnavailable

FETCH_SECONDS: Final = 10.0
SPARE_SECONDS: Final = 60
"""A token that expires within this time is not sent any more: the backend's clock may be ahead of ours."""
AHEAD_SECONDS: Final = 300
"""A token is refreshed this long before it expires, where the issuer names no better time."""
AGAIN_SECONDS: Final = 30
"""The least time between two fetches that succeed: azure-identity answers from its own cache when asked too early."""
BACKOFF_SECONDS: Final = (1, 2, 5, 15, 30)
ADVICE: Final = (
    "check that the app has a managed identity (AZURE_CLIENT_ID names a user-assigned one) or, on your own machine, "
    "that you are logged in (az login)"
)

logger = logging.getLogger(__name__)

type Credential = ManagedIdentityCredential | DefaultAzureCredential


def credential(client_id: str, *, on_azure: bool) -> Credential:
    """Return the app's credential, for storage, event hubs and tokens alike; whoever asked for it closes it.

    On Azure it is the managed identity: the user-assigned one of this client id, or the system-assigned one where the
    id is empty. Elsewhere it is whatever azure-identity finds, such as the login of the Azure CLI.
    """
    if on_azure:
        return ManagedIdentityCredential(client_id=client_id or None)
    return DefaultAzureCredential(managed_identity_client_id=client_id or None)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A token and the end of its use; seconds since the epoch."""

    token: str
    usable_until: float


class EntraTokenSource(TokenSource):
    """Tokens of one scope. A task of its own fetches the first when it is asked for, and each next one ahead of expiry.

    The credential stays its owner's to close. Times are the clock's wall time, in seconds since the epoch.
    """

    def __init__(
        self,
        credential: AsyncSupportsTokenInfo,
        scope: str,
        clock: Clock,
        *,
        timeout_seconds: float = FETCH_SECONDS,
    ) -> None:
        self._credential = credential
        self._scope = scope
        self._clock = clock
        self._timeout = timeout_seconds
        self._kept: _Kept | None = None
        self._fault = ""
        self._failures = 0
        self._due = 0.0
        self._wanted = asyncio.Event()
        self._fetched = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def token(self) -> str:
        """See TokenSource. While fetches fail and no token is valid, callers are refused at once until the next one."""
        kept, now = self._kept, self._now()
        if now >= self._due:
            self._want()
        if kept is not None and now < kept.usable_until:
            return kept.token
        if now >= self._due and not self._closed:
            await self._next_fetch()
        if self._closed:
            raise TokenUnavailable("the token source was closed")
        if self._kept is None or self._now() >= self._kept.usable_until:
            raise TokenUnavailable(f"no access token for {self._scope}: {self._fault}")
        return self._kept.token

    async def close(self) -> None:
        """End the task; the kept token serves until it expires."""
        self._closed = True
        self._fetched.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _want(self) -> None:
        self._wanted.set()
        if self._task is None and not self._closed:
            # A context of its own: log lines of the task belong to no request.
            self._task = asyncio.create_task(self._run(), name="entra tokens", context=contextvars.Context())

    async def _next_fetch(self) -> None:
        """Wait until the fetch that runs or was just asked for has ended, well or badly."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout + 1):
                await self._fetched.wait()

    async def _run(self) -> None:
        while True:
            await self._fetch()
            self._wanted.clear()
            self._fetched.set()
            self._fetched = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._due - self._now()):
                    await self._wanted.wait()

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                got = await self._credential.get_token_info(self._scope)
        except Exception as error:  # noqa: BLE001 (whatever failed, the task must live to try again)
            self._fault = self._advice(error)
            self._due = self._now() + BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
            self._failures += 1
            logger.warning("no access token for %s: %s", self._scope, self._fault)
        else:
            self._kept = _Kept(got.token, got.expires_on - SPARE_SECONDS)
            self._due = max(got.refresh_on or got.expires_on - AHEAD_SECONDS, self._now() + AGAIN_SECONDS)
            self._fault, self._failures = f"the last one expired at {got.expires_on} (seconds since 1970)", 0

    def _advice(self, error: Exception) -> str:
        """Say what an operator can do. Only an Azure error's message is quoted: its str() adds the answer's body."""
        if isinstance(error, TimeoutError):
            return f"the identity endpoint did not answer within {self._timeout:g} s"
        cause = " ".join(error.message.split())[:300] if isinstance(error, AzureError) else "no details"
        return f"{type(error).__name__}: {cause} - {ADVICE}"
