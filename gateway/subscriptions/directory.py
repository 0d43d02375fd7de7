"""Subscriptions of the catalog and of the table, kept near.

The catalog comes first and costs nothing; a name that it holds is its own, and a row of that name is not believed. A
row of the table is kept for `ttl` seconds from the moment it was asked for, and asked for again ahead of that, beside
the requests: a key that was revoked or rotated anywhere stops within `ttl`, and a subscription in use never waits for
storage. Keys and identities that nobody holds are remembered as long.

While storage does not answer, what is known goes on for `grace` seconds past `ttl`; the rest is told to come back: 503.

Wrong keys can do no harm: one that is not of our making is refused by its shape, the others are looked up at a bounded
rate, and what is remembered of them has a place of its own.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import batched

from gateway.catalog.catalog import Catalog
from gateway.errors import SubscriptionsUnavailable, TooManyLookups
from gateway.identity.callers import Caller
from gateway.identity.keys import digest_of, well_formed
from gateway.subscriptions.catalog_directory import CatalogDirectory
from gateway.subscriptions.index import Proof
from gateway.subscriptions.lookups import LookupRules, Lookups
from gateway.subscriptions.store import StoredSubscription, SubscriptionStore
from seams.clock import Clock

MOST_IDENTITIES = 256
"""Of one token; an Entra ID token names at most 200 groups."""

TOGETHER = 8
"""Identities of one token that are looked up at a time."""


@dataclass(frozen=True, slots=True)
class DirectoryRules:
    """`ttl` and `grace` in seconds; `known` and `absent` bound what is kept, in keys and identities.

    `misses_per_second` and `burst` bound the look-ups of keys that nobody here has seen.
    """

    ttl: float = 30.0
    grace: float = 3600.0
    known: int = 50_000
    absent: int = 10_000
    misses_per_second: float = 200.0
    burst: float = 1000.0
    lookups: LookupRules = field(default_factory=LookupRules)


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    name: str
    proofs: frozenset[Proof]
    refresh_at: float
    stale_at: float


class StoredDirectory:
    """A Directory; `clock` tells monotonic seconds. Made for one event loop, in which `close` is awaited."""

    def __init__(
        self, catalog: Catalog, store: SubscriptionStore, clock: Clock, rules: DirectoryRules | None = None
    ) -> None:
        self._catalog = CatalogDirectory(catalog)
        self._read_only = catalog.subscriptions.keys()
        self._store = store
        self._clock = clock
        self._rules = rules or DirectoryRules()
        self._lookups = Lookups(clock, self._rules.lookups)
        self._known: dict[Proof, _Known] = {}
        self._names: dict[str, _Known] = {}  # the longest unasked first
        self._absent_keys = _Absent(self._rules.absent)
        self._absent_identities = _Absent(self._rules.absent)
        self._misses = _Allowance(self._rules.misses_per_second, self._rules.burst)

    async def holder(self, key: bytes) -> Caller | None:
        digest = digest_of(key)
        caller = self._catalog.by_digest(digest)
        if caller is not None:
            return caller
        known = self._known.get(digest)
        if known is not None and self._clock.monotonic() < known.refresh_at:
            return known.caller
        return await self._look(digest) if known is not None or well_formed(key) else None

    async def member(self, identities: Sequence[str]) -> Caller | None:
        asked: list[str] = []
        last: Caller | None = None
        for identity in identities[:MOST_IDENTITIES]:
            last = self._catalog.by_identity(identity)
            if last is not None:
                break
            asked.append(identity)
        for together in batched(asked, TOGETHER, strict=False):
            callers = await asyncio.gather(*map(self._look, together))
            if found := next((caller for caller in callers if caller is not None), None):
                return found
        return last

    def forget(self, name: str, proofs: frozenset[Proof]) -> None:
        """Ask anew for a subscription that was changed here, and for these keys and identities."""
        self._lookups.ask_again()
        self._drop(name)
        for proof in proofs:
            self._absent(proof).drop(proof)

    async def close(self) -> None:
        await self._lookups.close()

    async def _look(self, proof: Proof) -> Caller | None:
        now = self._clock.monotonic()
        known = self._known.get(proof)
        if known is None:
            return None if self._absent(proof).holds(proof, now) else await self._find(proof, now)
        if now < known.refresh_at:
            return known.caller
        asking = self._lookups.ask(
            proof, lambda: self._store.get(known.name), lambda stored: self._renew(known.name, stored, now)
        )
        if now < known.stale_at:
            return known.caller
        # Shielded: one waiter's leaving must not end the question for the others.
        if asking is not None and await asyncio.shield(asking):
            found = self._known.get(proof)
            return found.caller if found is not None else await self._find(proof, now)
        if now < known.stale_at + self._rules.grace:
            return known.caller
        raise _unavailable()

    async def _find(self, proof: Proof, now: float) -> Caller | None:
        if isinstance(proof, bytes) and proof not in self._lookups and not self._misses.take(now):
            raise TooManyLookups("Too many unknown keys are being looked up at the moment; try again in a second.")
        asking = self._lookups.ask(
            proof, lambda: self._store.holder(proof), lambda stored: self._discovered(proof, stored, now)
        )
        if asking is None or not await asyncio.shield(asking):
            raise _unavailable()
        found = self._known.get(proof)
        return None if found is None else found.caller

    def _renew(self, name: str, stored: StoredSubscription | None, asked_at: float) -> None:
        self._drop(name)
        if stored is not None:
            self._remember(stored, asked_at)

    def _discovered(self, proof: Proof, stored: StoredSubscription | None, asked_at: float) -> None:
        if stored is None or stored.name in self._read_only:
            self._absent(proof).add(proof, asked_at + self._rules.ttl)
        else:
            self._remember(stored, asked_at)

    def _remember(self, stored: StoredSubscription, asked_at: float) -> None:
        ttl = self._rules.ttl
        # Counted from the question: an answer may be old by the time it is here.
        known = _Known(
            Caller(stored.subscription()), stored.name, stored.proofs, asked_at + ttl / 2, stale_at=asked_at + ttl
        )
        self._drop(stored.name)
        self._names[stored.name] = known
        self._known.update(dict.fromkeys(known.proofs, known))
        while len(self._known) > self._rules.known:
            self._drop(next(iter(self._names)))

    def _drop(self, name: str) -> None:
        known = self._names.pop(name, None)
        for proof in known.proofs if known is not None else ():
            if self._known.get(proof) is known:
                del self._known[proof]

    def _absent(self, proof: Proof) -> "_Absent":
        return self._absent_keys if isinstance(proof, bytes) else self._absent_identities


class _Absent:
    """Keys or identities that nobody held when asked, each until a time; at most `size`, the oldest go first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._until: dict[Proof, float] = {}

    def holds(self, proof: Proof, now: float) -> bool:
        return now < self._until.get(proof, now)

    def add(self, proof: Proof, until: float) -> None:
        self.drop(proof)
        self._until[proof] = until
        if len(self._until) > self._size:
            del self._until[next(iter(self._until))]

    def drop(self, proof: Proof) -> None:
        self._until.pop(proof, None)


class _Allowance:
    """So many a second, and so many at once after a quiet time."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._at = 0.0

    def take(self, now: float) -> bool:
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _unavailable() -> SubscriptionsUnavailable:
    return SubscriptionsUnavailable(
        "Whose key or identity this is cannot be found out at the moment: the tables do not answer. Try again."
    )
