"""The promise of the ledger: whatever is killed, lost or said twice, each event is counted once, to the token."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 380


async def fire(azurite: str, *options: str) -> dict[str, Any]:
    """Run `python -m tests.proofs.fire`, whose many severed connections are nobody else's business."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.proofs.fire", "--azurite", azurite, "--json", *options),
        cwd=ROOT,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(RUN_SECONDS):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert out, errors.decode()[-3000:]
    outcome: dict[str, Any] = json.loads(out)
    assert process.returncode == bool(outcome["faults"])
    return outcome


@pytest.mark.timeout(400)
async def test_each_event_is_counted_once(azurite: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Rollups equal the sum of distinct events after 25 SIGKILLs, lost acknowledgements, duplicates, redelivery."""
    outcome = await fire(azurite, "--kills", "25")
    with capsys.disabled():
        print(f"\nunder fire: {outcome['report']}")  # noqa: T201 - a proof shows its figures
    assert outcome["faults"] == []
    assert outcome["found"] == outcome["expected"] > 0
    assert sum(outcome["kills"].values()) == 25
    assert outcome["kills"].keys() == {"the hub", "a collector"}
    assert outcome["stored"] > outcome["events"]
    assert outcome["duplicates"] > 0
    assert outcome["proved"] == outcome["stored"]


@pytest.mark.timeout(400)
async def test_the_control_is_not_exact(azurite: str) -> None:
    """A ledger that knows neither sequence numbers nor ids fails the same proof: the harness sees errors."""
    outcome = await fire(azurite, "--kills", "3", "--forgetful")
    assert outcome["found"] > outcome["expected"]
    assert outcome["faults"] != []
