"""Who is calling: a subscription by one of its keys, or an operator.

A key comes in `Ocp-Apim-Subscription-Key`, `api-key` or `Authorization: Bearer`, the first there is.
Only SHA-256 digests of keys are kept. The digest is what is looked up, so the time that a look-up takes tells nothing
about a key that somebody else holds.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.catalog import Catalog, Subscription
from gateway.errors import Forbidden, Unauthenticated

KEY_HEADERS = (b"ocp-apim-subscription-key", b"api-key")
LONGEST_KEY = 16_384
"""Bytes; an access token is below, and nothing longer is worth hashing."""

SCOPE_KEY = "tollgate.caller"
"""Where an in-process call carries its Caller in the ASGI scope; a server never puts it there."""

UNAUTHENTICATED = (
    "Access denied: the request carries no subscription key that is valid. "
    "Send it in the header api-key, Ocp-Apim-Subscription-Key or Authorization: Bearer."
)


@dataclass(frozen=True, slots=True)
class Caller:
    """`subscription` is None for an operator. `token` is the bearer token beside a key, for backends that take it."""

    subscription: Subscription | None
    token: str = field(default="", repr=False)

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


class Callers(Protocol):
    def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Return who sends these headers (lower-case names). Raises Unauthenticated."""
        ...


class KeyCallers:
    """Callers by the key digests of a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        holders: dict[bytes, Caller] = {digest: Caller(None) for digest in catalog.operator_digests}
        for subscription in catalog.subscriptions.values():
            caller = Caller(subscription)
            holders.update(dict.fromkeys(subscription.key_digests, caller))
        self._holders: Mapping[bytes, Caller] = holders

    def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        named = {name: value for name, value in headers if name in _CREDENTIALS}
        bearer = named.get(b"authorization", b"")
        bearer = bearer[7:].strip() if bearer[:7].lower() == b"bearer " else b""
        key = next((named[name] for name in KEY_HEADERS if name in named), bearer)
        if not key or len(key) > LONGEST_KEY:
            raise Unauthenticated(UNAUTHENTICATED)
        caller = self._holders.get(hashlib.sha256(key).digest())
        if caller is None:
            raise Unauthenticated(UNAUTHENTICATED)
        if bearer and bearer is not key:
            return Caller(caller.subscription, bearer.decode("latin-1"))
        return caller


_CREDENTIALS = frozenset({*KEY_HEADERS, b"authorization"})
