"""How long the app's import takes, beside that of the two packages it could not do without."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SETTINGS: Final = {"TOLLGATE_SEAMS": "local.seams:open_seams", "DEMO_BACKEND_KEY": "unused"}


def import_ratio(rounds: int) -> float:
    """Return the CPU time of `import function_app` to that of `import fastapi, openai`, each in a Python of its own."""
    return median(_seconds("import function_app") / _seconds("import fastapi, openai") for _ in range(rounds))


def _seconds(statement: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], cwd=ROOT, env={**os.environ, **SETTINGS}, check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
