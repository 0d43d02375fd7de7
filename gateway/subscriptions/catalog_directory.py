"""Where subscriptions are looked up by their keys and identities."""

from collections.abc import Sequence

from gateway.catalog.catalog import Catalog
from gateway.identity.callers import Caller
from gateway.identity.keys import digest_of


class CatalogDirectory:
    """The subscriptions and operators of the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._holders: dict[bytes, Caller] = {
            digest: Caller(None, operator_key=f"operators.key_hashes.{place}")
            for place, digest in enumerate(catalog.operator_digests)
        }
        self._members: dict[str, Caller] = {}
        for subscription in catalog.subscriptions.values():
            caller = Caller(subscription)
            self._holders.update(dict.fromkeys(subscription.key_digests, caller))
            self._members.update(dict.fromkeys(subscription.identities, caller))

    def by_digest(self, digest: bytes) -> Caller | None:
        """Return whose key has this SHA-256."""
        return self._holders.get(digest)

    def by_identity(self, identity: str) -> Caller | None:
        return self._members.get(identity)

    async def holder(self, key: bytes) -> Caller | None:
        return self._holders.get(digest_of(key))

    async def member(self, identities: Sequence[str]) -> Caller | None:
        return next((self._members[identity] for identity in identities if identity in self._members), None)
