import json
from typing import Any

import httpx2
import pytest

from local.simulator.server import Simulator, control_listener, serve_all
from local.simulator.settings import BackendSettings, Deployment
from local.simulator.tokens import Tokenizers
from seams.clock import SystemClock

DEPLOYMENTS = {"gpt-4o": Deployment(model="gpt-4o-2024-11-20")}
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


async def ask(http: httpx2.AsyncClient, simulator: Simulator) -> httpx2.Response:
    return await http.post(f"{simulator.url}/openai/v1/chat/completions", json=BODY, headers={"api-key": "key"})


async def test_faults_are_posted_listed_and_deleted(simulator: Simulator) -> None:
    """The control route takes a JSON list, shows what is left of it, and takes it back."""
    async with httpx2.AsyncClient(base_url=f"{simulator.url}/simulator/") as http:
        posted = await http.post("faults", json=[{"kind": "status", "status": 503, "times": 2}])
        assert posted.json()[0]["times"] == 2
        assert (await http.get("faults")).json() == posted.json()
        assert (await http.delete("faults")).json() == []
        assert (await http.get("faults")).json() == []


@pytest.mark.parametrize(
    "faults", [{"kind": "reset"}, [{"kind": "unknown"}], [{"kind": "cut", "after": 3}], [{"kind": "status"}], "no"]
)
async def test_faults_that_cannot_be_read_are_refused(simulator: Simulator, faults: Any) -> None:
    """A wrong list is 400 with what is wrong in it, and none of it is taken."""
    async with httpx2.AsyncClient() as http:
        answer = await http.post(f"{simulator.url}/simulator/faults", content=json.dumps(faults))
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert simulator.faults() == []


async def test_invoice_requests_and_reset(simulator: Simulator) -> None:
    """What was billed and asked is served as JSON; reset forgets both; other paths are 404."""
    async with httpx2.AsyncClient() as http:
        await http.post(f"{simulator.url}/openai/v1/chat/completions", json=BODY, headers={"api-key": "made-up-key"})
        control = f"{simulator.url}/simulator"
        invoice = (await http.get(f"{control}/invoice")).json()
        assert invoice["lines"][0]["billed"]
        assert invoice["totals"][0]["requests"] == 1
        assert (await http.get(f"{control}/requests")).json()[0]["body"] == BODY
        assert (await http.post(f"{control}/reset")).status_code == 200
        assert (await http.get(f"{control}/invoice")).json()["lines"] == []
        assert (await http.get(f"{control}/requests")).json() == []
        for path in ("unknown", "backends/other/faults", "backends/east/other"):
            assert (await http.get(f"{control}/{path}")).status_code == 404


async def test_a_refused_backend_is_brought_back_from_elsewhere(tokenizers: Tokenizers) -> None:
    """Another backend of the process, and the control port, reach one that refuses connections."""
    settings = [BackendSettings(name=name, api_key="key", deployments=DEPLOYMENTS) for name in ("east", "west")]
    async with serve_all(settings, tokenizers=tokenizers) as running, httpx2.AsyncClient() as http:
        control = control_listener(running, 0, SystemClock())
        await control.open()
        west = f"{running['west'].url}/simulator/backends/east/faults"
        always = f"http://127.0.0.1:{control.port}/simulator/backends/east/faults"
        for place in (west, always):
            await http.post(place, json=[{"kind": "refuse"}])
            with pytest.raises(httpx2.ConnectError):
                await ask(http, running["east"])
            assert (await http.delete(place)).status_code == 200
            assert (await ask(http, running["east"])).status_code == 200
        await control.close()


async def test_a_backend_can_refuse_itself(simulator: Simulator) -> None:
    """Asked on its own port, it answers that it will refuse, and then does, on kept connections too."""
    async with httpx2.AsyncClient() as http:
        answer = await http.post(f"{simulator.url}/simulator/faults", json=[{"kind": "refuse"}])
        assert answer.json() == [{"kind": "refuse", "times": None, "operation": None, "deployment": None,
                                  "header": None, "seconds": None}]  # fmt: skip
        with pytest.raises(httpx2.TransportError):
            await http.get(f"{simulator.url}/simulator/faults")
