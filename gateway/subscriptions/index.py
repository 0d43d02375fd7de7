"""From a key's digest or an identity to the name of the subscription that may hold it.

Table `subscriptionindex`: PartitionKey is the SHA-256 in hexadecimal of the key or of the identity, RowKey is `key` or
`identity`, columns are `name` and `claimed_at`. A row here is a hint and no right: whoever follows it believes it only
where the subscription's own row holds the digest or lists the identity. So a row that a crash left behind does nothing.

A claim is written before the subscription's row, and taken back after it. Two subscriptions that claim one identity at
the same moment are told apart by the claim's age: one younger than LEASE is another's change under way. A change takes
less than that.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.errors import IdentityTaken, SubscriptionsUnavailable
from seams.tables import Delete, Entity, Insert, Operation, Replace, Table, TableConflict, TableError, Tables, Value

TABLE = "subscriptionindex"
LEASE = timedelta(seconds=60)
ATTEMPTS = 20
"""Of rivals for one identity each attempt lets one through."""

type Proof = bytes | str
"""What a caller proves itself by: the SHA-256 of a key, or an identity such as `oid:...`."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pointer:
    """`name` is whose the proof may be; `etag` is that of the row."""

    proof: Proof
    name: str
    claimed_at: datetime
    etag: str | None


type Listed = Callable[[str, str], Awaitable[bool]]
"""Tells whether the subscription of this name lists this identity."""


class SubscriptionIndex:
    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._opened: Table | None = None

    async def find(self, proof: Proof) -> Pointer | None:
        """Return what the index knows. Raises TableUnavailable."""
        entity = await (await self._table()).get(*_place(proof))
        if entity is None:
            return None
        name, claimed_at = entity.values.get("name"), entity.values.get("claimed_at")
        if not isinstance(name, str) or not isinstance(claimed_at, datetime):
            return None
        return Pointer(proof, name, claimed_at, entity.etag)

    async def claim(self, proof: Proof, name: str, now: datetime, listed: Listed) -> Pointer:
        """Let the proof point to this name. Raises IdentityTaken, SubscriptionsUnavailable, TableUnavailable."""
        table = await self._table()
        for _ in range(ATTEMPTS):
            found = await self.find(proof)
            if found is not None and found.name != name and await _is_taken(found, now, listed):
                raise IdentityTaken(f"{found.name} has the identity {found.proof!r} or is being given it.")
            try:
                (etag,) = await table.transact([_pointing(proof, name, now, found)])
            except TableConflict:
                continue
            return Pointer(proof, name, now, etag)
        raise SubscriptionsUnavailable("Others are changing the same identity; try again.")

    async def pointers(self, proofs: Iterable[Proof], name: str) -> list[Pointer]:
        """Return the rows of these proofs that point to this name. Raises TableUnavailable."""
        found = [await self.find(proof) for proof in proofs]
        return [pointer for pointer in found if pointer is not None and pointer.name == name]

    async def release(self, pointers: Iterable[Pointer]) -> None:
        """Remove these rows as they were read; what cannot be removed stays, and nobody believes it."""
        for pointer in pointers:
            try:
                await (await self._table()).transact([Delete(*_place(pointer.proof), pointer.etag)])
            except TableError as error:
                logger.info("an index row of subscription %s stays behind: %s", pointer.name, error)

    async def _table(self) -> Table:
        if self._opened is None:
            self._opened = await self._tables.table(TABLE)
        return self._opened


async def _is_taken(found: Pointer, now: datetime, listed: Listed) -> bool:
    if isinstance(found.proof, bytes):
        return False  # a key is random: its row can only be this subscription's own
    return now - found.claimed_at < LEASE or await listed(found.name, found.proof)


def _pointing(proof: Proof, name: str, now: datetime, found: Pointer | None) -> Operation:
    partition, row = _place(proof)
    values: dict[str, Value] = {"name": name, "claimed_at": now}
    return (
        Insert(Entity(partition, row, values)) if found is None else Replace(Entity(partition, row, values, found.etag))
    )


def _place(proof: Proof) -> tuple[str, str]:
    if isinstance(proof, bytes):
        return proof.hex(), "key"
    # An identity may hold characters that no table takes for a key.
    return hashlib.sha256(proof.encode()).hexdigest(), "identity"
