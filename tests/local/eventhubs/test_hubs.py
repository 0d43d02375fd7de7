"""What a stand-in keeps: events on disk, places to begin at, owners of partitions, and the names of all that."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from local.eventhubs.addresses import Node, Place, Selector, parse, parse_selector
from local.eventhubs.encoding import map_of
from local.eventhubs.errors import Refused
from local.eventhubs.hubs import MAX_HUBS, Hub, Hubs
from local.eventhubs.log import RETENTION_MILLISECONDS, HubLog, NewEvent
from local.eventhubs.messages import Published
from local.eventhubs.ownership import Ownership, Receiver
from tests.clocks import HandClock

NOW = 1_760_000_000_000


def new(*bodies: bytes) -> list[NewEvent]:
    return [NewEvent(map_of({}), body) for body in bodies]


def test_log_goes_on_where_it_was(tmp_path: Path) -> None:
    """A log that is opened again holds the same events, numbers and age; time in a partition never goes back."""
    log = HubLog.open(tmp_path / "hub.sqlite", 2, NOW)
    log.append(0, new(b"a", b"b"), NOW)
    log.append(0, new(b"c"), NOW - 5000)
    log.close()
    again = HubLog.open(tmp_path / "hub.sqlite", 9, NOW + 1)
    assert (again.created_ms, again.partitions) == (NOW, 2)
    events = again.read(0, 0, 10, 10**6)
    assert [(event.sequence, event.body, event.enqueued_ms) for event in events] == [
        (0, b"a", NOW), (1, b"b", NOW), (2, b"c", NOW),
    ]  # fmt: skip
    assert again.extent(1).is_empty
    again.close()


def test_log_reads_in_bounds(tmp_path: Path) -> None:
    """A read is bounded by events and bytes, but gives one event however large it is."""
    log = HubLog.open(tmp_path / "hub.sqlite", 1, NOW)
    log.append(0, new(*[b"x" * 1000] * 5), NOW)
    assert len(log.read(0, 0, 3, 10**6)) == 3
    assert len(log.read(0, 0, 10, 2500)) == 2
    assert len(log.read(0, 4, 10, 10)) == 1
    log.close()


def test_log_forgets_what_is_over(tmp_path: Path) -> None:
    """Events older than the retention are gone when the log is opened; numbers go on, and the rest is found by time."""
    log = HubLog.open(tmp_path / "hub.sqlite", 1, NOW)
    log.append(0, new(b"old"), NOW)
    log.append(0, new(b"kept"), NOW + 1000)
    log.close()
    log = HubLog.open(tmp_path / "hub.sqlite", 1, NOW + RETENTION_MILLISECONDS + 500)
    assert [event.body for event in log.read(0, 0, 10, 100)] == [b"kept"]
    assert (log.extent(0).first, log.extent(0).last) == (1, 1)
    assert log.sequence_at(0, NOW + 1000, inclusive=True) == 1
    assert log.sequence_at(0, NOW + 1000, inclusive=False) == 2
    log.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hubs = Hubs(tmp_path, HandClock())
    yield hubs.open("usage", 2)
    hubs.close()


def test_places_to_begin_at(hub: Hub) -> None:
    """Offsets, numbers, times and the end are found; a place behind the end is refused with the last there is."""
    hub.append(Published(new(b"0", b"1", b"2"), None), 0)
    assert hub.start_of(0, None) == 0
    assert hub.start_of(0, Selector("offset", -1, inclusive=False)) == 0
    assert hub.start_of(0, Selector("offset", 64, inclusive=False)) == 2
    assert hub.start_of(0, Selector("sequence-number", 1, inclusive=True)) == 1
    assert hub.start_of(0, Selector("sequence-number", 2, inclusive=False)) == 3
    assert hub.start_of(0, Selector("offset", None, inclusive=False)) == 3
    assert hub.start_of(0, Selector("enqueued-time", hub.now_ms() + 1, inclusive=False)) == 3
    assert hub.start_of(1, Selector("offset", -1, inclusive=False)) == 0
    with pytest.raises(Refused, match="The last offset in the system is '128'"):
        hub.start_of(0, Selector("offset", 192, inclusive=True))


async def test_watchers_are_told(hub: Hub) -> None:
    """Whoever watches a partition is told when it grows, and no longer afterwards."""
    grown = asyncio.Event()
    with hub.watching(1, grown):
        hub.append(Published(new(b"x"), None), 0)
        assert not grown.is_set()
        hub.append(Published(new(b"x"), None), 1)
        assert grown.is_set()
    assert not hub.is_watched(1)


def test_hubs_by_name(tmp_path: Path) -> None:
    """Names do not mind their case; new ones are made where that is allowed, up to a bound, and never odd ones."""
    hubs = Hubs(tmp_path, HandClock())
    opened = hubs.open("Usage", 2)
    assert hubs.find("uSAGE") is opened
    assert hubs.find("other") is None
    for wrong in ("", "../up", "a/b", ".hidden", "x" * 300):
        with pytest.raises(ValueError, match="not an event hub"):
            hubs.open(wrong, 1)
    with pytest.raises(ValueError, match="not an event hub"):
        hubs.open("many", 33)
    hubs.close()
    generous = Hubs(tmp_path / "more", HandClock(), spare_partitions=3)
    made = generous.find("jobs")
    assert made is not None
    assert made.partitions == 3
    assert generous.find("../up") is None
    found = [generous.find(f"hub{number}") for number in range(MAX_HUBS)]
    assert found[-1] is None
    generous.close()


def test_made_anew(tmp_path: Path) -> None:
    """A hub whose file was deleted is another one: its age tells."""
    clock = HandClock()
    before = Hubs(tmp_path, clock)
    created = before.open("usage", 1).created_ms
    before.close()
    (tmp_path / "usage.sqlite").unlink()
    clock.at += timedelta(seconds=1)
    after = Hubs(tmp_path, clock)
    assert after.open("usage", 1).created_ms == created + 1000
    after.close()


def test_ownership() -> None:
    """Levels exclude those below and their equals, in their own group and partition only; who left excludes nobody."""
    ended: list[str] = []
    ownership = Ownership()

    def enter(name: str, level: int | None, partition: int = 0, group: str = "g") -> Receiver:
        receiver = Receiver(level, lambda _: ended.append(name))
        ownership.enter(partition, group, receiver)
        return receiver

    enter("plain", None)
    enter("also plain", None)
    assert not ended
    first = enter("zero", 0)
    assert ended == ["plain", "also plain"]
    enter("elsewhere", None, partition=1)
    enter("other group", None, group="h")
    for level in (None, -1):
        with pytest.raises(Refused, match="higher epoch"):
            enter("late", level)
    second = enter("zero again", 0)
    assert ended[2:] == ["zero"]
    ownership.leave(0, "G", first)
    ownership.leave(0, "G", second)
    enter("after", None)
    assert ended[3:] == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("$cbs", Node("$cbs")),
        ("usage/$management", Node("$management")),
        ("usage", Place("usage", None, None)),
        ("amqps://127.0.0.1:5672/Usage/Partitions/3", Place("usage", 3, None)),
        ("sb://x/usage/consumergroups/%24Default/partitions/0", Place("usage", 0, "$Default")),
    ],
)
def test_addresses(address: str, expected: object) -> None:
    """Addresses are read with and without scheme and host, percent-encoded or not, in any case."""
    assert parse(address) == expected


@pytest.mark.parametrize("address", ["", "/", "a/b", "usage/Partitions/x", "usage/Partitions/0/more", "amqps://host/"])
def test_no_addresses(address: str) -> None:
    """Other addresses are refused."""
    with pytest.raises(Refused, match="could not be found"):
        parse(address)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amqp.annotation.x-opt-offset > '-1'", Selector("offset", -1, inclusive=False)),
        ("amqp.annotation.x-opt-offset > '@latest'", Selector("offset", None, inclusive=False)),
        ("amqp.annotation.x-opt-sequence-number >= '17'", Selector("sequence-number", 17, inclusive=True)),
        (
            "amqp.annotation.x-opt-enqueued-time > '1700000000000'",
            Selector("enqueued-time", 17 * 10**11, inclusive=False),
        ),
    ],
)
def test_selectors(text: str, expected: Selector) -> None:
    """Filters are read as the SDKs write them."""
    assert parse_selector(text) == expected
