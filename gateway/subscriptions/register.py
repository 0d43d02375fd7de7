"""What operators do with subscriptions: create, show, list, change, rotate a key, revoke.

Those of the catalog are shown and never changed here. Each change is one line in the audit log: who did what to which
subscription, and no key.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from gateway.catalog.catalog import Catalog, Subscription
from gateway.errors import (
    SubscriptionChanged,
    SubscriptionExists,
    SubscriptionInvalid,
    SubscriptionNotFound,
    SubscriptionReadOnly,
    SubscriptionsUnavailable,
)
from gateway.identity.keys import Slot, digest_of, new_key
from gateway.subscriptions.directory import StoredDirectory
from gateway.subscriptions.entitlement import Entitlement, problem
from gateway.subscriptions.store import LONGEST_FIELDS, StoredSubscription, SubscriptionStore
from seams.clock import Clock
from seams.tables import TableConflict

MOST_IDENTITIES = 100
"""Of one subscription: each is a row of the index, written one after the other."""

CHANGE_SECONDS = 30.0
"""For one change; less than the lease of a claimed identity."""

ATTEMPTS = 5

audit = logging.getLogger("tollgate.audit")

type Version = str | None
"""What `If-Match` holds; None where any version will do."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """A subscription and the keys that were made for it, which nobody can show again."""

    stored: StoredSubscription
    keys: Mapping[Slot, str] = field(repr=False)


class SubscriptionRegister:
    """`random_bytes` returns so many unpredictable bytes: os.urandom but in tests.

    Everything raises TableUnavailable where the tables do not answer. Whether a change took place is then unknown:
    look, and rotate the keys that nobody has seen.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: SubscriptionStore,
        directory: StoredDirectory,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._directory = directory
        self._clock = clock
        self._random_bytes = random_bytes
        audit.setLevel(logging.INFO)  # whatever LOG_LEVEL says: it governs what is logged for diagnosis

    async def show(self, name: str) -> StoredSubscription | Subscription:
        """Return a subscription of the table or, where the catalog has the name, of the catalog.

        Raises SubscriptionNotFound.
        """
        return self._catalog.subscriptions.get(name) or await self._stored(name)

    async def page(self, after: str, limit: int) -> list[StoredSubscription | Subscription]:
        """Return up to `limit` subscriptions whose names come after this one, in the order of their names."""
        stored = await self._store.page(after, limit)
        merged: dict[str, StoredSubscription | Subscription] = {each.name: each for each in stored}
        merged |= {name: each for name, each in self._catalog.subscriptions.items() if name > after}
        return [merged[name] for name in sorted(merged)][:limit]

    async def create(self, name: str, entitlement: Entitlement, actor: str) -> Keyed:
        """Raises SubscriptionExists, SubscriptionInvalid, IdentityTaken."""
        if name in self._catalog.subscriptions:
            raise SubscriptionExists(f"The catalog has a subscription {name}; it is changed there.", param="name")
        self._check(name, entitlement)
        keys: dict[Slot, str] = {"primary": new_key(self._random_bytes), "secondary": new_key(self._random_bytes)}
        primary, secondary = (digest_of(key.encode()) for key in keys.values())
        now = self._clock.now()
        new = StoredSubscription(name, entitlement, primary, secondary, now, now, now, now)
        async with _in_time():
            if await self._store.get(name) is not None:
                raise _exists(name)
            try:
                created = await self._store.create(new)
            except TableConflict as error:
                raise _exists(name) from error
        self._changed(created, actor, "created")
        return Keyed(created, keys)

    async def change(self, name: str, patch: Mapping[str, Any], expected: Version, actor: str) -> StoredSubscription:
        """Change fields by a JSON merge patch (RFC 7396).

        Raises SubscriptionNotFound, SubscriptionReadOnly, SubscriptionChanged, SubscriptionInvalid, IdentityTaken.
        """

        def patched(old: StoredSubscription) -> StoredSubscription:
            fields = merged(old.entitlement.model_dump(mode="json", exclude_defaults=True), patch)
            entitlement = _entitlement(fields)
            self._check(name, entitlement)
            return replace(old, entitlement=entitlement, changed_at=self._clock.now())

        return await self._replaced(name, patched, expected, actor, f"changed {', '.join(sorted(patch)) or 'nothing'}")

    async def rotate(self, name: str, slot: Slot, expected: Version, actor: str) -> Keyed:
        """Put a new key in place of one of the two; the other stays as it is. Raises as `change` does."""
        key = new_key(self._random_bytes)
        digest = digest_of(key.encode())

        def rotated(old: StoredSubscription) -> StoredSubscription:
            now = self._clock.now()
            if slot == "primary":
                return replace(old, primary=digest, primary_at=now, changed_at=now)
            return replace(old, secondary=digest, secondary_at=now, changed_at=now)

        return Keyed(await self._replaced(name, rotated, expected, actor, f"rotated {slot} key"), {slot: key})

    async def revoke(self, name: str, expected: Version, actor: str) -> None:
        """Remove the subscription and its keys; statements stay. Raises as `change` does."""
        async with _in_time():
            for _ in range(ATTEMPTS):
                old = await self._expected(name, expected)
                try:
                    await self._store.remove(old)
                except TableConflict:
                    continue
                self._changed(old, actor, "revoked")
                return
        raise _busy(name)

    async def _replaced(
        self,
        name: str,
        changed: Callable[[StoredSubscription], StoredSubscription],
        expected: Version,
        actor: str,
        deed: str,
    ) -> StoredSubscription:
        async with _in_time():
            for _ in range(ATTEMPTS):
                old = await self._expected(name, expected)
                try:
                    new = await self._store.change(old, changed(old))
                except TableConflict:
                    continue  # read again: where a version was asked for, that one is gone
                self._directory.forget(name, old.proofs)
                self._changed(new, actor, deed)
                return new
        raise _busy(name)

    async def _expected(self, name: str, expected: Version) -> StoredSubscription:
        if name in self._catalog.subscriptions:
            raise SubscriptionReadOnly(f"The subscription {name} is in the catalog; it is changed there.")
        stored = await self._stored(name)
        versions = None if expected is None else [each.strip() for each in expected.split(",")]
        if versions is not None and "*" not in versions and version_of(stored) not in versions:
            raise SubscriptionChanged(f"The subscription {name} has another version than If-Match asks for.")
        return stored

    async def _stored(self, name: str) -> StoredSubscription:
        stored = await self._store.get(name)
        if stored is None:
            raise SubscriptionNotFound(f"There is no subscription {name}.")
        return stored

    def _check(self, name: str, entitlement: Entitlement) -> None:
        problems = [
            ("deployments", f"no deployment {unknown!r}")
            for unknown in entitlement.unknown_deployments(self._catalog.deployments)
        ]
        for holder in self._catalog.subscriptions.values():
            both = set(entitlement.identities).intersection(holder.identities)
            problems += [("identities", f"the catalog's {holder.name} lists {identity}") for identity in sorted(both)]
        if len(entitlement.identities) > MOST_IDENTITIES:
            problems.append(("identities", f"a subscription has at most {MOST_IDENTITIES}"))
        if len(entitlement.model_dump_json(exclude_defaults=True)) > LONGEST_FIELDS:
            problems.append(("", f"the fields of {name} are over {LONGEST_FIELDS} characters of JSON"))
        if problems:
            raise _invalid(problems)

    def _changed(self, stored: StoredSubscription, actor: str, deed: str) -> None:
        self._directory.forget(stored.name, stored.proofs)
        audit.info("subscription=%s deed=%r by=%s", stored.name, deed, actor)


