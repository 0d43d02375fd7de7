"""Subscriptions in the table `subscriptions`: one row each, which alone says what they are.

PartitionKey is `subscription`, RowKey the name; columns are `version` (1), `fields` (the catalog's fields as JSON),
`primary` and `secondary` (SHA-256 of the keys) and the times of what was done last. The index finds a row by a key or
an identity.

The row is written after the index's claims and before the release of what is gone, so that a crash in between leaves
at most rows of the index that nobody believes: never a key that works and is not listed, and never a name that is taken
by nothing. A failed change leaves its claims, too: another change of the same subscription may have come to rely on
them. Where a write's outcome is unknown the row is read back: what was lost may be the acknowledgement alone.
"""

import logging
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

from pydantic import ValidationError

from gateway.catalog.catalog import Subscription
from gateway.errors import SubscriptionUnreadable
from gateway.subscriptions.entitlement import Entitlement
from gateway.subscriptions.index import Proof, SubscriptionIndex
from seams.tables import (
    Delete,
    Entity,
    Insert,
    Operation,
    Replace,
    Table,
    TableError,
    Tables,
    Value,
)

TABLE = "subscriptions"
PARTITION = "subscription"
VERSION = 1
LONGEST_FIELDS = 30_000
"""Characters of JSON; a column takes 32,768."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredSubscription:
    """A row. `primary` and `secondary` are SHA-256 of its keys; times are aware, in UTC."""

    name: str
    entitlement: Entitlement
    primary: bytes = field(repr=False)
    secondary: bytes = field(repr=False)
    created_at: datetime
    changed_at: datetime
    primary_at: datetime
    secondary_at: datetime
    etag: str | None = field(default=None, compare=False)

    @property
    def proofs(self) -> frozenset[Proof]:
        """Everything by which a caller can prove to be this subscription."""
        return frozenset((self.primary, self.secondary, *self.entitlement.identities))

    def subscription(self) -> Subscription:
        return self.entitlement.subscription(self.name, (self.primary, self.secondary))


class SubscriptionStore:
    """Reads and writes raise TableUnavailable; writes raise TableConflict where another came first."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._index = SubscriptionIndex(tables)
        self._opened: Table | None = None

    async def get(self, name: str) -> StoredSubscription | None:
        """Return the subscription of this name. Raises SubscriptionUnreadable."""
        entity = await (await self._table()).get(PARTITION, name)
        return None if entity is None else _stored(entity)

    async def holder(self, proof: Proof) -> StoredSubscription | None:
        """Return the subscription that this key or identity belongs to. Raises SubscriptionUnreadable."""
        pointer = await self._index.find(proof)
        stored = None if pointer is None else await self.get(pointer.name)
        return stored if stored is not None and proof in stored.proofs else None

    async def page(self, after: str, limit: int) -> list[StoredSubscription]:
        """Return up to `limit` subscriptions whose names come after this one, in order; unreadable rows are logged."""
        # Of all characters in names the dash comes first: no name lies between `after` and `after-`.
        first = f"{after}-" if after else ""
        page: list[StoredSubscription] = []
        rows = (await self._table()).query(PARTITION, first, in_order=True)
        async with aclosing(cast(Any, rows)):
            async for entity in rows:
                try:
                    page.append(_stored(entity))
                except SubscriptionUnreadable as error:
                    logger.error("%s", error)  # noqa: TRY400 - the message says it all
                if len(page) == limit:
                    break
        return page

    async def create(self, new: StoredSubscription) -> StoredSubscription:
        """Add a subscription. Raises TableConflict where the name is taken, and IdentityTaken."""
        await self._claim(new.name, new.proofs, new.changed_at)
        return await self._commit(Insert(_entity(new)), new)

    async def change(self, old: StoredSubscription, new: StoredSubscription) -> StoredSubscription:
        """Put `new` in place of `old`, as it was read. Raises IdentityTaken."""
        gone = await self._index.pointers(old.proofs - new.proofs, old.name)
        await self._claim(new.name, new.proofs - old.proofs, new.changed_at)
        changed = await self._commit(Replace(_entity(new)), new)
        await self._index.release(gone)
        return changed

    async def remove(self, old: StoredSubscription) -> None:
        """Remove a subscription as it was read: from here on none of its keys is believed."""
        gone = await self._index.pointers(old.proofs, old.name)
        try:
            await (await self._table()).transact([Delete(PARTITION, old.name, old.etag)])
        except TableError:
            if await (await self._table()).get(PARTITION, old.name) is not None:
                raise
        await self._index.release(gone)

    async def _claim(self, name: str, proofs: frozenset[Proof], now: datetime) -> None:
        for proof in sorted(proofs, key=repr):
            await self._index.claim(proof, name, now, self._lists)

    async def _lists(self, name: str, identity: str) -> bool:
        entity = await (await self._table()).get(PARTITION, name)
        return entity is not None and identity in _stored(entity).entitlement.identities

    async def _commit(self, write: Operation, new: StoredSubscription) -> StoredSubscription:
        try:
            (etag,) = await (await self._table()).transact([write])
        except TableError:
            found = await self.get(new.name)
            if found != new:
                raise
            return found
        return replace(new, etag=etag)

    async def _table(self) -> Table:
        if self._opened is None:
            self._opened = await self._tables.table(TABLE)
        return self._opened


def _entity(stored: StoredSubscription) -> Entity:
    fields = stored.entitlement.model_dump_json(exclude_defaults=True)
    values: dict[str, Value] = {
        "version": VERSION,
        "fields": fields,
        "primary": stored.primary,
        "secondary": stored.secondary,
        "created_at": stored.created_at,
        "changed_at": stored.changed_at,
        "primary_at": stored.primary_at,
        "secondary_at": stored.secondary_at,
    }
    return Entity(PARTITION, stored.name, values, stored.etag)


def _stored(entity: Entity) -> StoredSubscription:
    values: dict[str, Any] = dict(entity.values)
    try:
        _check_version(values.pop("version"))
        entitlement = Entitlement.model_validate_json(values.pop("fields"))
        return StoredSubscription(entity.row, entitlement, etag=entity.etag, **values)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error.error_count()} fields" if isinstance(error, ValidationError) else str(error)
        raise SubscriptionUnreadable(f"The row of subscription {entity.row} cannot be read: {reason}.") from error


def _check_version(version: Value) -> None:
    if version != VERSION:
        raise ValueError(f"it has version {version!r}, and {VERSION} is known here")
