"""The stand-in as a process."""

from pathlib import Path

import pytest

from local.child import Child, NotReady


async def test_one_stand_in_a_folder(tmp_path: Path) -> None:
    """A second process on the folder does not start; one that comes after the first does."""
    folder = ("--folder", str(tmp_path / "hubs"), "--spare-partitions", "1")
    first = await Child.start("local.eventhubs", *folder)
    with pytest.raises(NotReady):
        await Child.start("local.eventhubs", *folder)
    await first.end()
    second = await Child.start("local.eventhubs", *folder)
    await second.end()
