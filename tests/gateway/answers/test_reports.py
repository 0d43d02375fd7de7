"""What answers report of their cost, honest and not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.answers.reports import read_report, split_version
from gateway.usage import MOST_METERED, Meters


def meters(usage: Any) -> Meters | None:
    report = read_report(json.dumps({"model": "m", "usage": usage}).encode())
    assert report is not None
    return report.usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, Meters(prompt_tokens=3, completion_tokens=4)),
        ({"prompt_tokens": 3, "total_tokens": 3}, Meters(prompt_tokens=3)),
        ({"input_tokens": 3, "output_tokens": 4}, Meters(prompt_tokens=3, completion_tokens=4)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Meters()),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 7, "text_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 32, "audio_tokens": 5, "accepted_tokens": 1},
            },
            Meters(
                prompt_tokens=100,
                completion_tokens=50,
                cached_tokens=64,
                reasoning_tokens=32,
                audio_prompt_tokens=7,
                audio_completion_tokens=5,
            ),
        ),
        (
            {
                "input_tokens": 10,
                "output_tokens": 5,
                "input_tokens_details": {"cached_tokens": 4, "image_tokens": 3},
                "output_tokens_details": {"reasoning_tokens": 2},
            },
            Meters(prompt_tokens=10, completion_tokens=5, cached_tokens=4, image_prompt_tokens=3, reasoning_tokens=2),
        ),
        (
            {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}},
            Meters(prompt_tokens=5, completion_tokens=5, cached_tokens=5),
        ),
        (
            {
                "input_tokens": 5,
                "output_tokens": 2,
                "input_token_details": {"audio_tokens": 9, "image_tokens": 9, "cache_write_tokens": 9},
                "output_token_details": {"audio_tokens": 9, "reasoning_tokens": 9},
            },
            Meters(
                prompt_tokens=5,
                completion_tokens=2,
                cache_write_tokens=5,
                audio_prompt_tokens=5,
                image_prompt_tokens=5,
                reasoning_tokens=2,
                audio_completion_tokens=2,
            ),
        ),
        ({"prompt_tokens": 3, "prompt_tokens_details": None}, Meters(prompt_tokens=3)),
    ],
)
def test_usage_of_both_apis(usage: Any, expected: Meters) -> None:
    """Counts are read by the names of either API; a subset never exceeds what it is a part of; zero is zero."""
    assert meters(usage) == expected


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "7",
        {"prompt_tokens": None},
        {"prompt_tokens": -1},
        {"prompt_tokens": MOST_METERED + 1},
        {"prompt_tokens": 10**30},
        {"prompt_tokens": 1.5},
        {"prompt_tokens": "7"},
        {"prompt_tokens": True},
        {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": -1}},
        {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": "x"}},
        {"prompt_tokens": 1, "prompt_tokens_details": []},
    ],
)
def test_dishonest_counts_are_no_counts(usage: Any) -> None:
    """Usage that is missing or absurd in any part is not taken at all: it is estimated instead."""
    assert meters(usage) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"<html>", b'{"a":', b"\xff", b'{"model":"\xff"}', b'{"a":' + b"[" * 200_000],
    ids=range(8),
)
def test_answers_that_are_no_object(body: bytes) -> None:
    """What is no JSON object reports nothing at all."""
    assert read_report(body) is None


@pytest.mark.parametrize("text", ["\\ud83d", "\\uD83D and \\ude00", "\\\\ud83d", "\\\\\\ud83d", "\\ud83d\\ude00"])
def test_halves_of_characters_cost_no_usage(text: str) -> None:
    """An answer whose text ends in the midst of an escaped character is billed by its backend's counts."""
    body = b'{"model":"m","choices":[{"message":{"content":"%b"}}],"usage":{"prompt_tokens":3}}' % text.encode()
    assert json.loads(body)
    report = read_report(body)
    assert report is not None
    assert report.usage == Meters(prompt_tokens=3)


def test_names_that_are_none() -> None:
    """A model or tier with control characters would make a dead letter of the usage event, so it is no name."""
    report = read_report(b'{"model":"m\\n","service_tier":"\\u0001","usage":{"prompt_tokens":3}}')
    assert report == ("", "", Meters(prompt_tokens=3))


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(body: bytes) -> None:
    """No answer makes the reader raise."""
    read_report(body)
    read_report(b'{"usage":' + body + b"}")
    read_report(b'{"duration":' + body + b"}")
    read_report(b'{"model":"' + body + b'"}')


@given(
    st.dictionaries(
        st.sampled_from(["prompt_tokens", "output_tokens", "seconds"]),
        st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_what_is_reported_is_in_bounds(usage: dict[str, float]) -> None:
    """A reported count is never negative and never beyond what a request can use."""
    reported = meters(usage)
    if reported is not None:
        assert 0 <= reported.prompt_tokens <= MOST_METERED
        assert 0 <= reported.completion_tokens <= MOST_METERED
        assert 0 <= reported.audio_milliseconds <= 10**9


@pytest.mark.parametrize(("tier", "kept"), [("default", ""), ("auto", ""), ("priority", "priority"), (None, "")])
def test_service_tiers(tier: str | None, kept: str) -> None:
    """The tiers that cost the usual price are no tier."""
    report = read_report(json.dumps({"model": "m", "service_tier": tier}).encode())
    assert report is not None
    assert report.service_tier == kept


def test_names_are_bounded() -> None:
    """A backend cannot blow the usage event up by its names."""
    report = read_report(json.dumps({"model": "m" * 9999, "service_tier": "t" * 9999}).encode())
    assert report is not None
    assert (len(report.model), len(report.service_tier)) == (128, 64)


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("gpt-4o-2024-11-20", ("gpt-4o", "2024-11-20")),
        ("gpt-4-0613", ("gpt-4", "0613")),
        ("gpt-4-1106-preview", ("gpt-4", "1106-preview")),
        ("claude-opus-4-20250514", ("claude-opus-4", "20250514")),
        ("gpt-4o", ("gpt-4o", "")),
        ("text-embedding-3-small", ("text-embedding-3-small", "")),
        ("2024-11-20", ("2024-11-20", "")),
        ("", ("", "")),
    ],
)
def test_versions(model: str, parts: tuple[str, str]) -> None:
    """A version at a model's end is told from its name."""
    assert split_version(model) == parts
