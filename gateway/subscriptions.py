"""Where subscriptions are looked up by their keys and identities."""

from collections.abc import Sequence

from gateway.callers import Caller
from gateway.catalog import Catalog


class CatalogDirectory:
    """The subscriptions and operators of the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._holders: dict[bytes, Caller] = {digest: Caller(None) for digest in catalog.operator_digests}
        self._members: dict[str, Caller] = {}
        for subscription in catalog.subscriptions.values():
            caller = Caller(subscription)
            self._holders.update(dict.fromkeys(subscription.key_digests, caller))
            self._members.update(dict.fromkeys(subscription.identities, caller))

    async def holder(self, digest: bytes) -> Caller | None:
        return self._holders.get(digest)

    async def member(self, identities: Sequence[str]) -> Caller | None:
        return next((self._members[identity] for identity in identities if identity in self._members), None)
