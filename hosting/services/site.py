"""What every part of the app is built with."""

from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Protocol

from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

from hosting.identity import credential
from hosting.settings import Settings
from seams.clock import Clock

type Credential = DefaultAzureCredential | ManagedIdentityCredential


class Closable(Protocol):
    def close(self) -> Awaitable[None]: ...


class Site:
    """The settings, the clock, one credential for all, and in `closing` what is to be let go of at the end."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.closing = AsyncExitStack()
        self._credential: Credential | None = None

    def owned[Part: Closable](self, part: Part) -> Part:
        """Return the part, which is closed at the end: before all that were owned earlier, since it may use them."""
        self.closing.push_async_callback(part.close)
        return part

    def identity(self) -> Credential:
        """Return the app's own identity; it is asked for nothing yet."""
        if self._credential is None:
            self._credential = self.owned(credential(self.settings.identity_client_id, on_azure=self.settings.on_azure))
        return self._credential
