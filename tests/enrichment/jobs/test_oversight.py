"""What operators see of jobs and of what was given up, and what they put back."""

import json
from datetime import timedelta

import pytest

from enrichment.jobs.errors import JobDeadLetterNotFound, JobNotFound, JobRunning, JobSucceeded, StillNoJob
from enrichment.jobs.job import JobName
from enrichment.jobs.made import Made
from enrichment.jobs.work import WorkRefused
from local.tables import SQLiteTables
from tests.enrichment.jobs.parts import CALLBACK, TICKET, Parts, event_of, order

NAME = JobName("team-a", "one")
EVENT = {"id": "INC-1", "subscription": "team-a", "ticket": TICKET, "tasks": ["summary"]}


async def refuse(*_: object) -> Made:
    raise WorkRefused("quota_exceeded", "The quota is spent.")


async def given_up(parts: Parts, job_id: str = "one") -> None:
    """Let a job end as a dead letter."""
    parts.work.do = refuse
    await parts.desk.submit(order(job_id))
    await parts.runner.run(JobName("team-a", job_id))
    parts.work.do = None


async def test_all_jobs_in_pages(parts: Parts) -> None:
    """Jobs come in pages, those that wait before those that are finished; a status keeps to its own."""
    ids = ["a", "ab", "b", "done"]
    await parts.desk.submit(order("done"))
    await parts.runner.run(JobName("team-a", "done"))
    for _ in range(2):  # the second takes up the reminder of the finished one
        parts.clock.pass_by(minutes=5)
        await parts.sweep.run()
    for job_id in ids[:-1]:
        await parts.desk.submit(order(job_id))
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await parts.oversight.jobs(1, after)
        seen += [job.name.id for job in page.found]
        after = page.next
    assert seen == ids
    assert [job.name.id for job in (await parts.oversight.jobs(9, "", "succeeded")).found] == ["done"]


async def test_a_job_run_anew(parts: Parts) -> None:
    """A job that was given up is run again, with all its tries, and its dead letter says who put it back."""
    await given_up(parts)
    [letter] = (await parts.oversight.letters(10, "", 30)).found
    assert (letter.job, letter.reason) == (NAME, "quota_exceeded: The quota is spent.")
    put_back = await parts.oversight.requeue_letter(letter.id, "ada")
    assert (put_back.requeued_by, put_back.requeued_at) == ("ada", parts.clock.now())
    assert (await parts.job(NAME)).attempts == 0
    assert parts.hub.names() == ["one", "one"]
    await parts.runner.run(NAME)
    assert (await parts.job(NAME)).status == "succeeded"
    assert not (await parts.oversight.letters(10, "", 30, waiting=True)).found
    assert (await parts.oversight.letter(letter.id)).requeued_by == "ada"


async def test_a_hub_that_is_out(parts: Parts) -> None:
    """A job that was put back while the hub is out is handed over by the next sweep."""
    await given_up(parts)
    parts.hub.down = True
    await parts.oversight.requeue(NAME, "ada")
    parts.hub.down = False
    parts.clock.pass_by(minutes=5)
    await parts.sweep.run()
    await parts.runner.run(NAME)
    assert (await parts.job(NAME)).status == "succeeded"


async def test_jobs_that_need_no_other_run(parts: Parts) -> None:
    """One that succeeded is run again by force alone, one that somebody runs not at all."""
    await parts.desk.submit(order())
    await parts.runner.run(NAME)
    with pytest.raises(JobSucceeded):
        await parts.oversight.requeue(NAME, "ada")
    again = await parts.oversight.requeue(NAME, "ada", force=True)
    await parts.store.change(again.claimed("somebody", parts.clock.now(), timedelta(minutes=1)))
    with pytest.raises(JobRunning):
        await parts.oversight.requeue(NAME, "ada", force=True)
    with pytest.raises(JobNotFound):
        await parts.oversight.requeue(JobName("team-b", "one"), "ada")


async def test_events_put_back(tables: SQLiteTables) -> None:
    """An event goes back as it is once it would be a job, or mended; its key was not kept."""
    parts = Parts(tables, trusted=False)
    await parts.batches.run([event_of({**EVENT, "key": "key-a", "surprise": 1}, 1)])
    [letter] = (await parts.oversight.letters(10, "", 30)).found
    assert json.loads((await parts.oversight.letter(letter.id)).body()) == {**EVENT, "key": "...", "surprise": 1}
    with pytest.raises(StillNoJob, match="no subscription's"):
        await parts.oversight.requeue_letter(letter.id, "ada")
    await parts.oversight.requeue_letter(letter.id, "ada", json.dumps({**EVENT, "key": "key-a"}).encode())
    await parts.batches.run(parts.hub.received())
    assert (await parts.job(JobName("team-a", "INC-1"))).status == "succeeded"


async def test_an_event_of_a_trusted_producer(parts: Parts) -> None:
    """What was refused for its callback goes back as it came; whether it is a job now the batch finds out."""
    callback = {"url": "https://evil.example.net/"}
    await parts.batches.run([event_of({**EVENT, "callback": callback}, 7)])
    [letter] = (await parts.oversight.letters(10, "", 30)).found
    assert (letter.partition, letter.sequence_number, letter.job) == ("0", 7, None)
    await parts.oversight.requeue_letter(letter.id, "ada")
    assert [json.loads(body)["callback"] for body in parts.hub.bodies] == [callback]


async def test_dead_letters_in_pages(parts: Parts) -> None:
    """The latest day comes first, older days than were asked for do not, and pages go on where the last one ended."""
    for job_id in ("a", "ab", "b"):
        await given_up(parts, job_id)
    parts.clock.pass_by(days=2)
    await given_up(parts, "c")
    ids: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await parts.oversight.letters(1, after, 30)
        ids += [letter.id for letter in page.found]
        after = page.next
    assert ids == ["20261123,team-a,c", *(f"20261121,team-a,{job_id}" for job_id in ("a", "ab", "b"))]
    assert [letter.id for letter in (await parts.oversight.letters(10, "", 1)).found] == ids[:1]


@pytest.mark.parametrize("letter", ["", "nothing", "20261121,team-a", "20261121,../x,y", "20261121,team-a,none"])
async def test_dead_letters_that_are_not_there(parts: Parts, letter: str) -> None:
    """What no dead letter is called is not found."""
    with pytest.raises(JobDeadLetterNotFound):
        await parts.oversight.letter(letter)


async def test_whoever_watches_is_told(parts: Parts) -> None:
    """Each step of a job is told once, and so are its callback and its dead letter."""
    await parts.desk.submit(order(callback=CALLBACK))
    await parts.desk.submit(order(callback=CALLBACK))
    await parts.runner.run(NAME)
    assert parts.seen.told == ["queued", "started", "succeeded", "callback delivered", "left"]
    parts.seen.told.clear()
    await given_up(parts, "two")
    await parts.batches.run([event_of(b"", 1)])
    assert parts.seen.told == ["queued", "started", "dead job", "failed", "left", "dead event"]
