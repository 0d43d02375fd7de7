"""`tollgate proofs` as a process of its own, against the running app over a hub and tables that were used."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chargeback.ledger.ledger import Ledger
from chargeback.prices import Prices
from gateway.usage import UsageEvent, encode
from hosting.cli import build
from local.events.events import LocalStream
from local.tables import SQLiteTables
from seams.events import ReceivedEvent
from seams.tables import Delete
from tests.clocks import ShiftedClock
from tests.gateway.catalogs import KEY, OPERATOR_KEY, key_hash
from tests.gateway.event import an_event
from tests.gateway.managed import Instance, running_instance
from tests.hosting.commands.ran import Ran, tollgate

CATALOG = {
    "backends": {"b": {"endpoint": "https://b.openai.azure.com", "auth": "caller"}},
    "deployments": {"gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "b"}]}},
    "subscriptions": {"team-a": {"key_hashes": [key_hash(KEY)]}},
    "operators": {"key_hashes": [key_hash(OPERATOR_KEY)]},
}
NOW = datetime.now(UTC)
TODAY = f"{NOW:%Y-%m-%d}"


@pytest.fixture
def clock() -> ShiftedClock:
    """The app's clock; set forward by a day, today is over."""
    return ShiftedClock()


@pytest.fixture
async def app(clock: ShiftedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Instance]:
    """The app after three events went through the hub and the collector."""
    monkeypatch.setenv("STATE", str(tmp_path))
    stream, tables = LocalStream(tmp_path / "events-usage.sqlite"), SQLiteTables(tmp_path / "tables.sqlite")
    await stream.publish([encode(event(f"e{n}")) for n in range(3)], "team-a")
    for partition in stream.partitions:
        events = await stream.read(partition, -1, 10)
        batch = [ReceivedEvent(one.body, partition, one.sequence, one.enqueued_at) for one in events]
        await Ledger(tables, Prices(), stream.incarnation).collect(batch)
    await stream.close()
    await tables.close()
    async with running_instance(CATALOG, clock) as instance:
        yield instance


def event(name: str) -> UsageEvent:
    return an_event(name, time=NOW)


async def proofs(app: Instance, *arguments: str) -> Ran:
    return await tollgate(app.url, "proofs", *arguments)


async def test_from_open_to_proved(app: Instance, clock: ShiftedClock) -> None:
    """The present day is open; when it is over it is proved on demand, and listed; each also as JSON."""
    assert f"{TODAY} is open" in (await proofs(app, "show", TODAY)).out

    clock.ahead = timedelta(days=1)
    proved = await proofs(app, "prove", TODAY)
    assert (proved.code, f"{TODAY} is proved, revision 1, closed at " in proved.out) == (0, True)
    shown = await proofs(app, "show", TODAY, "--json")
    assert (shown.json["status"], shown.json["totals"]["summed"], shown.json["totals"]["stored"]) == ("proved", 3, 3)
    assert [(each["day"], each["revision"]) for each in (await proofs(app, "list", TODAY[:7], "--json")).json] == [
        (TODAY, 1)
    ]
    assert TODAY in (await proofs(app, "list", TODAY[:7])).out
    assert (await proofs(app, "list", "2020-01")).code == 0


async def test_a_narrow_terminal(app: Instance, clock: ShiftedClock) -> None:
    """In 80 columns every count of a day and of its lanes stays whole."""
    clock.ahead = timedelta(days=1)
    await proofs(app, "prove", TODAY)
    listed, shown = [
        (await tollgate(app.url, "proofs", *arguments, terminal=80)).out
        for arguments in (["list", TODAY[:7]], ["show", TODAY])
    ]
    assert max(len(line) for text in (listed, shown) for line in text.splitlines()) <= 80
    assert re.search(rf"{TODAY} +proved +1 +3 +0 +0 +3 +3", listed)
    assert re.search(r"all +3 +0 +0 +3 +0 +3 +3", shown)


async def test_broken_is_an_exit_code(app: Instance, clock: ShiftedClock, tmp_path: Path) -> None:
    """A day that does not add up is told with what is wrong, and ends with 1."""
    clock.ahead = timedelta(days=1)
    tables = SQLiteTables(tmp_path / "tables.sqlite")
    table = await tables.table("usage")
    first, *_ = [row async for row in table.query()]
    await table.transact([Delete(first.partition, first.row)])
    await tables.close()

    ran = await proofs(app, "prove", TODAY)

    assert ran.code == 1
    assert "3 usage events of team-a are in the rollups, 2 detail rows are stored" in ran.out
    again = await proofs(app, "show", TODAY, "--json")
    assert (again.code, json.loads(again.out)["status"]) == (1, "broken")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "yesterday"], 1, "A day is written like 2026-11-20"),
        (["show", "2999-01-01"], 1, "has not begun"),
        (["prove", "2026-02-30"], 1, "A day is written like"),
        (["list", "november"], 1, "must be a month"),
        (["show"], 2, "Missing argument"),
        (["list", "--url", "http://127.0.0.1:1"], 3, "cannot be reached"),
    ],
)
async def test_refusals(app: Instance, arguments: list[str], code: int, message: str) -> None:
    """Each kind of failure has its exit code and one plain message on stderr; stdout stays empty."""
    ran = await proofs(app, *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert message in " ".join(ran.err.split())


@pytest.mark.parametrize("command", ["list", "show", "prove"])
def test_help_has_an_example(command: str) -> None:
    """Help needs neither key nor server, and shows how the command is used."""
    shown = CliRunner().invoke(build(), ["proofs", command, "--help"])
    assert shown.exit_code == 0
    assert f"Example: tollgate proofs {command}" in shown.output
