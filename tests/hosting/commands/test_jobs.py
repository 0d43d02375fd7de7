"""`tollgate jobs` as a process of its own, against the running app."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from enrichment.jobs.deadletters import JobDeadLetters
from enrichment.jobs.job import Failure, Job, JobName
from enrichment.jobs.reminders import Reminders
from enrichment.jobs.store import JobStore
from hosting.cli import build
from local.events.events import LocalStream
from local.tables import SQLiteTables
from seams.events import ReceivedEvent
from tests.clocks import ShiftedClock
from tests.gateway.catalogs import KEY, OPERATOR_KEY, key_hash
from tests.gateway.managed import Instance, running_instance
from tests.hosting.commands.ran import Ran, tollgate

CATALOG = {
    "backends": {"b": {"endpoint": "https://b.openai.azure.com", "auth": "caller"}},
    "deployments": {"gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "b"}]}},
    "subscriptions": {"team-a": {"key_hashes": [key_hash(KEY)]}},
    "operators": {"key_hashes": [key_hash(OPERATOR_KEY)]},
}
NOW = datetime.now(UTC)
JOB = {"id": "INC-2", "key": KEY, "ticket": {"short_description": "VPN drops"}}
SPENT = Failure("quota_exceeded", "The quota is spent.")


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Instance]:
    """The app over jobs that wait, were given up and succeeded, and an event that is no job."""
    monkeypatch.setenv("STATE", str(tmp_path))
    tables = SQLiteTables(tmp_path / "tables.sqlite")
    store, reminders, dead = JobStore(tables), Reminders(tables), JobDeadLetters(tables)
    made = {name: Job(JobName("team-a", name), "digest", NOW) for name in ("waits", "failed", "done")}
    made["failed"] = replace(made["failed"].ended(NOW, SPENT), attempts=1)
    made["done"] = made["done"].ended(NOW, None)
    for job in made.values():
        await store.create(job, json.dumps({"ticket": JOB["ticket"]}).encode())
        await reminders.set(job.name, NOW)
    await dead.add_job(made["failed"], "quota_exceeded: The quota is spent.", NOW)
    await dead.add_event(ReceivedEvent(b'{"key": "secret", "x": "\x1b[2J"}', "3", 7, NOW), "id: Field required")
    await tables.close()
    async with running_instance(CATALOG, ShiftedClock()) as instance:
        yield instance


async def jobs(app: Instance, *arguments: str, stdin: str = "") -> Ran:
    return await tollgate(app.url, "jobs", *arguments, stdin=stdin)


async def published(folder: Path) -> list[dict[str, object]]:
    stream = LocalStream(folder / "events-jobs.sqlite")
    found = [json.loads(event.body) for part in stream.partitions for event in await stream.read(part, -1, 100)]
    await stream.close()
    return found


async def test_looked_at_and_run_again(app: Instance, tmp_path: Path) -> None:
    """A person finds the job that was given up, sees why, runs it again, and finds it waiting."""
    listed = await jobs(app, "list")
    assert all(f"team-a/{name}" in listed.out for name in ("waits", "failed", "done"))
    assert "quota_exceeded: The quota is spent." in listed.out
    failed = await jobs(app, "list", "--status", "failed", "--json")
    assert [(job["id"], job["error"]["code"]) for job in failed.json] == [("failed", "quota_exceeded")]
    assert "There are more" in (await jobs(app, "list", "--limit", "1")).err

    shown = await jobs(app, "show", "team-a/failed")
    assert "quota_exceeded" in shown.out
    assert "VPN drops" not in shown.out
    requeued = await jobs(app, "requeue", "team-a/failed")
    assert (requeued.code, requeued.out) == (0, "Requeued team-a/failed.\n")
    assert (await jobs(app, "show", "team-a/failed", "--json")).json["status"] == "queued"
    assert await published(tmp_path) == [{"job": "failed", "subscription": "team-a"}]


async def test_dead_letters(app: Instance, tmp_path: Path) -> None:
    """Both kinds are listed; a job's is run again, an event goes back mended, and neither waits any more."""
    letters = (await jobs(app, "list", "--dead", "--json")).json
    [of_event] = [letter["id"] for letter in letters if "partition" in letter]
    [of_job] = [letter["id"] for letter in letters if "job" in letter]
    shown = await jobs(app, "show", of_event)
    assert r'{"key": "...", "x": "\x1b[2J"}' in shown.out
    assert "Field required" in shown.out

    mended = tmp_path / "job.json"
    mended.write_text(json.dumps(JOB))
    assert (await jobs(app, "requeue", of_event, "--body-file", str(mended))).code == 0
    assert (await jobs(app, "requeue", of_job, "--json")).json[0]["requeued_by"]
    assert (await jobs(app, "list", "--dead", "--waiting", "--json")).json == []
    assert "put back: quota_exceeded" in (await jobs(app, "list", "--dead")).out
    told = await published(tmp_path)
    assert sorted(told, key=len) == [{"job": "failed", "subscription": "team-a"}, JOB]


async def test_several_at_once(app: Instance) -> None:
    """One that is refused is told by its name and does not keep back those after it."""
    ran = await jobs(app, "requeue", "team-a/done", "team-a/waits")
    assert (ran.code, ran.out) == (1, "Requeued team-a/waits.\n")
    assert "team-a/done: It succeeded" in " ".join(ran.err.split())
    assert (await jobs(app, "requeue", "team-a/done", "--force")).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "team-a/nothing"], 1, "team-a has no job nothing"),
        (["show", "team-a/a,b"], 1, "There is no such job"),
        (["show", "nothing"], 1, "There is no dead letter"),
        (["requeue", "x", "y", "--body-file", "-"], 2, "mends one dead letter"),
        (["requeue", "x", "--body-file", "-"], 2, "is empty"),
        (["list", "--status", "lost"], 2, "Invalid value"),
        (["list", "--url", "http://127.0.0.1:1"], 3, "cannot be reached"),
    ],
)
async def test_refusals(app: Instance, arguments: list[str], code: int, message: str) -> None:
    """Each kind of failure has its exit code and one plain message on stderr; stdout stays empty."""
    ran = await jobs(app, *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert message in " ".join(ran.err.split())


async def test_an_event_that_stays_none(app: Instance) -> None:
    """An event that would become a dead letter again is refused with the reason."""
    [letter] = [each["id"] for each in (await jobs(app, "list", "--dead", "--json")).json if "partition" in each]
    ran = await jobs(app, "requeue", letter)
    assert (ran.code, ran.out) == (1, "")
    assert "It would become a dead letter again" in " ".join(ran.err.split())


async def test_a_subscriptions_key(app: Instance) -> None:
    """Only operators look at all jobs."""
    ran = await tollgate(app.url, "jobs", "list", key=KEY)
    assert (ran.code, ran.out) == (1, "")
    assert "operator key" in ran.err


@pytest.mark.parametrize("command", ["list", "show", "requeue"])
def test_help_has_an_example(command: str) -> None:
    """Help needs neither key nor server, and shows how the command is used."""
    shown = CliRunner().invoke(build(), ["jobs", command, "--help"])
    assert shown.exit_code == 0
    assert f"Example: tollgate jobs {command}" in shown.output