def version_of(stored: StoredSubscription) -> str:
    """Return the row's version as an HTTP entity tag; what the store's own looks like is nobody's business."""
    return f'"{hashlib.sha256((stored.etag or "").encode()).hexdigest()[:32]}"'


def merged(document: Any, patch: Any) -> Any:
    """Return the document changed by a JSON merge patch: null takes a key away, an object goes deeper."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(document) if isinstance(document, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _entitlement(fields: object) -> Entitlement:
    try:
        return Entitlement.model_validate(fields)
    except ValidationError as error:
        problems = [(str(details["loc"][0]), problem("", details)) for details in error.errors(include_url=False)]
        raise SubscriptionInvalid("; ".join(text for _, text in problems), param=problems[0][0]) from error


def _invalid(problems: list[tuple[str, str]]) -> SubscriptionInvalid:
    message = "; ".join(f"{field}: {reason}" if field else reason for field, reason in problems)
    return SubscriptionInvalid(message, param=problems[0][0] or None)


def _exists(name: str) -> SubscriptionExists:
    return SubscriptionExists(f"There is a subscription {name} already.", param="name")


def _busy(name: str) -> SubscriptionsUnavailable:
    return SubscriptionsUnavailable(f"Others are changing the subscription {name}; try again.")


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(CHANGE_SECONDS):
            yield
    except TimeoutError as error:
        raise SubscriptionsUnavailable("The tables are slow; whether the change took place is unknown.") from error
