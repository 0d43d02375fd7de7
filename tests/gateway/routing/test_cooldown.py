"""How long a throttled backend is left alone, for every form in which it says so and for what it should never say."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.cooldown import DEFAULT, LONGEST, LONGEST_DEFAULT, cooldown

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

REQUESTS, TOKENS = "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"
REMAINING_REQUESTS, REMAINING_TOKENS = "x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "0"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "30"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "30"}, 30.0),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "7.5"}, 7.5),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:20 GMT"}, 20.0),
        ({"retry-after": "Sunday, 01-Mar-26 12:00:20 GMT"}, 20.0),
        ({"retry-after": "Sun Mar  1 12:00:20 2026"}, 20.0),
        ({"retry-after": "Sun, 01 Mar 2026 13:00:20 +0100"}, 20.0),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:00 GMT"}, 0.0),
        ({"retry-after": "later", REQUESTS: "9"}, 9.0),
        ({REQUESTS: "1s"}, 1.0),
        ({REQUESTS: "6m0s"}, 360.0),
        ({REQUESTS: "1m30.5s"}, 90.5),
        ({REQUESTS: "20ms"}, 0.02),
        ({REQUESTS: "1s500ms"}, 1.5),
        ({REQUESTS: "12"}, 12.0),
        ({REQUESTS: "3s", TOKENS: "9s"}, 9.0),
        ({REQUESTS: "3s", TOKENS: "9s", REMAINING_REQUESTS: "0", REMAINING_TOKENS: "5"}, 3.0),
        ({REQUESTS: "3s", TOKENS: "9s", REMAINING_REQUESTS: "5", REMAINING_TOKENS: "0"}, 9.0),
        ({TOKENS: "2s", REMAINING_TOKENS: "100"}, 2.0),
        ({"retry-after": "86400"}, LONGEST),
        ({REQUESTS: "48h"}, LONGEST),
    ],
)
def test_what_the_backend_asks_for(headers: dict[str, str], seconds: float) -> None:
    """Each documented form is understood, in its order of precedence, and never over the limit."""
    assert cooldown(headers, NOW, in_a_row=1) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "-3", "nan", "inf", "-inf", "soon", "5 minutes", "0x10", "1 1 1 1 1", "\x00"])
@pytest.mark.parametrize("name", ["retry-after-ms", "retry-after", REQUESTS, TOKENS])
def test_nonsense_is_as_good_as_nothing(name: str, text: str) -> None:
    """What is no duration falls back to the default."""
    assert cooldown({name: text}, NOW, in_a_row=1) == DEFAULT


def test_a_moment_that_is_over_is_as_good_as_nothing() -> None:
    """A backend whose clock is behind is left alone for the default, which doubles, and not asked again at once."""
    past = {"retry-after": "Sun, 01 Mar 2026 11:59:59 GMT"}
    assert [cooldown(past, NOW, in_a_row) for in_a_row in (1, 2)] == [1.0, 2.0]
    assert cooldown({**past, REQUESTS: "9s"}, NOW, 1) == 9.0


def test_the_default_doubles() -> None:
    """A backend that throttles again and again without saying for how long is asked less and less often."""
    waits = [cooldown({}, NOW, in_a_row) for in_a_row in range(1, 8)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert cooldown({}, NOW, 10**9) == LONGEST_DEFAULT
    assert cooldown({}, NOW, 0) == DEFAULT


@given(
    st.dictionaries(
        st.sampled_from(["retry-after-ms", "retry-after", REQUESTS, TOKENS, REMAINING_REQUESTS, REMAINING_TOKENS]),
        st.text(max_size=40)
        | st.from_regex(r"[0-9]{0,400}(h|m|s|ms|)[0-9.]{0,9}(s|ms|)", fullmatch=True)
        | st.from_regex(r"(Sun, )?[0-9]{1,3} Mar [0-9]{1,5} [0-9:]{1,9}( GMT| [+-][0-9]{1,8})?", fullmatch=True)
        | st.floats().map(str),
    ),
    st.integers(-5, 10**6),
)
def test_any_headers_give_a_bounded_wait(headers: dict[str, str], in_a_row: int) -> None:
    """Whatever a backend sends, the wait is a number between nothing and the limit."""
    assert 0.0 <= cooldown(headers, NOW, in_a_row) <= LONGEST


@given(st.integers(0, 600), st.integers(-12, 14))
def test_http_dates_of_any_zone(seconds: int, hours: int) -> None:
    """A date means the same moment in every time zone."""
    moment = (NOW + timedelta(seconds=seconds)).astimezone(timezone(timedelta(hours=hours)))
    assert cooldown({"retry-after": format_datetime(moment)}, NOW, 1) == seconds
