"""What a request to a backend proves itself with."""

from gateway.catalog.catalog import ApiKey, CallerToken, UpstreamAuth
from seams.tokens import TokenSource


async def credential(auth: UpstreamAuth, tokens: TokenSource, callers: str) -> tuple[str, str]:
    """Return the header's name and value; `callers` is the caller's own token. Raises TokenUnavailable."""
    if isinstance(auth, ApiKey):
        return "api-key", auth.value
    if isinstance(auth, CallerToken):
        return "authorization", f"Bearer {callers}"
    return "authorization", f"Bearer {await tokens.token()}"
