"""`tollgate deadletters` as a process of its own, against the running app and a collector's dead letters."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chargeback.ledger.ledger import Ledger
from chargeback.prices import Prices
from gateway.usage import UsageEvent, decode_event, encode
from hosting.cli import build
from local.events.events import LocalStream
from local.tables import SQLiteTables
from seams.events import ReceivedEvent
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
BODIES = [b'{"id": "x"}', b"\xff\x00[bold]\x1b[2J\r\n", b"{}"]
NOW = datetime.now(UTC)


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Instance]:
    """The app over a store in which the collector has put three events aside."""
    monkeypatch.setenv("STATE", str(tmp_path))
    tables = SQLiteTables(tmp_path / "tables.sqlite")
    batch = [ReceivedEvent(body, "2", n, NOW + timedelta(seconds=n)) for n, body in enumerate(BODIES)]
    await Ledger(tables, Prices(), incarnation).collect(batch)
    await tables.close()
    async with running_instance(CATALOG, ShiftedClock()) as instance:
        yield instance


async def incarnation() -> str:
    return "1"


async def deadletters(app: Instance, *arguments: str, stdin: str = "") -> Ran:
    return await tollgate(app.url, "deadletters", *arguments, stdin=stdin)


async def ids(app: Instance) -> list[str]:
    """Return the ids in the order of BODIES."""
    return [one["id"] for one in reversed((await deadletters(app, "list", "--json")).json)]


async def published(folder: Path) -> list[bytes]:
    stream = LocalStream(folder / "events-usage.sqlite")
    found = [event.body for partition in stream.partitions for event in await stream.read(partition, -1, 100)]
    await stream.close()
    return found


def event() -> UsageEvent:
    return an_event("mended", time=NOW)


async def test_looked_at_and_mended(app: Instance, tmp_path: Path) -> None:
    """A person lists, reads the event, sends it mended from a file, and finds it done."""
    first, second, third = await ids(app)

    listed = await deadletters(app, "list", "--limit", "2")
    assert third in listed.out
    assert first not in listed.out
    assert f"--after {second}" in listed.err
    shown = await deadletters(app, "show", first)
    assert "ValidationError" in shown.out
    assert '{"id": "x"}' in shown.out
    assert (await deadletters(app, "show", first, "--body")).out == '{"id": "x"}'

    mended = tmp_path / "event.json"
    mended.write_bytes(encode(event()))
    requeued = await deadletters(app, "requeue", first, "--body-file", str(mended))
    assert (requeued.code, requeued.out) == (0, f"Requeued {first}.\n")
    assert [decode_event(body).id for body in await published(tmp_path)] == ["mended"]
    assert "requeued once: ValidationError" in (await deadletters(app, "list")).out
    assert ", mended" in (await deadletters(app, "show", first)).out
    assert [one["id"] for one in (await deadletters(app, "list", "--waiting", "--json")).json] == [third, second]


async def test_a_narrow_terminal(app: Instance) -> None:
    """In 80 columns an id stays whole, to be copied, and reasons keep their words; into a pipe a letter is one line."""
    found = (await deadletters(app, "list", "--json")).json
    narrow = (await tollgate(app.url, "deadletters", "list", terminal=80)).out
    assert max(map(len, narrow.splitlines())) <= 80
    assert all(one["id"] in narrow for one in found)
    assert "ValidationError:" in narrow
    piped = (await deadletters(app, "list")).out.splitlines()
    assert all(any(one["id"] in line and one["reason"] in line for line in piped) for one in found)


async def test_json_is_for_programs(app: Instance) -> None:
    """Every command prints one JSON document; the event may come from standard input."""
    first, second, third = await ids(app)
    assert (await deadletters(app, "show", second, "--json")).json["encoding"] == "base64"
    ran = await deadletters(app, "requeue", first, "--body-file", "-", "--json", stdin=encode(event()).decode())
    assert [(one["id"], len(one["requeues"])) for one in ran.json] == [(first, 1)]
    listed = await deadletters(app, "list", "--after", third, "--json")
    assert [one["id"] for one in listed.json] == [second, first]


async def test_bytes_are_shown_as_they_are(app: Instance) -> None:
    """What is no text is escaped for a person; a terminal obeys nothing in it, and nothing is taken for mark-up."""
    _, second, _ = await ids(app)
    assert r"\xff\x00[bold]\x1b[2J\x0d" in (await deadletters(app, "show", second)).out


async def test_several_at_once(app: Instance, tmp_path: Path) -> None:
    """One that is refused is told by its id and does not keep back those after it."""
    first, _, third = await ids(app)
    ran = await deadletters(app, "requeue", first, "nothing", third, "--force")
    assert (ran.code, ran.out.splitlines()) == (1, [f"Requeued {first}.", f"Requeued {third}."])
    assert "nothing: There is no dead letter 'nothing'" in " ".join(ran.err.split())
    assert sorted(await published(tmp_path)) == sorted([BODIES[0], BODIES[2]])
    again = await deadletters(app, "requeue", first, "--json")
    assert (again.code, again.json) == (1, [])
    assert "was requeued at" in " ".join(again.err.split())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "nothing"], 1, "There is no dead letter"),
        (["show", "../statements"], 1, "Error: "),
        (["requeue", "x", "y", "--body-file", "-"], 2, "mends one dead letter"),
        (["requeue", "x", "--body-file", "nothing.json"], 2, "cannot be read"),
        (["requeue", "x", "--body-file", "-"], 2, "is empty"),
        (["requeue"], 2, "Missing argument"),
        (["list", "--after", "nothing"], 1, "to go on after"),
        (["list", "--url", "http://127.0.0.1:1"], 3, "cannot be reached"),
    ],
)
async def test_refusals(app: Instance, arguments: list[str], code: int, message: str) -> None:
    """Each kind of failure has its exit code and one plain message on stderr; stdout stays empty."""
    ran = await deadletters(app, *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert message in " ".join(ran.err.split())


async def test_a_subscriptions_key(app: Instance) -> None:
    """Only operators look at dead letters."""
    ran = await tollgate(app.url, "deadletters", "list", key=KEY)
    assert (ran.code, ran.out) == (1, "")
    assert "operator key" in ran.err


@pytest.mark.parametrize("command", ["list", "show", "requeue"])
def test_help_has_an_example(command: str) -> None:
    """Help needs neither key nor server, and shows how the command is used."""
    shown = CliRunner().invoke(build(), ["deadletters", command, "--help"])
    assert shown.exit_code == 0
    assert f"Example: tollgate deadletters {command}" in shown.output
