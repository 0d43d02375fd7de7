"""Budgets and quotas go by the same prices and sums as the statement."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from chargeback.ledger.ledger import Ledger
from chargeback.prices import Prices
from chargeback.statements.statements import Statements
from gateway import usage
from gateway.limits.costs import Costs
from gateway.limits.limits import MONEY_UNIT
from gateway.usage import Meters, UsageEvent
from hosting.services.charges import RollupCharges, StatementPricing
from local.tables import SQLiteTables
from seams.clock import SystemClock
from seams.events import ReceivedEvent
from tests.chargeback.staging import everybody
from tests.gateway.event import an_event

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


class At:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return SystemClock().monotonic()


def event(number: int, **fields: Any) -> UsageEvent:
    meters = Meters(prompt_tokens=1001 + number, cached_tokens=300, completion_tokens=77)
    return an_event(f"event-{number}", **{"time": NOW, "meters": meters} | fields)


EVENTS = [
    *(event(number) for number in range(30)),
    event(40, deployment_type="datazone"),
    event(41, deployment_type="ptu"),
    event(42, deployment="embed", model="text-embedding-3-small", meters=Meters(prompt_tokens=12345)),
    event(43, model="no-such-model"),
    event(44, service_tier="priority"),
    event(45, time=NOW - timedelta(days=6)),
    event(46, time=NOW - timedelta(days=30)),
]


async def test_budgets_agree_with_the_statement(tmp_path: Path) -> None:
    """The sum of what events cost, and the sum that a restart begins with, are the statement's total to the cent."""
    tables, prices = SQLiteTables(tmp_path / "tables.db"), Prices()

    async def incarnation() -> str:
        return "hub"

    ledger = Ledger(tables, prices, incarnation, detail_rows=False)
    await ledger.collect([ReceivedEvent(usage.encode(each), "0", number, NOW) for number, each in enumerate(EVENTS)])
    november = [each for each in EVENTS if each.time.month == 11]
    statement = await Statements(tables, prices, everybody).month("team-a", "2026-11")
    charges = RollupCharges(tables, prices, At())
    tokens, amount = await charges.used("team-a", None, date(2026, 11, 1))
    assert amount.quantize(Decimal("0.000001")) == Decimal(statement.total).quantize(Decimal("0.000001"))
    assert tokens == statement.tokens.prompt_tokens + statement.tokens.completion_tokens
    settled = sum(Costs(StatementPricing(prices)).of([each]) for each in november) * MONEY_UNIT
    assert abs(settled - Decimal(statement.total)) < Decimal("0.0000001")
    assert (await charges.used("team-a", "embed", date(2026, 11, 1)))[0] == 12345
    *_, last_week, last_month = (each.meters.prompt_tokens + each.meters.completion_tokens for each in EVENTS)
    assert (await charges.used("team-a", None, date(2026, 11, 16)))[0] == tokens - last_week
    assert (await charges.used("team-a", None, date(2026, 10, 1)))[0] == tokens + last_month
    await tables.close()
