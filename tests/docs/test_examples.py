"""The pages' examples, run as a reader would run them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.catalog.catalog import Catalog
from gateway.catalog.catalog_file import load_catalog

ROOT = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:7071"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def calls() -> list[str]:
    pages = ("README.md", "docs/chargeback.md", "docs/enrichment.md", "docs/jobs.md")
    return [block for page in pages for block in blocks(page, "sh") if block.startswith("curl")]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the product as `make run` does, and yield where it is."""
    environment = {name: value for name, value in os.environ.items() if name != "GATEWAY_CATALOG"}
    state = str(tmp_path_factory.mktemp("state"))
    process = subprocess.Popen(
        [sys.executable, "-m", "local"],
        cwd=ROOT,
        env=environment | {"PORT": "0", "STATE": state, "LOG_LEVEL": "ERROR"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready.startswith("Tollgate is ready at "), ready
            yield ready.split()[-1]
        finally:
            process.send_signal(signal.SIGINT)


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - our own pages
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("call", calls())
def test_calls(call: str, address: str) -> None:
    """Each curl of README and docs gets an answer that is no error."""
    answer = run(["/bin/sh", "-c", call.replace(ADDRESS, address)])
    assert answer
    assert '"error"' not in answer


@pytest.mark.parametrize("snippet", blocks("README.md", "python"))
def test_sdk_snippets(snippet: str, address: str) -> None:
    """Each Python snippet of README runs as it stands, and prints something."""
    assert run([sys.executable, "-c", snippet.replace(ADDRESS, address)]).strip()


def test_catalog(tmp_path: Path) -> None:
    """The catalog of docs/deploy.md is a valid one."""
    (example,) = blocks("docs/deploy.md", "toml")
    path = tmp_path / "catalog.toml"
    path.write_text(example)
    catalog: Catalog = load_catalog(str(path), {"SWEDEN_KEY": "a key"}.get)
    assert set(catalog.deployments) == {"gpt-4o", "gpt-4o-mini"}
