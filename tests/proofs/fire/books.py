"""What the ledger wrote, read back from the store."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from chargeback.closing.closing import Closing
from chargeback.closing.hub import Hub
from chargeback.closing.proofs import Proof
from chargeback.lanes.lanes import LANES
from chargeback.ledger.details import USAGE
from chargeback.ledger.rollups import METERS, ROLLUPS, from_entity
from seams.clock import SystemClock
from seams.tables import Tables
from tests.chargeback.staging import rows
from tests.proofs.fire.plan import Totals


@dataclass(frozen=True)
class Books:
    """`totals` from the rollups, `details` the number of detail rows; of the lane journal, records taken and gaps.

    `open_calls` are intents without an end.
    """

    totals: Totals
    details: int
    records: int
    missing: int
    open_calls: int


async def read_books(tables: Tables) -> Books:
    totals = await read_totals(tables)
    journal: Counter[str] = Counter()
    for row in await rows(tables, LANES):
        journal["open"] += row.row.startswith("open|")
        if row.row.startswith("day|"):
            for name in ("usage_events", "intents", "withdrawals", "dead_letters", "missing"):
                journal[name] += int(str(row.values.get(name, 0)))
    records = sum(journal[name] for name in ("usage_events", "intents", "withdrawals", "dead_letters"))
    return Books(totals, len(await rows(tables, USAGE)), records, journal["missing"], journal["open"])


class Tomorrow(SystemClock):
    """The clock of the night after, when today is over."""

    def now(self) -> datetime:
        return super().now() + timedelta(days=1)


async def close_days(tables: Tables, hub: Hub) -> list[Proof]:
    """Close every day up to today, as the app's timer would do after midnight; return the proofs."""
    return await Closing(tables, hub, Tomorrow(), days=90).run()


async def read_totals(tables: Tables) -> Totals:
    totals: Totals = Counter()
    for row in await rows(tables, ROLLUPS):
        rollup = from_entity(row)
        subscription = rollup.names.subscription
        totals[subscription, "events"] += rollup.events
        for meter, count in zip(METERS, rollup.meters, strict=True):
            if count:
                totals[subscription, meter] += count
    return totals
