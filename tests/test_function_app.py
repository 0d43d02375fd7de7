"""The real function_app.py: as the worker library indexes it, and as the files beside it describe it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosting.worker.hosts import ROOT, start_host

SETTINGS = {"TOLLGATE_SEAMS": "local.seams:open_seams", "DEMO_BACKEND_KEY": "unused", "GATEWAY_CATALOG": ""}


@pytest.mark.parametrize("name", ["worker-streamed", "worker-buffered"])
def test_the_worker_serves_it(name: str, tmp_path: Path) -> None:
    """The functions are indexed as Azure needs them, and the app answers through the worker."""
    with start_host(name, tmp_path, ROOT, STATE=str(tmp_path), **SETTINGS) as host:
        functions = host.ready["functions"]
        timers = {"bill_background", "close_day", "republish_outbox", "sweep_jobs", "sweep_orphans"}
        assert set(functions) == {"http_app", "collect_usage", "run_jobs"} | timers
        http, *_ = functions["http_app"]["bindings"]
        assert (http["type"], http["route"], http["authLevel"]) == ("httpTrigger", "{*path}", "ANONYMOUS")
        assert len(http["methods"]) == 7
        (usage,) = functions["collect_usage"]["bindings"]
        assert (usage["type"], usage["eventHubName"], usage["connection"]) == ("eventHubTrigger", "usage", "EVENTHUB")
        assert (usage["cardinality"], usage["dataType"]) == ("MANY", "BINARY")
        assert functions["collect_usage"]["max_retries"] == -1
        (jobs,) = functions["run_jobs"]["bindings"]
        assert (jobs["type"], jobs["eventHubName"], jobs["cardinality"]) == ("eventHubTrigger", "jobs", "MANY")
        (timer,) = functions["republish_outbox"]["bindings"]
        assert (timer["type"], timer["schedule"]) == ("timerTrigger", "*/30 * * * * *")
        (timer,) = functions["close_day"]["bindings"]
        assert (timer["type"], timer["schedule"]) == ("timerTrigger", "0 0 1-23 * * *")
        (timer,) = functions["sweep_orphans"]["bindings"]
        assert (timer["type"], timer["schedule"]) == ("timerTrigger", "0 * * * * *")
        assert "/openai/deployments/{deployment}/chat/completions" in host.get("/openapi.json")["paths"]
        assert host.request("GET", "/openai/v1/models")[0].status == 401


def test_the_garbage_collector_passes_over_it(tmp_path: Path) -> None:
    """What the import leaves behind, some hundred thousand objects, is not looked through again while calls wait."""
    script = "import gc, function_app; print(len(gc.get_objects()), gc.get_freeze_count())"
    environment = {**os.environ, **SETTINGS, "STATE": str(tmp_path)}
    command = [sys.executable, "-c", script]
    printed = subprocess.check_output(command, cwd=ROOT, env=environment, timeout=60)  # noqa: S603 - our own script
    looked_through, passed_over = map(int, printed.split())
    assert passed_over > 100_000
    assert looked_through < passed_over / 100


def test_host_settings() -> None:
    """No route prefix, batches that the collector is fast at, and a time-out that covers long streams."""
    settings = json.loads((ROOT / "host.json").read_text())
    assert settings["extensions"]["http"]["routePrefix"] == ""
    assert settings["extensions"]["eventHubs"]["maxEventBatchSize"] == 1000
    assert settings["extensionBundle"]["version"] == "[4.0.0, 5.0.0)"
    assert settings["telemetryMode"] == "OpenTelemetry"
    assert settings["functionTimeout"] == "00:30:00"


def test_only_the_app_is_deployed() -> None:
    """.funcignore leaves out everything of the checkout's top level but what runs on Azure, and the licence."""
    patterns = (ROOT / ".funcignore").read_text().split()
    ignored = re.compile("|".join(re.escape(pattern).replace(r"\*", ".*") for pattern in patterns))
    packages = {"gateway", "chargeback", "enrichment", "hosting", "seams"}
    deployed = {"function_app.py", "host.json", "requirements.txt", "LICENSE"} | packages
    files = {"Makefile", "README.md", "local.settings.json", "pyproject.toml", "requirements-dev.txt"}
    folders = {"local", "tests", "bench", "docs", "evaluation", ".ci", ".venv", ".git", ".github", ".local"}
    for path in deployed | files | folders:
        assert (ignored.fullmatch(path) is None) == (path in deployed), path
