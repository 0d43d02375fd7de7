"""How long a throttled backend wants to be left alone, read from its answer's headers.

In this order, as Azure OpenAI documents them: `retry-after-ms`; `Retry-After` in seconds or as an HTTP date (RFC 9110,
10.2.3); the `x-ratelimit-reset-*` of the limit that is used up; else a default that doubles with each 429 in a row.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 600.0
"""Seconds; a backend that asks for more is asked again after this."""

DEFAULT = 1.0
LONGEST_DEFAULT = 30.0

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")


def cooldown(headers: Mapping[str, str], now: datetime, in_a_row: int) -> float:
    """Return seconds to leave the backend alone, between 0 and LONGEST.

    `headers` has lower-case names; `in_a_row` counts the 429s without an answer between them, this one included.
    """
    asked = _asked_for(headers, now)
    if asked is None:
        asked = min(DEFAULT * 2 ** min(max(in_a_row - 1, 0), 16), LONGEST_DEFAULT)
    return min(max(asked, 0.0), LONGEST)


def _asked_for(headers: Mapping[str, str], now: datetime) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    after = headers.get("retry-after", "")
    if after:
        seconds = _number(after)
        seconds = _until(after, now) if seconds is None else seconds
        if seconds is not None:
            return seconds
    return _reset(headers)


def _reset(headers: Mapping[str, str]) -> float | None:
    resets = []
    for limit in ("requests", "tokens"):
        reset = headers.get(f"x-ratelimit-reset-{limit}", "")
        seconds = _number(reset)
        seconds = _duration(reset) if seconds is None else seconds
        if seconds is not None:
            if headers.get(f"x-ratelimit-remaining-{limit}") == "0":
                return seconds
            resets.append(seconds)
    return max(resets, default=None)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _until(text: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    # A moment that is over tells of clocks that disagree, not of a backend that is free.
    seconds = (moment - now).total_seconds()
    return seconds if seconds >= 0 else None


def _duration(text: str) -> float | None:
    match = _DURATION.fullmatch(text.strip())
    if not text.strip() or match is None:
        return None
    hours, minutes, seconds, milliseconds = (float(part) if part else 0.0 for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
