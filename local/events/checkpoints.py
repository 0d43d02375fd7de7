"""Checkpoints of a consumer group, a small file per partition, as Azure's host keeps a blob per partition."""

import os
from pathlib import Path
from urllib.parse import quote


class Checkpoints:
    """One hub's checkpoints in a folder. A process killed at any moment leaves the old number or the new one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, group: str, partition: str) -> int:
        """Return the last sequence number that the group is done with, -1 where it has not begun. Raises OSError."""
        try:
            return int(self._path(group, partition).read_text())
        except FileNotFoundError:
            return -1

    def save(self, group: str, partition: str, sequence: int) -> None:
        """Note that the group is done with everything up to this number. Raises OSError."""
        path = self._path(group, partition)
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(".new")
        written.write_text(str(sequence))
        os.replace(written, path)  # noqa: PTH105 - the one call that is known to be atomic

    def _path(self, group: str, partition: str) -> Path:
        return self._folder / quote(group, safe="$") / quote(partition, safe="")
