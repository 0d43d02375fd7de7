"""Access tokens for backends that are reached by managed identity."""

from typing import Protocol


class TokenUnavailable(Exception):
    """No valid token is at hand and none could be fetched in time."""


class TokenSource(Protocol):
    async def token(self) -> str:
        """Return a bearer token that is valid now. Raises TokenUnavailable.

        Answers at once while the kept token is valid; fetching ahead of expiry is the source's own task.
        """
        ...

    async def close(self) -> None: ...
