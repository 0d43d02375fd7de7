"""The command `tollgate` run as a process of its own."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from tests.gateway.catalogs import OPERATOR_KEY

COMMAND = [sys.executable, "-c", "from hosting.cli import main; main()"]
SECONDS = 60


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def tollgate(
    url: str, *arguments: str, key: str = OPERATOR_KEY, stdin: str = "", terminal: int | None = None
) -> Ran:
    """Run a command to its end; `terminal` is the width of one that it takes its output for, without colours."""
    environment = {**os.environ, "TOLLGATE_URL": url, "TOLLGATE_KEY": key}
    if terminal is not None:
        environment |= {"TTY_COMPATIBLE": "1", "TERM": "dumb", "COLUMNS": str(terminal)}
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    assert "Traceback" not in err.decode()
    return Ran(process.returncode, out.decode(), err.decode())
