"""`python -m evaluation` as a process, with a Tollgate of its own and the demo's backends."""

import asyncio
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


async def evaluate(*arguments: str, **environment: str) -> tuple[int, str, str]:
    cleared = {name: value for name, value in os.environ.items() if name not in {"GATEWAY_CATALOG", "TOLLGATE_KEY"}}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "evaluation", *arguments),
        cwd=ROOT,
        env=cleared | environment | {"COLUMNS": "140"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(100):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_table_and_figures(tmp_path: Path) -> None:
    """Every field with labels is scored, with its cost, and it is said that the model was simulated."""
    file = tmp_path / "figures.json"
    code, out, err = await evaluate("--limit", "6", "--json", str(file))
    assert code == 0, err
    for shown in ("6 tickets; model gpt-4o-mini", "accuracy", "coverage / precision", "USD at list prices", "tokens"):
        assert shown in out
    assert "say nothing about any model" in " ".join(out.split())
    figures = json.loads(file.read_text())
    assert figures["simulated"] is True
    assert [each["field"] for each in figures["fields"]] == [
        *("category", "subcategory", "assignment_group", "impact", "urgency")
    ]
    assert all(each["labelled"] == 6 for each in figures["fields"])
    assert figures["errors"] == {}
    assert float(figures["per_ticket"]["cost"]) > 0


async def test_what_is_missing_is_told(tmp_path: Path) -> None:
    """Without a key for an own catalog, without incidents and without a Tollgate, one line says what is wrong."""
    assert "Set TOLLGATE_KEY" in (await evaluate(GATEWAY_CATALOG="{}"))[1]
    assert "cannot be read" in (await evaluate("--incidents", str(tmp_path / "none.json")))[1]
    code, out, _ = await evaluate(GATEWAY_CATALOG="{}", TOLLGATE_KEY="k")
    assert (code, "did not start" in out) == (1, True)


async def test_a_number_of_tickets_is_at_least_one() -> None:
    """No tickets at a time, or none at all, is refused as the command line is read."""
    for option in ("--parallel", "--limit"):
        code, _, err = await evaluate(option, "0")
        assert (code, f"argument {option}: 0 is not at least 1" in err) == (2, True)
