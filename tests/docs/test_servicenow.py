"""The scripts of docs/servicenow, in a made-up instance: what they send is what Tollgate takes."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from enrichment.jobs.deliveries import signature
from enrichment.jobs.order import JobBody

FOLDER = Path(__file__).parents[2] / "docs" / "servicenow"
INSTANCE = Path(__file__).parent / "servicenow_instance.js"
SYS_ID = "0123456789abcdef0123456789abcdef"
INCIDENT = {
    "sys_id": SYS_ID,
    "number": "INC0010023",
    "sys_updated_on": "2026-11-21 08:00:00",
    "sys_mod_count": "7",
    "short_description": "VPN drops ${now}",
    "description": "Since Monday.",
    "category": {"display_value": "Inquiry / Help", "value": "inquiry"},
    "work_notes": "2026-11-21 08:00:00 - System Administrator (Work notes)\nLooking into it.\n\n",
    "comments": "",
}
TABLES = {
    "sys_choice": [{"label": "Network", "value": "network"}, {"label": "Inquiry / Help", "value": "inquiry"}],
    "sys_user_group": [{"name": "Network", "sys_id": "f" * 32}],
    "incident": [INCIDENT],
}
ANSWER = {"patch": {"category": "network"}, "summary": {"issue": "VPN drops."}}

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def run(name: str, answer: dict[str, Any] | None = None, **situation: Any) -> dict[str, Any]:
    given = {"tables": TABLES, "answer": answer, "credentials": {"api_key": "k", "password": "signing-key"}} | situation
    done = subprocess.run(  # noqa: S603 - our own scripts
        ["node", str(INSTANCE), str(FOLDER), name],  # noqa: S607 - whichever node there is
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.js")), ids=lambda path: path.name)
def test_syntax(path: Path) -> None:
    """Each script is one that a parser takes, and uses nothing newer than ECMAScript 5."""
    done = subprocess.run(["node", "--check", str(path)], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603, S607 - as above
    assert done.returncode == 0, done.stderr
    code = "\n".join(line for line in path.read_text().splitlines() if not line.strip().startswith("//"))
    assert not re.search(r"=>|`|\b(let|const|class|await)\b", code)


def test_the_business_rule() -> None:
    """It sends a job that Tollgate takes, under a key of the incident's update, without substituting variables."""
    told = run("business_rule.js", {"status": 202, "body": {"id": "j1"}}, current=INCIDENT)
    [request] = told["requests"]
    assert (request["message"], request["method"], request["substitution"]) == ("Tollgate", "create-job", False)
    assert request["headers"] == {
        "Content-Type": "application/json",
        "api-key": "k",
        "Idempotency-Key": f"{SYS_ID}-7",
        "x-correlation-id": SYS_ID,
    }
    body = JobBody.model_validate(request["body"])
    assert body.ticket.short_description == "VPN drops ${now}"
    assert (body.ticket.category.display_value, body.ticket.category.value) == ("Inquiry / Help", "inquiry")
    assert [entry.value for entry in body.ticket.work_notes] == ["Looking into it."]
    assert [choice.value for choice in body.choices.category] == ["network", "inquiry"]
    assert body.callback is not None
    assert body.callback.url == "https://contoso.service-now.com/api/now/table/incident"
    assert not told["warnings"]


@pytest.mark.parametrize("answer", [None, {"status": 503, "body": {}}])
def test_an_app_that_is_out(answer: dict[str, Any] | None) -> None:
    """Where Tollgate does not answer, or refuses, the rule logs it and fails nothing."""
    told = run("business_rule.js", answer, current=INCIDENT)
    assert told["errors"]
    assert told["warnings"] == ["Tollgate took no job for INC0010023"]


def test_the_button() -> None:
    """It waits for less than ServiceNow does, writes the patch, and shows the summary."""
    told = run("apply_suggestions.js", {"status": 200, "body": ANSWER}, current=INCIDENT)
    [request] = told["requests"]
    assert (request["method"], request["body"]["mode"]) == ("enrich-ticket", "sync")
    assert 25_000 < request["timeout"] < 30_000
    assert told["changes"] == [["category", "network"], ["update", ""]]
    assert told["messages"] == ["VPN drops."]


def test_the_flow_action() -> None:
    """It gives the id of the job that it made, or nothing."""
    assert run("flow_action.js", {"status": 202, "body": {"id": "j1"}}, inputs={"incident": SYS_ID})["outputs"] == {
        "job": "j1"
    }
    assert run("flow_action.js", {"status": 202, "body": {"id": "j1"}}, inputs={"incident": "x"})["outputs"] == {
        "job": ""
    }


def test_the_rest_message() -> None:
    """Its methods are named by the operations that they call."""
    made = run("rest_message.js")["inserted"]
    assert [table for table, _ in made] == ["sys_rest_message", "sys_rest_message_fn", "sys_rest_message_fn"]
    assert [row["function_name"] for _, row in made[1:]] == ["enrich-ticket", "create-job"]
    assert [row["rest_endpoint"].rpartition("/")[2] for _, row in made[1:]] == ["enrich", "jobs"]


@pytest.mark.parametrize(
    ("age", "key", "status"), [(0, b"signing-key", 204), (0, b"another", 403), (600, b"signing-key", 403)]
)
def test_the_callback(age: int, key: bytes, status: int) -> None:
    """It believes our signature for five minutes, writes the patch, and notes the job so that it is written once."""
    job = {"id": "j1", "status": "succeeded", "result": {"sys_id": SYS_ID, "patch": {"category": "network"}}}
    body = json.dumps(job)
    seconds = int(time.time()) - age
    headers = {"x-tollgate-signature": f"t={seconds},v1={signature(key, seconds, body.encode())}"}
    told = run("callback_resource.js", request={"body": body, "headers": headers})
    assert told["status"] == status
    changes = [["category", "network"], ["correlation_display", "Tollgate j1"], ["update", ""]]
    assert told["changes"] == (changes if status == 204 else [])


@pytest.mark.parametrize("header", ["", "t=1,v1=", "v1=00", "t=x,v1=" + "0" * 64])
def test_a_callback_without_a_signature(header: str) -> None:
    """A message without a signature of ours is refused."""
    told = run("callback_resource.js", request={"body": "{}", "headers": {"x-tollgate-signature": header}})
    assert (told["status"], told["changes"]) == (403, [])
