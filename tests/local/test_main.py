"""`python -m local` as a process: its ready line, its end, its errors; the app is a stand-in."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
STANDIN = Path(__file__).parent / "standin"


class Tollgate:
    """A running `python -m local`, and what it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed = ""
        self.url = ""

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if line.startswith("Tollgate is ready at "):
                self.url = line.removeprefix("Tollgate is ready at ").strip()
            if "Ctrl-C" in line:
                return
        raise AssertionError("it ended before it was ready")

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        with contextlib.closing(http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10)) as connection:
            connection.request(method, path, body)
            return json.loads(connection.getresponse().read())

    def collected(self, count: int, seconds: float = 10) -> list[str]:
        """Wait until the app has collected so many events."""
        deadline = time.monotonic() + seconds
        while len(events := self.ask("GET", "/collected")) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return [str(event) for event in events]

    def publish(self, body: bytes) -> None:
        """Publish an event, as often as it takes until the hub has acknowledged it."""
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            with contextlib.suppress(ValueError, OSError):
                if self.ask("POST", "/publish", body) == {"published": body.decode()}:
                    return
        raise AssertionError("the hub took nothing")

    def children(self) -> list[int]:
        listing = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listing.split()]


Run = Callable[..., contextlib.AbstractContextManager[Tollgate]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """What starts `python -m local` with an environment, in the folder of an app."""

    @contextlib.contextmanager
    def running(directory: Path = STANDIN, **environment: str) -> Iterator[Tollgate]:
        settings = {"PYTHONPATH": str(ROOT), "PORT": "0", "STATE": str(tmp_path / "state")} | environment
        process = subprocess.Popen(
            [sys.executable, "-m", "local"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=directory,
            env={name: value for name, value in os.environ.items() if name != "GATEWAY_CATALOG"} | settings,
        )
        with process:
            try:
                yield Tollgate(process)
            finally:
                if process.poll() is None:
                    process.kill()

    return running


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_serves_until_interrupted(run: Run) -> None:
    """It says when it is ready, serves HTTP, events and timers, names what it does not serve; Ctrl-C ends all of it."""
    with run() as tollgate:
        tollgate.wait_until_ready()
        children = tollgate.children()
        assert len(children) == 1
        assert "demo-service-desk" in tollgate.printed
        assert "read_letter (queueTrigger)" in tollgate.printed
        assert tollgate.ask("GET", "/closed") == [False]
        assert tollgate.ask("POST", "/publish", b"one") == {"published": "one"}
        assert tollgate.collected(1) == ["one"]
        began = time.monotonic()
        os.kill(tollgate.process.pid, signal.SIGINT)
        _, errors = tollgate.process.communicate(timeout=10)
        assert time.monotonic() - began < 8
    assert tollgate.process.returncode == 0
    assert "Traceback" not in errors
    assert not any(alive(pid) for pid in children)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_open_streams_are_cut(run: Run, number: signal.Signals) -> None:
    """A signal ends the process in about two seconds although a caller is still listening; so do two at once."""
    with run(GATEWAY_CATALOG="mine.toml") as tollgate:
        tollgate.wait_until_ready()
        with contextlib.closing(http.client.HTTPConnection(tollgate.url.removeprefix("http://"))) as connection:
            connection.request("GET", "/endless")
            response = connection.getresponse()
            assert response.readline() == b"x\n"
            began = time.monotonic()
            for _ in range(2 if number == signal.SIGINT else 1):
                os.kill(tollgate.process.pid, number)
            _, errors = tollgate.process.communicate(timeout=10)
            assert time.monotonic() - began < 8
    assert tollgate.process.returncode == 0
    assert "Traceback" not in errors


@pytest.mark.parametrize(("argument", "code", "told"), [("--help", 0, "STATE (.local)"), ("--port=80", 2, "--port=80")])
def test_arguments(argument: str, code: int, told: str) -> None:
    """It takes none: help is given and anything else refused, and neither starts anything."""
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "local", argument], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == code
    assert told in done.stdout + done.stderr
    assert "ready" not in done.stdout


def test_started_twice(run: Run, tmp_path: Path) -> None:
    """A second start on the same port is one line on stderr and exit code 2, and leaves the first alone.

    The first has a catalog of the user's own: no backends run, no demo keys are shown, and the catalog is named.
    """
    with run(GATEWAY_CATALOG="mine.toml") as first:
        first.wait_until_ready()
        assert first.children() == []
        assert "mine.toml" in first.printed
        assert "demo-" not in first.printed
        port = int(first.url.rpartition(":")[2])
        with run(PORT=str(port), STATE=str(tmp_path / "other")) as second:
            printed, errors = second.process.communicate(timeout=10)
        assert (second.process.returncode, printed) == (2, "")
        advice = f"Stop what runs there, or take another port: make run PORT={port + 1}"
        assert errors == f"Port {port} is taken; Tollgate may be running there already. {advice}\n"
        assert first.ask("GET", "/collected") == []


@pytest.mark.parametrize("port", ["http", "-1", "65536", "\u0663"])
def test_port_is_no_port(run: Run, port: str) -> None:
    """Nonsense for a port is told in one line."""
    with run(PORT=port) as tollgate:
        _, errors = tollgate.process.communicate(timeout=10)
    assert tollgate.process.returncode == 2
    assert errors == f"PORT must be a number from 0 to 65535, not {port!r}.\n"


@pytest.mark.parametrize("catalog", ["", "mine.toml"])
def test_state_that_cannot_be_written(run: Run, tmp_path: Path, catalog: str) -> None:
    """A state folder that cannot be written stops the start, whatever the catalog: events would be lost in it."""
    file = tmp_path / "file"
    file.write_text("a file, and no folder")
    with run(STATE=str(file / "state"), GATEWAY_CATALOG=catalog) as tollgate:
        output, errors = tollgate.process.communicate(timeout=10)
    assert tollgate.process.returncode == 2
    assert "ready" not in output
    assert errors == (
        f"The state folder {file / 'state'} cannot be written: Not a directory. Name another: make run STATE=...\n"
    )


def test_acknowledged_events_survive_sigkill(run: Run) -> None:
    """What was published before a SIGKILL, but not collected, is delivered after the next start; the demo is gone."""
    with run(HOLD="1") as first:
        first.wait_until_ready()
        children = first.children()
        for number in range(20):
            first.ask("POST", "/publish", b"%d" % number)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait(10)
    with run(GATEWAY_CATALOG="mine.toml") as second:
        second.wait_until_ready()
        assert second.collected(20) == [str(number) for number in range(20)]
        assert not any(alive(pid) for pid in children)


@pytest.mark.timeout(240)
def test_event_hubs_survive_kills(run: Run) -> None:
    """With EVENTS=eventhub a killed stand-in is started again; after a kill of all what was collected stays so."""
    with run(EVENTS="eventhub", GATEWAY_CATALOG="mine.toml") as first:
        first.wait_until_ready()
        (stand_in,) = first.children()
        assert "UseDevelopmentEmulator=true" in first.printed
        first.publish(b"before")
        assert "before" in first.collected(1, 40)
        os.kill(stand_in, signal.SIGKILL)
        first.publish(b"behind")
        assert "behind" in first.collected(2, 40)
        children = first.children()
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait(10)
    with run(EVENTS="eventhub", GATEWAY_CATALOG="mine.toml") as second:
        second.wait_until_ready()
        assert not any(alive(pid) for pid in children)
        second.publish(b"after")
        collected = second.collected(1, 40)
        assert "after" in second.collected(len(collected) + ("after" not in collected), 40)
        assert "before" not in second.collected(1)
        os.kill(second.process.pid, signal.SIGINT)
        _, errors = second.process.communicate(timeout=10)
    assert second.process.returncode == 0
    assert "Traceback" not in errors


def test_unknown_kind_of_events(run: Run) -> None:
    """A kind of event streams that does not exist is told in one line."""
    with run(EVENTS="kafka") as tollgate:
        printed, errors = tollgate.process.communicate(timeout=20)
    assert (tollgate.process.returncode, printed) == (2, "")
    assert errors == "EVENTS is files or eventhub, not 'kafka'.\n"


def test_the_product(run: Run) -> None:
    """The real app: a streamed chat through the demo backends is on the statement within two seconds; it ends well."""
    headers = {"api-key": "demo-service-desk", "content-type": "application/json"}
    body = b'{"stream": true, "messages": [{"role": "user", "content": "Why did the VPN drop at noon?"}]}'
    path = "/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21"
    with run(ROOT) as tollgate:
        tollgate.wait_until_ready()
        with contextlib.closing(http.client.HTTPConnection(tollgate.url.removeprefix("http://"))) as connection:
            connection.request("POST", path, body, headers)
            assert b"data: [DONE]" in connection.getresponse().read()
            deadline = time.monotonic() + 2
            requests = 0
            while not requests and time.monotonic() < deadline:
                month = time.strftime("%Y-%m", time.gmtime())
                connection.request("GET", f"/chargeback/statements/service-desk/{month}", headers=headers)
                requests = json.loads(connection.getresponse().read())["requests"]
        assert requests == 1
        os.kill(tollgate.process.pid, signal.SIGINT)
        _, errors = tollgate.process.communicate(timeout=10)
    assert tollgate.process.returncode == 0
    assert "Traceback" not in errors


def broken_app(tmp_path: Path, text: str) -> Path:
    shutil.copytree(STANDIN, tmp_path / "app")
    (tmp_path / "app" / "function_app.py").write_text(text)
    return tmp_path / "app"


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        (
            "from gateway.catalog.catalog_file import CatalogError\nraise CatalogError('x.toml', ['a: bad', 'c: bad'])",
            2,
            ["The catalog x.toml is not valid:", "  a: bad", "  c: bad"],
        ),
        (
            "import os\nos.environ['MAX_ATTEMPTS'] = '0'\nfrom hosting.settings import Settings\nSettings()",
            2,
            ["The app settings are not valid:", "  MAX_ATTEMPTS: Input should be greater than 0"],
        ),
        ("x = 1", 2, ["function_app.py holds 0 function apps; the Functions worker takes one"]),
    ],
    ids=["catalog", "setting", "app"],
)
def test_wrong_configuration(run: Run, tmp_path: Path, text: str, code: int, told: list[str]) -> None:
    """A wrong catalog, setting or app is told line by line on stderr, without a traceback."""
    with run(broken_app(tmp_path, text), GATEWAY_CATALOG="x.toml") as tollgate:
        printed, errors = tollgate.process.communicate(timeout=20)
    assert (tollgate.process.returncode, printed) == (code, "")
    assert errors.splitlines() == told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_before_it_is_ready(run: Run, tmp_path: Path, number: signal.Signals) -> None:
    """A signal while the app is still being imported ends the process without a traceback too."""
    slow = "import time\nprint('importing', flush=True)\ntime.sleep(0.5)\n" + (STANDIN / "function_app.py").read_text()
    with run(broken_app(tmp_path, slow), GATEWAY_CATALOG="x.toml") as tollgate:
        assert tollgate.process.stdout is not None
        assert tollgate.process.stdout.readline() == "importing\n"
        os.kill(tollgate.process.pid, number)
        printed, errors = tollgate.process.communicate(timeout=10)
    assert (tollgate.process.returncode, printed, errors) == (0, "", "")


