"""What is printed once the app answers."""

import json
import shlex
from datetime import UTC, datetime
from pathlib import Path

from local.demonstration import Demo
from local.ready import ready_text

URL = "http://127.0.0.1:7071"
NOW = datetime(2026, 5, 6, tzinfo=UTC)


def test_demo() -> None:
    """The ready line stands alone on top; keys, statement, backends and a stream to paste follow."""
    demo = Demo({"eastus-ptu": "http://127.0.0.1:9001"}, {})
    text = ready_text(URL, NOW, demo=demo, catalog="{}", not_served=[])
    assert text.splitlines()[0] == f"Tollgate is ready at {URL}"
    for expected in (
        f"{URL}/docs",
        f"{URL}/chargeback/statements/service-desk/2026-05",
        "demo-service-desk",
        "demo-data-science",
        "demo-operator",
        "http://127.0.0.1:9001/simulator/faults",
    ):
        assert expected in text


def test_commands_can_be_pasted() -> None:
    """The curl that streams is a command that a shell takes, with a body that is JSON."""
    text = ready_text(URL, NOW, demo=Demo({"a": "http://127.0.0.1:1"}, {}), catalog="", not_served=[])
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if "curl -N" in line)
    words = shlex.split("\n".join(lines[start : start + 3]))
    assert words[:2] == ["curl", "-N"]
    assert json.loads(words[-1])["stream"] is True


def test_the_ticket_to_enrich_is_there() -> None:
    """The curl that enriches posts a file of the repository that is JSON."""
    text = ready_text(URL, NOW, demo=Demo({"a": "http://127.0.0.1:1"}, {}), catalog="", not_served=[])
    words = shlex.split(text[text.index(f"curl {URL}/enrich") :].partition("\n\n")[0])
    assert words[1] == f"{URL}/enrich"
    assert json.loads((Path(__file__).parents[2] / words[-1].removeprefix("@")).read_text())["ticket"]


def test_own_catalog() -> None:
    """With a catalog of the user's own no demo key is shown, and the catalog is named."""
    text = ready_text(URL, NOW, demo=None, catalog="/etc/catalog.toml", not_served=["read_letter (queueTrigger)"])
    assert "/etc/catalog.toml" in text
    assert "demo-" not in text
    assert "Not served by this host: read_letter (queueTrigger)" in text


def test_catalog_given_as_json() -> None:
    """A catalog that is the setting's own text is not printed."""
    assert "from GATEWAY_CATALOG" in ready_text(URL, NOW, demo=None, catalog="{" + " " * 300 + "}", not_served=[])


def test_event_hubs() -> None:
    """Where events go through the stand-in its connection string is shown, and commands that a shell takes."""
    text = ready_text(URL, NOW, demo=None, catalog="", not_served=[], hub_port=5672)
    assert "Endpoint=sb://127.0.0.1:5672;" in text
    assert "UseDevelopmentEmulator=true" in text
    words = shlex.split(next(line for line in text.splitlines() if "/faults" in line))
    assert words[:2] == ["curl", "http://127.0.0.1:5672/faults"]
    assert json.loads(words[-1])["drop_acks"] == 0.2
