"""The hub is asked who it is when its numbers do not follow, and left alone while they do."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from chargeback.lanes.incarnations import Incarnations
from chargeback.prices import Prices
from seams.events import ReceivedEvent, StreamUnavailable
from seams.tables import Tables
from tests.chargeback.hub_world import DAY, NEXT_NIGHT, NOON, World, event
from tests.chargeback.staging import sums


@dataclass
class Asked:
    """A hub that counts how often it is asked who it is."""

    name: str = "old"
    times: int = 0
    away: bool = False

    async def __call__(self) -> str:
        self.times += 1
        if self.away:
            raise StreamUnavailable("away")
        return self.name


def batch(*numbers: int, partition: str = "0", minute: int = 0) -> list[ReceivedEvent]:
    """Events that were enqueued a second apart, from this minute on."""
    return [
        ReceivedEvent(b"", partition, number, NOON + timedelta(minutes=minute, seconds=place))
        for place, number in enumerate(numbers)
    ]


async def test_steady_reading_and_redelivery_ask_nothing() -> None:
    """Numbers that follow, and those that were seen, come from the hub that is known; each partition asks once."""
    hub = Asked()
    incarnations = Incarnations(hub)
    for each in (batch(0, 1, 2), batch(3, 4, minute=1), batch(0, 1, 2), batch(3, 4, minute=1), batch(5, minute=2)):
        assert await incarnations.of(each) == "old"
    assert hub.times == 1
    await incarnations.of(batch(7, partition="1"))
    await incarnations.of([*batch(8, partition="1", minute=3), *batch(6, minute=3)])
    assert hub.times == 2


@pytest.mark.parametrize("numbers", [[0, 1], [2], [9], [300, 301]])
async def test_numbers_that_do_not_follow_ask(numbers: list[int]) -> None:
    """Lower numbers at a later time, and a leap ahead, may be another hub's; if they are, they get its name."""
    hub = Asked()
    incarnations = Incarnations(hub)
    await incarnations.of(batch(0, 1, 2, 3))
    assert await incarnations.of(batch(*numbers, minute=5)) == "old"
    assert hub.times == 2
    hub.name = "new"
    assert await incarnations.of(batch(0, 1, minute=6)) == "new"
    assert await incarnations.of(batch(2, minute=7)) == "new"
    assert hub.times == 3


async def test_a_hub_that_cannot_be_asked() -> None:
    """What may be another hub's is not taken for this one's: the batch fails, and asks again."""
    hub = Asked()
    incarnations = Incarnations(hub)
    await incarnations.of(batch(0, 1, 2))
    hub.away, hub.name = True, "new"
    for _ in range(2):
        with pytest.raises(StreamUnavailable):
            await incarnations.of(batch(0, minute=1))
    hub.away = False
    assert await incarnations.of(batch(0, minute=1)) == "new"


async def test_what_was_on_its_way_keeps_its_hub() -> None:
    """A batch of the old hub that comes, or comes again, after the new one's first event is the old one's."""
    hub = Asked()
    incarnations = Incarnations(hub)
    await incarnations.of(batch(0, 1))
    await incarnations.of(batch(0, 1, partition="1"))
    hub.name = "new"
    assert await incarnations.of(batch(0, minute=9)) == "new"
    assert await incarnations.of(batch(2, 3, minute=1, partition="1")) == "old"
    assert await incarnations.of(batch(0, 1)) == "old"
    assert await incarnations.of(batch(2, minute=1)) == "old"
    assert await incarnations.of(batch(1, minute=10)) == "new"
    assert await incarnations.of(batch(4, minute=11, partition="1")) == "new"


async def test_nothing_is_lost_while_a_process_goes_on(tables: Tables, prices: Prices) -> None:
    """A hub that is made again under a running collector loses no event, and both days' books agree."""
    world = World(tables, prices)
    world.keep_process()
    for _ in range(5):
        world.append(event())
    await world.collect(most=2)
    await world.collect()
    assert [proof.status for proof in await world.closing().run()] == ["proved"]
    world.make_anew()
    world.time += timedelta(days=1)
    later = NEXT_NIGHT + timedelta(hours=1)
    for _ in range(3):
        world.append(event(at=later), "0", later)
    await world.collect(most=2)
    await world.collect()

    assert (await sums(tables))["events"] == 8
    assert [proof.status for proof in await world.closing().run()] == ["proved"]
    assert (await world.closing().prove(DAY)).status == "proved"