def test_started_in_the_background(run: Run, tmp_path: Path) -> None:
    """A shell starts what runs in the background with SIGINT ignored; the signal ends it all the same."""
    slow = "import time\nprint('importing', flush=True)\ntime.sleep(0.5)\n" + (STANDIN / "function_app.py").read_text()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with run(broken_app(tmp_path, slow), GATEWAY_CATALOG="x.toml") as tollgate:
            assert tollgate.process.stdout is not None
            assert tollgate.process.stdout.readline() == "importing\n"
            os.kill(tollgate.process.pid, signal.SIGINT)
            assert tollgate.process.wait(timeout=20) == 0
    finally:
        signal.signal(signal.SIGINT, handler)


def test_app_that_does_not_start(run: Run, tmp_path: Path) -> None:
    """Where the app's start-up fails there is no ready line but the reason, and exit code 1."""
    text = (STANDIN / "function_app.py").read_text()
    failing = text.replace(
        "api = FastAPI()", "def lifespan(_):\n    raise ConnectionError('no pool')\n\napi = FastAPI(lifespan=lifespan)"
    )
    with run(broken_app(tmp_path, failing), GATEWAY_CATALOG="x.toml") as tollgate:
        printed, errors = tollgate.process.communicate(timeout=20)
    assert (tollgate.process.returncode, printed) == (1, "")
    assert "no pool" in errors
    assert errors.endswith("Tollgate did not start; the reason is logged above.\n")
