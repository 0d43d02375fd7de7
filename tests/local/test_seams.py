"""The seams on a developer's machine."""

from pathlib import Path

import pytest

from hosting.settings import Settings
from local.seams import open_seams
from local.state import state_folder, streams_of
from local.tables import SQLiteTables


def kept(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


async def test_app_and_host_share_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the app opens by its settings is the very stream that the host reads, in the folder that STATE names."""
    monkeypatch.setenv("STATE", str(tmp_path))
    seams = open_seams(Settings())
    assert isinstance(seams.tables, SQLiteTables)
    assert seams.stream("usage") is streams_of(state_folder()).stream("usage")
    assert kept(tmp_path) == set()
    await seams.stream("usage").publish([b"x"], "key")
    assert "events-usage.sqlite" in kept(tmp_path)
    await seams.stream("usage").close()
    await seams.tables.close()


def test_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without STATE, or with an empty one, it is .local in the working directory."""
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("STATE", raising=False)
        else:
            monkeypatch.setenv("STATE", value)
        assert state_folder() == Path.cwd() / ".local"
