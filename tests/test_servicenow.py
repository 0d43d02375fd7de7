"""The stand-in ServiceNow is as strict as the real one, and our requests for work notes are what it takes."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from enrichment.jobs import work_notes
from enrichment.jobs.outbound import Answer
from tests.served import served
from tests.servicenow import Instance

SYS_ID = "0123456789abcdef0123456789abcdef"
PATH = f"/api/now/table/incident/{SYS_ID}"
USER = ("tollgate", "secret")


@pytest.fixture
def instance() -> Instance:
    made = Instance({"tollgate": "secret", "reader": "secret"}, {"client": "hidden"}, readers=frozenset({"reader"}))
    made.add(SYS_ID, number="INC0010023", short_description="VPN drops", impact="3")
    return made


@pytest.fixture
async def client(instance: Instance) -> AsyncIterator[httpx2.AsyncClient]:
    async with served(instance.app()) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as opened:
        yield opened


async def test_refusals(client: httpx2.AsyncClient, instance: Instance) -> None:
    """No or wrong credentials, a reader's change, an unknown record, no JSON, too many requests: each as documented."""
    assert (await client.get(PATH)).status_code == 401
    assert (await client.get(PATH, auth=("tollgate", "wrong"))).status_code == 401
    assert (await client.get(PATH, headers={"authorization": "Bearer made-up"})).status_code == 401
    assert (await client.patch(PATH, json={}, auth=("reader", "secret"))).status_code == 403
    assert (await client.patch(f"{PATH[:-1]}0", json={}, auth=USER)).status_code == 404
    sent = {"content-type": "application/json"}
    assert (await client.patch(PATH, content=b"{", headers=sent, auth=USER)).status_code == 400
    assert (
        await client.patch(PATH, content=b"{}", headers={"content-type": "text/plain"}, auth=USER)
    ).status_code == 415
    instance.throttled = 1
    refused = await client.get(PATH, auth=USER)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.json()["status"] == "failure"


async def test_a_change(client: httpx2.AsyncClient) -> None:
    """Fields are changed but for those that an ACL forbids or the table lacks, about which nothing is said."""
    changes = {"impact": "2", "priority": "1", "number": "X", "u_unknown": "x", "work_notes": "hello"}
    told = (await client.patch(PATH, json=changes, auth=USER)).json()["result"]
    assert (told["impact"], told["number"], told.get("priority"), told["work_notes"]) == ("2", "INC0010023", None, "")
    read = await client.get(f"{PATH}?sysparm_fields=work_notes&sysparm_display_value=true", auth=USER)
    assert read.json()["result"]["work_notes"].endswith("tollgate (Work notes)\nhello\n\n")


async def test_client_credentials(client: httpx2.AsyncClient) -> None:
    """A client of the instance gets an access token that works, another one an error."""
    form = {"grant_type": "client_credentials", "client_id": "client", "client_secret": "hidden"}
    assert (await client.post("/oauth_token.do", data=form | {"client_secret": "wrong"})).status_code == 401
    assert (await client.post("/oauth_token.do", data=form | {"grant_type": "password"})).status_code == 401
    token = (await client.post("/oauth_token.do", data=form)).json()
    headers = {"authorization": f"{token['token_type']} {token['access_token']}"}
    assert (await client.get(PATH, headers=headers)).status_code == 200


async def test_our_requests(client: httpx2.AsyncClient, instance: Instance) -> None:
    """The note that is written is found again by the request that looks for it."""
    result = {"summary": {"issue": "VPN drops."}, "suggestions": {"category": {"value": "Network", "band": "High"}}}
    written = work_notes.patch_request(PATH, {}, "job-7", result, apply_patch=False)
    answer = await client.patch(written.url, content=written.body, headers=dict(written.headers), auth=USER)
    assert answer.status_code == 200
    read = work_notes.read_request(PATH, {})
    found = await client.get(read.url, headers=dict(read.headers), auth=USER)
    seen = Answer(found.status_code, {}, found.content)
    assert work_notes.holds(seen, "job-7")
    assert not work_notes.holds(seen, "job-8")
    assert instance.notes(SYS_ID) == [
        "Issue: VPN drops.\nSuggested category: Network (High confidence)\n\nTollgate job job-7"
    ]
