"""Events that cannot be billed are kept apart and disturb nobody."""

import os
from collections.abc import Callable

from chargeback.deadletters import MAX_LABELS_BYTES
from chargeback.ledger import DEADLETTERS, Ledger
from chargeback.prices import Prices
from gateway.usage import UsageEvent
from seams.tables import Entity, Tables
from tests.chargeback.staging import Deliver, MakeEvent, Renamed, incarnation, rows, sums

VALID = b'{"id":"x","time":"2026-11-20T12:00:00Z","subscription":"s","operation":"o","deployment":"d","model":"m",'
REST = b'"backend":"b","deployment_type":"global","status":200,"outcome":"completed"'
POISON = {
    "empty": b"",
    "not JSON": b"\xff\x00",
    "not an object": b"[]",
    "field missing": b'{"id":"x"}',
    "negative count": VALID + REST + b',"meters":{"prompt_tokens":-1}}',
    "absurd count": VALID + REST + b',"meters":{"prompt_tokens":1000000000001}}',
    "unknown meter": VALID + REST + b',"meters":{"tokens":1}}',
    "unknown version": VALID + REST + b',"version":2}',
    "no zone": VALID.replace(b"Z", b"") + REST + b"}",
    "end of the calendar": VALID.replace(b"2026-11-20T12:00:00Z", b"9999-12-31T23:59:59-12:00") + REST + b"}",
    "before the calendar": VALID.replace(b"2026-11-20T12:00:00Z", b"0001-01-01T00:00:00+12:00") + REST + b"}",
    "before Table storage": VALID.replace(b"2026", b"1500") + REST + b"}",
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
