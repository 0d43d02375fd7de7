"""A lane's rows hold what they were given."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from chargeback.lanes import lanes
from chargeback.lanes.lanes import Head, Lane, LaneDay
from seams.tables import Value, check_key

LANE = Lane("2026-11-01T00:00:00Z", "3")
DAY = LaneDay(
    date(2026, 11, 20),
    begins=0,
    first_seq=2,
    last_seq=2**40,
    usage_events=5,
    intents=6,
    withdrawals=1,
    dead_letters=2,
    untracked_intents=3,
    missing=2**40 - 13,
    gaps=((0, 1), (7, 2**39)),
    event_days={date(2026, 11, 19): 1, date(2026, 11, 20): 4},
)


def test_rows_of_a_lane_are_read_back() -> None:
    """Index, head and day come back as they were written, under keys that every store takes."""
    first, hour, minute = (datetime(2026, 11, *place, tzinfo=UTC) for place in ((19, 1, 0), (20, 1, 0), (20, 0, 1)))
    head = Head(7, first, hour, minute, b"12345678")

    assert lanes.lane_of(lanes.index_entity(LANE)) == LANE
    assert lanes.head_of(lanes.head_entity(LANE, head, None)) == head
    assert lanes.day_of_entity(lanes.day_entity(LANE, DAY, None)) == DAY
    for entity in (lanes.index_entity(LANE), lanes.head_entity(LANE, head, None), lanes.day_entity(LANE, DAY, None)):
        check_key(entity.partition)
        check_key(entity.row)


def test_keys_of_a_day_sort_by_day() -> None:
    """A day's row is found by its day, in the lane's partition."""
    entity = lanes.day_entity(LANE, DAY, "etag")

    assert (entity.partition, entity.row, entity.etag) == ("2026-11-01T00=3A00=3A00Z.3", "day|20261120", "etag")


def test_empty_counts_take_no_column() -> None:
    """What is 0 is not stored, and reads as 0."""
    day = LaneDay(date(2026, 11, 20), 0, 0, 0)

    assert set(lanes.day_entity(LANE, day, None).values) == {"begins", "first_seq", "last_seq"}
    assert lanes.day_of_entity(lanes.day_entity(LANE, day, None)) == day


def test_emitted_is_received_and_missing() -> None:
    """What the hub gave out is what came and what did not."""
    assert DAY.received == 14
    assert DAY.emitted == 2**40 + 1
    assert replace(DAY, missing=DAY.emitted - DAY.received).missing + DAY.received == DAY.emitted


@pytest.mark.parametrize("columns", [{"last_seq": "7"}, {"ended": "text"}, {"enqueued_at": 1}])
def test_row_that_somebody_changed_is_an_error(columns: dict[str, Value]) -> None:
    """A column of another type stops the collector instead of being taken for something else."""
    entity = lanes.head_entity(LANE, Head(), None)

    with pytest.raises(TypeError, match="a column that holds"):
        lanes.head_of(replace(entity, values={**entity.values, **columns}))
