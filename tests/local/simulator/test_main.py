import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import httpx2
import msgspec
import pytest

from local.simulator.__main__ import arguments, backends

ROOT = Path(__file__).parents[3]
EAST = '{"name": "east", "api_key": "key", "deployments": {"gpt-4o": {"model": "gpt-4o-2024-11-20"}}}'
WEST = EAST.replace("east", "west")


async def start(*options: str) -> tuple[asyncio.subprocess.Process, dict[str, int]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local.simulator", *options, cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        ports: dict[str, int] = json.loads(await process.stdout.readline())
    return process, ports


async def test_a_process_serves_its_backends_until_its_stdin_closes() -> None:
    """One line names a port for each; each answers; the process ends by itself when stdin does."""
    process, ports = await start("--backend", EAST, "--backend", WEST, "--control", "0", "--until-stdin-closes")
    assert set(ports) == {"east", "west", "control"}
    async with httpx2.AsyncClient() as http:
        for name in ("east", "west"):
            answer = await http.post(
                f"http://127.0.0.1:{ports[name]}/openai/v1/chat/completions",
                json={"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]},
                headers={"api-key": "key"},
            )
            assert answer.status_code == 200
        place = f"http://127.0.0.1:{ports['control']}/simulator/backends/east"
        assert (await http.post(f"{place}/faults", json=[{"kind": "refuse"}])).status_code == 200
        with pytest.raises(httpx2.ConnectError):
            await http.get(f"http://127.0.0.1:{ports['east']}/simulator/faults")
        await http.delete(f"{place}/faults")
        invoice = await http.get(f"http://127.0.0.1:{ports['east']}/simulator/invoice")
        assert len(invoice.json()["lines"]) == 1
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(10):
        assert await process.wait() == 0


async def test_a_signal_ends_it(tmp_path: Path) -> None:
    """SIGTERM ends a process that was started from a file, in order."""
    config = tmp_path / "backends.json"
    config.write_text(f"[{EAST}]")
    process, ports = await start("--config", str(config))
    assert set(ports) == {"east"}
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        assert await process.wait() == 0


def test_backends_come_from_options_and_from_a_file(tmp_path: Path) -> None:
    """Both ways add up, in order."""
    config = tmp_path / "backends.json"
    config.write_text(f"[{WEST}]")
    found = backends(arguments(["--backend", EAST, "--config", str(config)]))
    assert [entry.name for entry in found] == ["east", "west"]


@pytest.mark.parametrize(
    "options", [[], ["--backend", EAST, "--backend", EAST], ["--backend", EAST.replace("east", "control")]]
)
def test_backends_without_names_of_their_own_are_refused(options: list[str]) -> None:
    """None at all, two of one name, and the reserved name are errors."""
    with pytest.raises(ValueError, match="names of their own"):
        backends(arguments(options))


def test_a_wrong_setting_is_named() -> None:
    """An unknown field stops the start and is named by its path."""
    with pytest.raises(msgspec.ValidationError, match="regoin"):
        backends(arguments(["--backend", EAST.replace('"name"', '"regoin": "x", "name"')]))
