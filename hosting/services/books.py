"""What chargeback is made of, built from the settings: the ledger and all that reads or mends what it wrote."""

import random
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from chargeback.closing.close_of_day import CloseOfDay
from chargeback.closing.closing import Closing
from chargeback.closing.retention import Retention
from chargeback.deadletters.requeueing import DeadLetters
from chargeback.ledger.ledger import Ledger
from chargeback.orphans.sweep import OrphanSweep
from chargeback.prices import Prices
from chargeback.statements.statements import Statements
from gateway.routing import affinity
from hosting.services.site import Site
from hosting.services.subscriptions import Subscriptions
from seams.events import EventStream
from seams.tables import Tables


@dataclass(frozen=True, slots=True)
class Books:
    ledger: Ledger
    orphan_sweep: OrphanSweep
    statements: Statements
    dead_letters: DeadLetters
    closing: Closing
    close_of_day: CloseOfDay


def build_books(site: Site, tables: Tables, stream: EventStream, prices: Prices, subscriptions: Subscriptions) -> Books:
    """Return the parts; `stream` is the hub of usage events. Nothing is connected to."""
    settings, clock = site.settings, site.clock
    orphan_after = timedelta(seconds=settings.orphan_after_seconds)
    retention = timedelta(days=settings.retention_days)
    closing = Closing(tables, stream, clock, days=settings.retention_days, detail_rows=settings.detail_rows)
    return Books(
        ledger=Ledger(
            tables,
            prices,
            stream.incarnation,
            detail_rows=settings.detail_rows,
            orphan_after=orphan_after,
            retention=retention,
            clock=clock,
        ),
        orphan_sweep=OrphanSweep(tables, prices, stream, clock, after=orphan_after, uniform=random.random),
        statements=Statements(tables, prices, subscriptions.known),
        dead_letters=DeadLetters(tables, stream, clock, retention),
        closing=closing,
        close_of_day=CloseOfDay(
            closing.run,
            Retention(tables, clock, settings.retention_days).run,
            partial(affinity.forget, tables, clock),
        ),
    )
