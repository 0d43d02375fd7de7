"""Who is calling: a subscription by one of its keys or by an Entra ID token, or an operator.

A key comes in `Ocp-Apim-Subscription-Key`, `api-key` or `Authorization: Bearer`, the first there is.
Only SHA-256 digests of keys are kept. The digest is what is looked up, so the time that a look-up takes tells nothing
about a key that somebody else holds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from gateway.catalog.catalog import Subscription
from gateway.errors import Forbidden, TokenRefused, Unauthenticated

KEY_HEADERS = (b"ocp-apim-subscription-key", b"api-key")
LONGEST_KEY = 16_384
"""Bytes; an access token is below, and nothing longer is worth hashing."""

SCOPE_KEY = "tollgate.caller"
"""Where an in-process call carries its Caller in the ASGI scope; a server never puts it there."""

UNAUTHENTICATED = (
    "Access denied: the request carries no subscription key that is valid. "
    "Send it in the header api-key, Ocp-Apim-Subscription-Key or Authorization: Bearer."
)


MORE_GROUPS = (
    "its user is in more than 200 groups, so Entra ID named none of them in it: let the gateway's registration put only"
    " groups assigned to it into tokens, or list the user (oid:...) or an application role (role:...)"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """`subscription` is None for an operator. `token` is the bearer token beside a key, for backends that take it.

    `operator_key` names an operator's key by its place in the catalog, for the audit log.
    """

    subscription: Subscription | None
    token: str = field(default="", repr=False)
    operator_key: str = ""

    @property
    def operator(self) -> bool:
        return self.subscription is None

    def may_read(self, subscription: str) -> bool:
        """Tell whether the statement of this subscription is the caller's to see."""
        return self.subscription is None or self.subscription.name == subscription

    def entitlement(self) -> Subscription:
        """Return the subscription that a model call is charged to. Raises Forbidden for an operator."""
        if self.subscription is None:
            raise Forbidden("This is an operator key; models are called with a subscription's key.")
        return self.subscription


class Directory(Protocol):
    """Knows who holds which key and which identity. Looking up is quick: what is far away is kept near for a while."""

    async def holder(self, key: bytes) -> Caller | None:
        """Return whose key this is. Raises SubscriptionsUnavailable where that cannot be found out now."""
        ...

    async def member(self, identities: Sequence[str]) -> Caller | None:
        """Return the subscription that lists the first of these identities that any lists (`azp:...`, `oid:...`).

        Raises SubscriptionsUnavailable.
        """
        ...


class TokenReader(Protocol):
    async def identities(self, token: str) -> Sequence[str]:
        """Return the identities that a valid access token proves, the strongest first.

        Raises TokenRefused, and IdentityUnavailable where that cannot be found out now.
        """
        ...

    def more_groups(self, token: str) -> bool:
        """Tell whether a token that was just found valid names none of its groups, because they are too many."""
        ...


class Callers:
    """`tokens` is None where no Entra ID tenant is set: then a bearer token can only be a key."""

    def __init__(self, directory: Directory, tokens: TokenReader | None = None) -> None:
        self._directory = directory
        self._tokens = tokens

    async def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Return who sends these headers (lower-case names). Raises Unauthenticated."""
        named = {name: value for name, value in headers if name in _CREDENTIALS}
        bearer = named.get(b"authorization", b"")
        bearer = bearer[7:].strip() if bearer[:7].lower() == b"bearer " else b""
        key = next((named[name] for name in KEY_HEADERS if name in named), b"")
        if not (key or bearer) or len(key) > LONGEST_KEY or len(bearer) > LONGEST_KEY:
            raise Unauthenticated(UNAUTHENTICATED)
        if not key and self._tokens is not None and _is_token(bearer):
            return await self._by_token(self._tokens, bearer.decode("latin-1"))
        caller = await self._directory.holder(key or bearer)
        if caller is None:
            raise Unauthenticated(UNAUTHENTICATED)
        # A key that comes twice, as some SDKs send it, is no token: it must not go upstream.
        return replace(caller, token=bearer.decode("latin-1")) if key and _is_token(bearer) else caller

    async def _by_token(self, tokens: TokenReader, token: str) -> Caller:
        identities = await tokens.identities(token)
        caller = await self._directory.member(identities)
        if caller is None:
            shown = ", ".join(identities[:3]) or "it proves none"
            said = f"it is valid, but no subscription lists its identity ({shown})"
            raise TokenRefused(f"{said}; {MORE_GROUPS}" if tokens.more_groups(token) else said)
        return Caller(caller.subscription, token)


def _is_token(bearer: bytes) -> bool:
    """Tell a signed access token by its shape: three parts, the first of them a JSON object in base64."""
    return bearer.startswith(b"eyJ") and bearer.count(b".") == 2


_CREDENTIALS = frozenset({*KEY_HEADERS, b"authorization"})
