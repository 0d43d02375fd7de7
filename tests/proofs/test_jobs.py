"""The promise of jobs: a ticket that came in comes out once, as a result, a callback and a work note, whatever dies.

The whole product runs as a process of its own that is killed; backends, ServiceNow and a callback's host are here.
"""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from enrichment.jobs.deliveries import signature
from gateway.metering.tokens import VOCABULARIES
from local.events.event_log import PARTITIONS
from local.events.events import LocalStream
from local.simulator.faults import Slow
from local.simulator.server import Simulator, serve_all
from local.simulator.settings import BackendSettings
from local.simulator.tokens import Tokenizers
from tests.gateway.catalogs import MODELS, UPSTREAM_KEY, catalog_of
from tests.proofs.tollgate import KEYS, ROOT, charged, invoiced, running_tollgate, statements
from tests.served import served
from tests.servicenow import Instance

SYS_ID = "0123456789abcdef0123456789abcdef"
TICKET = {"sys_id": SYS_ID, "short_description": "VPN drops", "description": "Since Monday the VPN drops each hour."}
SIGNING = "signing-key"
PATIENCE_SECONDS = 60
INCIDENTS = ROOT.parent / "shared" / "data" / "incidents.json"


@dataclass
class Hook:
    """The host of a callback; `deaf` answers fail first."""

    deaf: int = 0
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/hook", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        seconds, _, digest = request.headers["x-tollgate-signature"].removeprefix("t=").partition(",v1=")
        assert digest == signature(SIGNING.encode(), int(seconds), body)
        self.told.append((request.headers["x-tollgate-job"], json.loads(body)))
        self.deaf -= 1
        return Response(status_code=503 if self.deaf >= 0 else 204)


@dataclass(frozen=True)
class World:
    """Everything around the product."""

    simulators: dict[str, Simulator]
    instance: Instance
    hook: Hook
    state: Path
    settings: dict[str, str]
    servicenow: str
    callback: str

    def catalog(self) -> dict[str, Any]:
        catalog = catalog_of(self.simulators)
        del catalog["subscriptions"]["team-b"]["deployments"]
        return catalog

    def requests(self) -> int:
        return sum(len(simulator.requests) for simulator in self.simulators.values())

    def note(self) -> dict[str, Any]:
        return {
            "url": f"{self.servicenow}/api/now/table/incident",
            "kind": "work-notes",
            "auth": {"kind": "oauth2", "secret": "setting:SERVICENOW"},
            "apply_patch": True,
        }


@pytest.fixture
def instance() -> Instance:
    made = Instance({}, {"client": "hidden"})
    made.add(SYS_ID, number="INC0010023")
    return made


@pytest.fixture
async def world(instance: Instance, tmp_path: Path) -> AsyncIterator[World]:
    hook = Hook()
    settings = [BackendSettings(name=name, api_key=UPSTREAM_KEY, deployments=MODELS) for name in ("first", "second")]
    async with (
        serve_all(settings, tokenizers=await asyncio.to_thread(Tokenizers, VOCABULARIES)) as simulators,
        served(instance.app()) as servicenow,
        served(hook.app()) as callback,
    ):
        secret = {"token_url": f"{servicenow}/oauth_token.do", "client_id": "client", "client_secret": "hidden"}
        product = {
            "ENRICHMENT_DEPLOYMENT": "gpt-4o",
            "JOB_LEASE_SECONDS": "1",
            "JOBS_TRUSTED_PRODUCERS": "1",
            "CALLBACK_TIMEOUT_SECONDS": "2",
            "CALLBACK_HOSTS": f"{servicenow}, {callback}",
            "CALLBACK_SECRETS": f"team-a:SERVICENOW@{servicenow}",
            "CALLBACK_SIGNING_KEY": SIGNING,
            "SERVICENOW": json.dumps(secret),
        }
        yield World(simulators, instance, hook, tmp_path, product, servicenow, f"{callback}/hook")


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"api-key": KEYS["team-a"]}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False) as client:
        yield client


async def produce(state: Path, *events: dict[str, Any]) -> None:
    """Send events to the hub as a producer of its own does."""
    stream = LocalStream(state / "events-jobs.sqlite")
    for event in events:
        await stream.publish([json.dumps(event).encode()], event["id"])
    await stream.close()


