"""What is loaded of an app's module; tests/hosting/worker holds invocations against the real worker."""

from pathlib import Path

import pytest

from local.host.invocations import load_functions

TEXT = """
import azure.functions as func

app = func.FunctionApp()


@app.route(route="x")
async def served(req): ...


@app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
async def collect(timer): ...
"""


@pytest.mark.parametrize(
    ("value", "loaded"), [("true", ["served"]), ("1", ["served"]), ("false", ["served", "collect"])]
)
def test_disabled_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, loaded: list[str]) -> None:
    """The app setting that disables a function on Azure disables it here."""
    module = f"functions_under_{value}"
    (tmp_path / f"{module}.py").write_text(TEXT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("AzureWebJobs.collect.Disabled", value)
    assert [function.name for function in load_functions(tmp_path, module)] == loaded
