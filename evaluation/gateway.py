"""A Tollgate to ask: one that runs already, or one of our own with the demo's backends or a catalog."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

READY: Final = "Tollgate is ready at "
DEMO_KEY: Final = "demo-service-desk"
_END_SECONDS: Final = 10.0


class NotStarted(Exception):
    """The message says what the process printed."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """`simulated`: the answers are made up by the demo's backends."""

    url: str
    key: str
    simulated: bool


@contextlib.contextmanager
def gateway(url: str | None, environment: Mapping[str, str]) -> Iterator[Gateway]:
    """Yield the Tollgate at `url`, or start one: with GATEWAY_CATALOG if it is set, else with the demo.

    TOLLGATE_KEY is a subscription's key; the demo has its own. Raises NotStarted.
    """
    key = environment.get("TOLLGATE_KEY", "")
    simulated = url is None and not environment.get("GATEWAY_CATALOG")
    if not key and not simulated:
        raise NotStarted("Set TOLLGATE_KEY to the key of a subscription of this Tollgate.")
    if url is not None:
        yield Gateway(url, key, simulated)
        return
    with tempfile.TemporaryDirectory(prefix="tollgate-evaluation-") as state, _started(environment, state) as own:
        yield Gateway(own, DEMO_KEY if simulated else key, simulated)


@contextlib.contextmanager
def _started(environment: Mapping[str, str], state: str) -> Iterator[str]:
    root = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "local"],
        cwd=root,
        env={**os.environ, **environment, "PORT": "0", "STATE": state},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None  # noqa: S101 - it was asked for as a pipe
    with process.stdout:
        try:
            first = process.stdout.readline()
            if not first.startswith(READY):
                raise NotStarted(f"Tollgate did not start: {first.strip() or 'see above'}")
            yield first.removeprefix(READY).strip()
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
