"""Events that cannot be billed are kept apart and disturb nobody."""

import os
from collections.abc import Callable
from datetime import timedelta

import pytest

from chargeback.deadletters.deadletters import DEADLETTERS, MAX_LABELS_BYTES
from chargeback.lanes.lanes import LANES
from chargeback.ledger.ledger import Ledger
from chargeback.ledger.rollups import ROLLUPS
from chargeback.prices import Prices
from gateway.usage import UsageEvent
from seams.tables import Entity, Tables
from tests.chargeback.staging import Deliver, MakeEvent, Renamed, incarnation, rows, sums

VALID = b'{"id":"x","time":"2026-11-20T12:00:00Z","subscription":"s","operation":"o","deployment":"d","model":"m",'
REST = b'"backend":"b","deployment_type":"global","status":200,"outcome":"completed"'
WITHDRAWAL = b'{"kind":"withdrawal","id":"x","time":"2026-11-20T12:00:00Z","subscription":"s"'
INTENT = WITHDRAWAL.replace(b"withdrawal", b"intent") + (
    b',"operation":"o","deployment":"d","model":"m","backend":"b","deployment_type":"global"'
)
POISON = {
    "empty": b"",
    "not JSON": b"\xff\x00",
    "not an object": b"[]",
    "field missing": b'{"id":"x"}',
    "negative count": VALID + REST + b',"meters":{"prompt_tokens":-1}}',
    "absurd count": VALID + REST + b',"meters":{"prompt_tokens":1000000001}}',
    "more cached than all": VALID + REST + b',"meters":{"prompt_tokens":2,"cached_tokens":3}}',
    "more audio than all": VALID + REST + b',"meters":{"completion_tokens":2,"audio_completion_tokens":3}}',
    "more avoided than all": VALID + REST + b',"avoided":{"completion_tokens":2,"reasoning_tokens":3}}',
    "unknown meter": VALID + REST + b',"meters":{"tokens":1}}',
    "unknown version": VALID + REST + b',"version":2}',
    "no zone": VALID.replace(b"Z", b"") + REST + b"}",
    "end of the calendar": VALID.replace(b"2026-11-20T12:00:00Z", b"9999-12-31T23:59:59-12:00") + REST + b"}",
    "before the calendar": VALID.replace(b"2026-11-20T12:00:00Z", b"0001-01-01T00:00:00+12:00") + REST + b"}",
    "before Table storage": VALID.replace(b"2026", b"1500") + REST + b"}",
    "older than the detail rows": VALID.replace(b"2026-11-20", b"2026-08-21") + REST + b"}",
    "unknown kind": b'{"kind":"guess","id":"x","time":"2026-11-20T12:00:00Z","subscription":"s"}',
    "intent without a model": b'{"kind":"intent","id":"x","time":"2026-11-20T12:00:00Z","subscription":"s"}',
    "intent from the future": INTENT.replace(b"20T", b"22T") + b"}",
    "intent with a negative count": INTENT + b',"prompt_tokens":-1}',
    "intent with a control character": INTENT.replace(b'"s"', b'"s\\u0000"') + b"}",
    "withdrawal without an id": b'{"kind":"withdrawal","time":"2026-11-20T12:00:00Z","subscription":"s"}',
    "withdrawal of another version": WITHDRAWAL + b',"version":2}',
    "old withdrawal": WITHDRAWAL.replace(b"2026-11-20", b"2026-08-21") + b"}",
    "from the future": VALID.replace(b"20T", b"22T") + REST + b"}",
    "control character": VALID.replace(b'"s"', b'"s\\u0000"') + REST + b"}",
    "half a surrogate": VALID.replace(b'"m"', b'"\\ud800"') + REST + b"}",
    "control character in a wrong word": VALID + REST.replace(b"global", b"glo\\u0001bal") + b"}",
    "nested too deeply": VALID + REST + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "labels too large": VALID + REST + b',"labels":{"user":"' + b"x" * MAX_LABELS_BYTES + b'"}}',
    "over a megabyte": b"x" * 1_100_000,
}


