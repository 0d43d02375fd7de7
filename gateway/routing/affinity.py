"""Where a stored response lives: the one backend that can continue, show, cancel or delete it.

Other resources answer 404 to its id, and `invalid_encrypted_content` to a reasoning item that it encrypted. An id also
belongs to the subscription that made it, and to nobody else: upstream, all subscriptions share one credential.

What this instance learned is kept in memory; a row per id, written behind the caller's last byte, tells the others.
Storage is read only for a request that names an id which this instance has not seen.

Table `affinity`: PartitionKey `{window}-{hexadecimal digit}`, RowKey the SHA-256 of the id, columns those of Home.
Azure keeps a stored response for 30 days ("Azure OpenAI Responses API"), so one that lives was made in this window of
31 days or in the one before; the rows of earlier ones are deleted.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from dataclasses import asdict
from datetime import datetime
from string import hexdigits
from typing import Final

from gateway.call import Call
from gateway.requests import operations
from gateway.routing.home import Home
from gateway.routing.resources import made_in
from seams.clearing import RowRange, clear
from seams.clock import Clock
from seams.tables import Entity, TableError, Tables, Upsert

TABLE = "affinity"
MOST_KEPT = 50_000
READ_SECONDS = 2.0
WRITE_SECONDS = 5.0
FORGET_SECONDS = 120.0
_WINDOW_DAYS: Final = 31
_WINDOWS_BACK: Final = 4  # a timer that stood still for three months still finds the rows
_DIGITS: Final = hexdigits[:16]
logger = logging.getLogger(__name__)


class Affinity:
    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock
        self._homes: OrderedDict[str, Home] = OrderedDict()

    async def home(self, resource: str) -> Home | None:
        """Return where a response or a reasoning item lives; None where nobody knows, or storage does not answer."""
        home = self._homes.get(resource)
        if home is not None:
            return home
        try:
            async with asyncio.timeout(READ_SECONDS):
                entity = await self._read(resource)
        except (TableError, TimeoutError) as error:
            logger.warning("Where %s lives could not be read: %s", resource[:80], error)
            return None
        if entity is None:
            return None
        values = entity.values
        home = Home(
            str(values["subscription"]),
            str(values["deployment"]),
            str(values["backend"]),
            background=bool(values["background"]),
        )
        self._keep(resource, home)
        return home

    async def _read(self, resource: str) -> Entity | None:
        table = await self._tables.table(TABLE)
        window = _window(self._clock.now())
        return await table.get(*_key(resource, window)) or await table.get(*_key(resource, window - 1))

    def learn(self, call: Call) -> None:
        """Note in memory what an answer made; to be called before the caller can have seen all of it."""
        if call.target.operation != operations.RESPONSES or call.attempt is None:
            return
        home = _home(call)
        for resource in _made(call):
            self._keep(resource, home)

    async def save(self, call: Call) -> None:
        """Tell the other instances; where storage fails, this one alone knows."""
        if call.target.operation != operations.RESPONSES or call.attempt is None:
            return
        home = _home(call)
        window = _window(self._clock.now())
        rows = [Upsert(Entity(*_key(resource, window), asdict(home))) for resource in _made(call)]
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                table = await self._tables.table(TABLE)
                await asyncio.gather(*(table.transact([row]) for row in rows))
        except (TableError, TimeoutError) as error:
            logger.warning("%s: where its response lives was not written: %s", call.id, error)

    def _keep(self, resource: str, home: Home) -> None:
        self._homes[resource] = home
        self._homes.move_to_end(resource)
        if len(self._homes) > MOST_KEPT:
            self._homes.popitem(last=False)


async def forget(tables: Tables, clock: Clock) -> int:
    """Delete rows of responses that no backend keeps any more, for at most FORGET_SECONDS; return how many.

    Raises TableUnavailable.
    """
    table = await tables.table(TABLE)
    until = clock.monotonic() + FORGET_SECONDS
    window = _window(clock.now())
    over = [RowRange(f"{old}-{digit}") for old in range(window - _WINDOWS_BACK, window - 1) for digit in _DIGITS]
    return sum([(await clear(table, rows, clock, until))[0] for rows in over])


def _made(call: Call) -> list[str]:
    if call.reader is not None:
        return call.reader.resources
    return made_in(call.attempt.body or b"") if call.attempt is not None else []


def _home(call: Call) -> Home:
    return Home(
        call.subscription.name, call.deployment.name, call.member.backend.name, background=bool(call.peek.background)
    )


def _window(now: datetime) -> int:
    return now.toordinal() // _WINDOW_DAYS


def _key(resource: str, window: int) -> tuple[str, str]:
    # Callers choose what they ask for; a hash is a key that every store takes, and spreads over partitions.
    digest = hashlib.sha256(resource.encode()).hexdigest()
    return f"{window}-{digest[0]}", digest