def apart(job_id: str) -> str:
    """Return the id of an event that does not wait for this job: one of another partition."""
    other = zlib.crc32(f"team-a|{job_id}".encode()) % PARTITIONS
    names = (f"from-hub-{number}" for number in range(100))
    return next(name for name in names if zlib.crc32(name.encode()) % PARTITIONS != other)


async def until(reached: Any) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not reached():
            await asyncio.sleep(0.02)


async def finished(client: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    """Return a job once nothing is left to do for it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = await client.get(f"/jobs/{job_id}")
            told = answer.json()
            done = told.get("status") in ("succeeded", "failed")
            if done and told.get("callback", {}).get("status") not in ("waiting", "pending"):
                return dict(told)
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_killed_in_mid_job(world: World) -> None:
    """Jobs by HTTP and from a producer, under way as the process is killed, are taken over by the next one.

    Each has one result, one work note or a callback with its id; what both processes asked of models is charged.
    """
    for simulator in world.simulators.values():
        await simulator.inject(Slow(seconds=PATIENCE_SECONDS))
    async with running_tollgate(world.catalog(), world.state, **world.settings) as first, calling(first.url) as client:
        body = {"ticket": TICKET, "tasks": ["summary"], "callback": world.note()}
        by_http = (await client.post("/jobs", json=body)).json()["id"]
        from_hub = apart(by_http)
        event = {"id": from_hub, "subscription": "team-a", "ticket": TICKET, "tasks": ["summary"]}
        await produce(world.state, event | {"callback": {"url": world.callback}})
        await until(lambda: world.requests() >= 2)
        await first.kill()
    for simulator in world.simulators.values():
        await simulator.clear()
    async with (
        running_tollgate(world.catalog(), world.state, **world.settings) as second,
        calling(second.url) as client,
    ):
        await produce(world.state, event | {"callback": {"url": world.callback}})
        for job_id in (by_http, from_hub):
            told = await finished(client, job_id)
            assert told["status"] == "succeeded", told
            assert told["result"]["summary"]["issue"]
            assert told["callback"]["status"] == "delivered"
    [note] = world.instance.notes(SYS_ID)
    assert note.endswith(f"Tollgate job {by_http}")
    assert {name for name, _ in world.hook.told} == {from_hub}
    assert world.hook.told[0][1]["result"]["summary"]["issue"]


@pytest.mark.timeout(180)
async def test_killed_between_result_and_callback(world: World) -> None:
    """A process killed after the result and before anybody was told leaves the telling to the next one."""
    world.hook.deaf = 1
    world.instance.lost = 1
    async with running_tollgate(world.catalog(), world.state, **world.settings) as first, calling(first.url) as client:
        hooked = {"ticket": TICKET, "tasks": ["summary"], "callback": {"url": world.callback}}
        noted = {"ticket": TICKET, "tasks": ["summary"], "callback": world.note()}
        jobs = [(await client.post("/jobs", json=each)).json()["id"] for each in (hooked, noted)]
        await until(lambda: world.hook.told and world.instance.requests)
        await first.kill()
    async with (
        running_tollgate(world.catalog(), world.state, **world.settings) as second,
        calling(second.url) as client,
    ):
        told = [await finished(client, job_id) for job_id in jobs]
        assert [each["callback"]["status"] for each in told] == ["delivered", "delivered"]
        found = await statements(second.url, 2)
    assert {name for name, _ in world.hook.told} == {jobs[0]}
    assert len({json.dumps(body, sort_keys=True) for _, body in world.hook.told}) == 1
    assert len(world.instance.notes(SYS_ID)) == 1
    assert charged(found) == invoiced(world.simulators)


@pytest.mark.timeout(120)
async def test_given_once(world: World) -> None:
    """The same ticket twice is paid once, a changed one is refused, and a late answer becomes a job that goes on."""
    async with running_tollgate(world.catalog(), world.state, **world.settings) as tollgate:
        async with calling(tollgate.url) as client:
            body = {"ticket": TICKET | {"sys_updated_on": "2026-11-21 08:00:00"}, "tasks": ["summary"]}
            headers = {"x-correlation-id": "c-1"}
            answers = await asyncio.gather(*(client.post("/enrich", json=body, headers=headers) for _ in range(4)))
            assert {answer.status_code for answer in answers} == {200}
            assert {answer.headers["x-correlation-id"] for answer in answers} == {"c-1"}
            assert len({answer.content for answer in answers}) == 1
            assert sorted(answer.headers.get("idempotency-replayed", "") for answer in answers) == ["", *["true"] * 3]
            assert world.requests() == 1
            refused = await client.post("/enrich", json=body | {"output_language": "pt"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_mismatch")
            keyed = await client.post(
                "/enrich", json=body | {"output_language": "pt"}, headers={"idempotency-key": "k"}
            )
            assert keyed.status_code == 200
            assert len((await statements(tollgate.url, 2))[0]["lines"]) == 1
        async with calling(tollgate.url) as other:
            other.headers["api-key"] = KEYS["team-b"]
            assert "idempotency-replayed" not in (await other.post("/enrich", json=body)).headers


@pytest.mark.timeout(180)
async def test_a_late_answer(world: World) -> None:
    """With mode auto an answer that takes longer than its caller waits is a job, in which the same work goes on."""
    for simulator in world.simulators.values():
        await simulator.inject(Slow(seconds=3))
    settings = world.settings | {"SYNC_SECONDS": "1"}
    async with running_tollgate(world.catalog(), world.state, **settings) as late, calling(late.url) as client:
        answer = await client.post("/enrich", json={"ticket": TICKET, "tasks": ["summary"]})
        assert answer.status_code == 202, answer.text
        told = await finished(client, answer.headers["location"].rpartition("/")[2])
        assert told["status"] == "succeeded"
        assert world.requests() == 1


@pytest.mark.timeout(120)
async def test_subscriptions_rights(world: World) -> None:
    """A job is charged to its subscription, by its rights: one that is unknown or out of budget fails, and says why."""
    catalog = world.catalog()
    catalog["subscriptions"]["team-b"]["deployments"] = ["embed"]
    async with running_tollgate(catalog, world.state, **world.settings) as tollgate:
        event = {"ticket": TICKET, "tasks": ["summary"]}
        await produce(
            world.state,
            event | {"id": "nobodys", "subscription": "team-z"},
            event | {"id": "not-allowed", "subscription": "team-b"},
            event | {"id": "fine", "subscription": "team-a"},
        )
        async with calling(tollgate.url) as client:
            assert (await finished(client, "fine"))["status"] == "succeeded"
            assert (await client.get("/jobs/not-allowed")).status_code == 404
            client.headers["api-key"] = KEYS["team-b"]
            told = await finished(client, "not-allowed")
            assert (told["status"], told["error"]["code"]) == ("failed", "permission_denied")


@pytest.mark.timeout(180)
@pytest.mark.skipif(not INCIDENTS.exists(), reason="the demo incidents are not beside the checkout")
async def test_real_incidents(world: World) -> None:
    """ServiceNow's own demo incidents, whole rows by HTTP and from a producer, come out as patch, job and work note."""
    incidents: list[dict[str, Any]] = json.loads(INCIDENTS.read_text())["incidents"]
    for incident in incidents:
        world.instance.add(incident["sys_id"], number=incident["number"])
    rest: dict[str, Any] = {
        "tasks": ["summary", "classification"],
        "choices": {"category": ["Network", "Hardware", "Software"]},
    }
    bodies: list[dict[str, Any]] = [{"ticket": incident, "callback": world.note()} | rest for incident in incidents]
    async with running_tollgate(world.catalog(), world.state, **world.settings) as desk, calling(desk.url) as client:
        half = len(bodies) // 2
        jobs = [(await client.post("/jobs", json=body)).json()["id"] for body in bodies[:half]]
        events = [{"id": body["ticket"]["number"], "subscription": "team-a", **body} for body in bodies[half:]]
        await produce(world.state, *events)
        for job_id, incident in zip([*jobs, *(event["id"] for event in events)], incidents, strict=True):
            told = await finished(client, job_id)
            assert (told["status"], told["callback"]["status"]) == ("succeeded", "delivered"), told
            assert told["result"]["number"] == incident["number"]
            assert told["result"]["patch"] is not None
            assert len(world.instance.notes(incident["sys_id"])) == 1
