"""A month's statement: counts, money, and what has no price."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from chargeback.errors import PeriodInvalid
from chargeback.ledger.ledger import Ledger
from chargeback.prices import Prices
from chargeback.statements.models import Statement
from chargeback.statements.statements import Statements
from gateway.usage import Meters, UsageEvent, encode
from seams.events import ReceivedEvent
from seams.tables import Tables
from tests.chargeback.staging import NOTHING_AVOIDED, Deliver, everybody

type MakeEvent = Callable[..., UsageEvent]


async def incarnation() -> str:
    return "1"


async def statement_of(tables: Tables, prices: Prices, events: Sequence[UsageEvent]) -> Statement:
    batch = [
        ReceivedEvent(encode(event), str(n % 2), n, datetime(2026, 11, 30, tzinfo=UTC))
        for n, event in enumerate(events)
    ]
    await Ledger(tables, prices, incarnation).collect(batch)
    return await Statements(tables, prices, everybody).month("service-desk", "2026-11")


async def test_wire_contract(tables: Tables, prices: Prices, make_event: MakeEvent) -> None:
    """Fields, their names and their JSON types are those of the contract; lanes are summed."""
    statement = await statement_of(tables, prices, [make_event() for _ in range(3)] + [make_event(estimated=True)])

    assert json.loads(statement.model_dump_json()) == {
        "subscription": "service-desk",
        "period": "2026-11",
        "currency": "USD",
        # 4 x (80 x 2.50 + 20 x 1.25 + 10 x 10) millionths
        "total": "0.0013000000",
        "requests": 4,
        "tokens": {"prompt_tokens": 400, "cached_tokens": 80, "completion_tokens": 40, "reasoning_tokens": 20},
        "avoided": NOTHING_AVOIDED,
        "lines": [
            {
                "day": "2026-11-20",
                "deployment": "gpt-4o",
                "model": "gpt-4o-2024-08-06",
                "requests": 4,
                "estimated_requests": 1,
                "orphaned_requests": 0,
                "further_attempts": 0,
                "prompt_tokens": 400,
                "cached_tokens": 80,
                "completion_tokens": 40,
                "reasoning_tokens": 20,
                "images": 0,
                "characters": 0,
                "audio_milliseconds": 0,
                "provisioned_requests": 0,
                "unpriced_requests": 0,
                "amount": "0.0013000000",
                "avoided": NOTHING_AVOIDED,
            }
        ],
        "unpriced": [],
    }


async def test_lines_are_by_day_deployment_and_model_in_order(
    tables: Tables, prices: Prices, make_event: MakeEvent
) -> None:
    """Each day, deployment and model is one line, sorted; other months and subscriptions are not in it."""
    events = [
        make_event(time=datetime(2026, 11, day, 23, 59, tzinfo=UTC), deployment=deployment, model=model)
        for day in (30, 1)
        for deployment, model in (("b", "gpt-4o"), ("a", "gpt-4o-mini"), ("a", "gpt-4o"))
    ]
    others = [make_event(time=datetime(2026, 10, 31, 23, 59, tzinfo=UTC)), make_event(subscription="service-desk2")]

    statement = await statement_of(tables, prices, [*others, *events])

    assert [(line.day.day, line.deployment, line.model) for line in statement.lines] == [
        (day, *names) for day in (1, 30) for names in (("a", "gpt-4o"), ("a", "gpt-4o-mini"), ("b", "gpt-4o"))
    ]
    assert statement.requests == 6


async def test_tiers_are_priced_before_they_are_summed(tables: Tables, prices: Prices, make_event: MakeEvent) -> None:
    """One line holds spillover, priority and long prompts, each at its own price."""
    events = [
        make_event(model="gpt-4o", meters=Meters(prompt_tokens=1_000_000), deployment_type="ptu"),
        make_event(model="gpt-4o", meters=Meters(prompt_tokens=1_000_000), deployment_type="datazone"),
        make_event(model="gpt-4o", meters=Meters(prompt_tokens=1_000_000), service_tier="priority"),
    ]

    statement = await statement_of(tables, prices, events)

    (line,) = statement.lines
    assert Decimal(line.amount) == Decimal("2.75") + Decimal("4.25")
    assert (line.requests, line.provisioned_requests, line.prompt_tokens) == (3, 1, 3_000_000)


async def test_long_prompts_are_priced_by_request_not_by_day(
    tables: Tables, prices: Prices, make_event: MakeEvent
) -> None:
    """Two short prompts that add up to a long one cost what short ones cost."""
    short = [make_event(model="gpt-5.4", meters=Meters(prompt_tokens=200_000)) for _ in range(2)]
    long = make_event(model="gpt-5.4", meters=Meters(prompt_tokens=400_000), deployment="long")

    statement = await statement_of(tables, prices, [*short, long])

    amounts = {line.deployment: Decimal(line.amount) for line in statement.lines}
    assert amounts == {"gpt-4o": Decimal(1), "long": Decimal(2)}


async def test_unpriced_use_is_shown_and_counted(tables: Tables, prices: Prices, make_event: MakeEvent) -> None:
    """A model without a price is listed by itself, in the totals, and in a line that says so."""
    events = [make_event(), make_event(model="our-own"), make_event(model="our-own", deployment_type="datazone")]

    statement = await statement_of(tables, prices, events)

    assert [(one.model, one.deployment_type, one.requests, one.prompt_tokens) for one in statement.unpriced] == [
        ("our-own", "datazone", 1, 100),
        ("our-own", "global", 1, 100),
    ]
    assert [(line.model, line.requests, line.unpriced_requests) for line in statement.lines] == [
        ("gpt-4o-2024-08-06", 1, 0),
        ("our-own", 2, 2),
    ]
    assert statement.lines[1].amount == "0.0000000000"
    assert statement.requests == 3
    assert statement.tokens.prompt_tokens == 300
    assert statement.total == statement.lines[0].amount


async def test_total_is_the_sum_of_what_the_lines_show(tables: Tables, prices: Prices, make_event: MakeEvent) -> None:
    """Amounts below the last place are rounded per line, half to even, and the total foots."""
    # 0.0625 x 1.1 millionths a cached token: 687.5 and 2062.5 units of the tenth place
    events = [
        make_event(
            deployment=f"d{count}",
            model="gpt-5",
            deployment_type="datazone",
            service_tier="flex",
            meters=Meters(prompt_tokens=count, cached_tokens=count),
        )
        for count in (1, 3)
    ]

    statement = await statement_of(tables, prices, events)

    assert [line.amount for line in statement.lines] == ["0.0000000688", "0.0000002062"]
    assert statement.total == "0.0000002750"


async def test_month_without_use_has_zeros(tables: Tables, prices: Prices) -> None:
    """Nobody's month is empty, not an error."""
    statement = await Statements(tables, prices, everybody).month("nobody", "2026-01")

    assert (statement.total, statement.requests, statement.lines, statement.unpriced) == ("0.0000000000", 0, [], [])