async def test_poison_keeps_the_rest_of_its_batch(
    rival_tables: Callable[[], Tables], prices: Prices, make_event: MakeEvent, deliver: Deliver
) -> None:
    """Each unusable event is one dead letter, however often it comes; the events around it are counted."""
    tables, prefix = rival_tables(), f"x{os.urandom(4).hex()}"
    renamed = Renamed(tables, prefix)
    bodies: list[UsageEvent | bytes] = [make_event(subscription="poisoned")]
    for body in POISON.values():
        bodies += [body, make_event(subscription="poisoned")]
    batch = [deliver(body, n) for n, body in enumerate(bodies)]

    await Ledger(renamed, prices, incarnation).collect(batch)
    await Ledger(renamed, prices, incarnation).collect(batch)

    letters = {int(str(one.values["sequence_number"])): one for one in await rows(renamed, DEADLETTERS)}
    assert sorted(letters) == list(range(1, len(bodies), 2))
    for sequence_number, body in zip(sorted(letters), POISON.values(), strict=True):
        check_letter(letters[sequence_number], body)
    assert (await sums(renamed))["events"] == len(POISON) + 1


def check_letter(letter: Entity, body: bytes) -> None:
    kept = b"".join(bytes(letter.values[f"body_{n}"]) for n in range(20) if f"body_{n}" in letter.values)  # type: ignore[arg-type]  # binary columns
    assert letter.partition == "2026"
    assert letter.values["size"] == len(body)
    assert letter.values["truncated"] == (len(body) > 640 * 1024)
    assert kept == body[: 640 * 1024]
    assert str(letter.values["reason"]).isprintable()


@pytest.mark.parametrize("name", [b"", b"  "])
async def test_event_without_a_subscription_is_unattributed(
    tables: Tables, prices: Prices, deliver: Deliver, name: bytes
) -> None:
    """What names nobody is billed to the line `unattributed`, its intents and orphans, too."""
    event = VALID.replace(b'"s"', b'"%b"' % name) + REST + b',"meters":{"prompt_tokens":7}}'
    intent = INTENT.replace(b'"s"', b'"%b"' % name).replace(b'"x"', b'"y"') + b',"prompt_tokens":5}'

    await Ledger(tables, prices, incarnation).collect([deliver(event, 0), deliver(intent, 1)])

    (rollup,) = await rows(tables, ROLLUPS)
    assert (rollup.values["subscription"], rollup.values["prompt_tokens"]) == ("unattributed", 7)
    assert await rows(tables, DEADLETTERS) == []
    opened = [entity for entity in await rows(tables, LANES) if entity.row == "open|0000"]
    assert [b"unattributed" in bytes(entity.values["calls"]) for entity in opened] == [True]  # type: ignore[arg-type]  # a binary column


async def test_dead_letters_are_told(
    tables: Tables, prices: Prices, deliver: Deliver, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch with events that nobody is billed for says so once, with the way to the first of them."""
    batch = [deliver(b"{}", 0), deliver(b"[]", 1)]

    await Ledger(tables, prices, incarnation).collect(batch)
    await Ledger(tables, prices, incarnation).collect(batch)

    ids = {letter.row for letter in await rows(tables, DEADLETTERS)}
    (told,) = [record.getMessage() for record in caplog.records if record.name == "chargeback.ledger.ledger"]
    assert told.startswith("2 records cannot be billed, see dead letter ")
    assert any(name in told for name in ids)


async def test_event_of_last_year_is_a_dead_letter(tables: Tables, prices: Prices, deliver: Deliver) -> None:
    """However long detail rows are kept, what comes after more than a year is looked at by a person first."""
    event = VALID.replace(b"2026-11-20", b"2025-11-01") + REST + b"}"

    await Ledger(tables, prices, incarnation, retention=timedelta(days=3650)).collect([deliver(event, 0)])

    (letter,) = await rows(tables, DEADLETTERS)
    assert letter.values["reason"] == "it was more than 366 days old when the hub took it"


async def test_oldest_event_that_can_be_told_is_counted(tables: Tables, prices: Prices, deliver: Deliver) -> None:
    """An event as old as detail rows become is counted, and with shorter retention it is a dead letter."""
    event = VALID.replace(b"2026-11-20", b"2026-08-23") + REST + b"}"

    await Ledger(tables, prices, incarnation, retention=timedelta(days=88)).collect([deliver(event, 0)])
    await Ledger(tables, prices, incarnation).collect([deliver(event, 1)])

    (letter,) = await rows(tables, DEADLETTERS)
    assert (letter.values["sequence_number"], letter.values["reason"]) == (
        0,
        "it was more than 88 days old when the hub took it",
    )
    assert (await sums(tables))["events"] == 1