@pytest.mark.parametrize(
    "period",
    ["", "2026", "2026-13", "2026-00", "2026-1", "2026-11-1", "202611", "\N{FULLWIDTH DIGIT TWO}026-11", "x" * 9],
)
async def test_bad_period(tables: Tables, prices: Prices, period: str) -> None:
    """What is no month is refused by name."""
    with pytest.raises(PeriodInvalid, match="must be a month"):
        await Statements(tables, prices, everybody).month("nobody", period)


async def test_further_attempts_are_shown(tables: Tables, prices: Prices, make_event: MakeEvent) -> None:
    """An attempt that broke and was billed all the same adds its tokens, and is no request."""
    broken = make_event(parent="request-1", estimated=True)

    statement = await statement_of(tables, prices, [make_event(), broken])

    (line,) = statement.lines
    assert (line.requests, line.estimated_requests, line.further_attempts) == (1, 0, 1)
    assert line.prompt_tokens == 200


async def test_what_the_cache_saved_is_shown_and_not_charged(
    tables: Tables, prices: Prices, make_event: MakeEvent
) -> None:
    """Hits count as requests and stand in `avoided` with the price that a backend would have asked."""
    saved = Meters(prompt_tokens=1_000_000, completion_tokens=100_000)
    hits = [make_event(outcome="cached", meters=Meters(), avoided=saved) for _ in range(2)]

    statement = await statement_of(tables, prices, [make_event(), *hits])

    (line,) = statement.lines
    assert (line.requests, line.prompt_tokens, statement.tokens.prompt_tokens) == (3, 100, 100)
    assert line.avoided == statement.avoided
    assert (line.avoided.requests, line.avoided.prompt_tokens, line.avoided.completion_tokens) == (
        2,
        2_000_000,
        200_000,
    )
    assert Decimal(line.avoided.amount) == 2 * (Decimal("2.50") + Decimal("1.00"))
    assert Decimal(statement.total) < Decimal("0.001")


async def test_what_was_saved_without_a_known_price_is_told(
    tables: Tables, prices: Prices, make_event: MakeEvent
) -> None:
    """A hit whose model has no price adds nothing to what was saved, and is counted as such."""
    hit = make_event(outcome="cached", meters=Meters(), avoided=Meters(prompt_tokens=5))
    unknown = make_event(outcome="cached", meters=Meters(), avoided=Meters(prompt_tokens=7), model="our-own")

    avoided = (await statement_of(tables, prices, [hit, unknown])).avoided

    assert (avoided.requests, avoided.unpriced_requests, avoided.prompt_tokens) == (2, 1, 12)
    assert Decimal(avoided.amount) == 5 * Decimal("0.0000025")


async def test_a_saved_long_prompt_has_the_price_of_long_prompts(
    tables: Tables, prices: Prices, make_event: MakeEvent
) -> None:
    """The tier of a hit goes by the prompt that it saved."""
    long = make_event(model="gpt-5.4", outcome="cached", meters=Meters(), avoided=Meters(prompt_tokens=400_000))

    statement = await statement_of(tables, prices, [long])

    assert Decimal(statement.avoided.amount) == Decimal(2)


async def test_unattributed_is_what_nobody_known_used(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Use without a subscription, or of one that nobody has, is on one statement: with the others the whole bill."""
    names = ["service-desk", "", "gone", "gone", "service-desk"]
    batch = [deliver(make_event(subscription=name), n) for n, name in enumerate(names)]
    await Ledger(tables, prices, incarnation).collect(batch)

    async def known(name: str) -> bool:
        return name == "service-desk"

    statements = Statements(tables, prices, known)
    assert (await statements.month("unattributed", "2026-11")).requests == 3
    assert (await statements.month("service-desk", "2026-11")).requests == 2
    assert (await statements.month("gone", "2026-11")).requests == 2


async def test_subscription_called_unattributed_sees_its_own_use_alone(
    tables: Tables, prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Whoever has that name does not read what others used."""
    batch = [deliver(make_event(subscription=name), n) for n, name in enumerate(["unattributed", "gone"])]
    await Ledger(tables, prices, incarnation).collect(batch)

    async def known(name: str) -> bool:
        return name == "unattributed"

    assert (await Statements(tables, prices, known).month("unattributed", "2026-11")).requests == 1
