import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncAzureOpenAI

from local.simulator.limits import MinuteLimit, ProvisionedLimit, Refusal, limit_for


def test_tokens_of_a_minute_run_out_and_come_back() -> None:
    """What does not fit is refused with the time until the window ends; the next window starts empty."""
    limit = MinuteLimit(tokens_per_minute=100, requests_per_minute=0)
    assert limit.admit(60, now=1000.0) is None
    assert limit.admit(41, now=1030.0) == Refusal("token", 30_000)
    assert limit.admit(40, now=1030.0) is None
    assert limit.admit(100, now=1060.0) is None


def test_requests_of_a_minute_run_out() -> None:
    """Requests are counted beside tokens, and refused ones are not."""
    limit = MinuteLimit(tokens_per_minute=0, requests_per_minute=2)
    assert [limit.admit(1, now=0.0) for _ in range(3)] == [None, None, Refusal("call", 60_000)]
    assert limit.headers(0.0) == [
        (b"x-ratelimit-limit-requests", b"2"),
        (b"x-ratelimit-remaining-requests", b"0"),
    ]


def test_provisioned_throughput_drains_at_its_rate() -> None:
    """A full bucket refuses for as long as it takes to drain, to the millisecond, and says how full it is."""
    limit = ProvisionedLimit(tokens_per_minute=600)
    assert limit.admit(120, now=0.0) is None
    refusal = limit.admit(1, now=1.0)
    assert refusal is not None
    assert refusal.retry_after_ms == 1001
    assert limit.headers(1.0) == [(b"azure-openai-deployment-utilization", b"110.0%")]
    assert limit.admit(1, now=1.0 + refusal.retry_after_ms / 1000) is None


def test_estimates_are_settled_as_each_kind_does() -> None:
    """Provisioned throughput corrects an estimate; the minute's count keeps it, and adds what had none."""
    ptu, minute = ProvisionedLimit(tokens_per_minute=600), MinuteLimit(100, 0)
    assert ptu.admit(99, now=0.0) is None
    ptu.settle(estimated=90, actual=10, now=0.0)
    assert ptu.headers(0.0)[0][1] == b"19.0%"
    assert minute.admit(60, now=0.0) is None
    minute.settle(estimated=50, actual=1, now=0.0)
    minute.settle(estimated=0, actual=15, now=0.0)
    assert minute.headers(0.0)[1][1] == b"25"


def test_the_kind_decides_the_limit() -> None:
    """PTU without a capacity, and everything else, counts by the minute."""
    assert isinstance(limit_for("ptu", 10, 0), ProvisionedLimit)
    assert isinstance(limit_for("ptu", 0, 0), MinuteLimit)
    assert isinstance(limit_for("paygo", 10, 0), MinuteLimit)


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 5)), max_size=60))
def test_no_window_admits_more_than_its_limit(steps: list[tuple[int, float]]) -> None:
    """Whatever arrives when, a window of a minute never holds more tokens than the limit."""
    limit, now, start, held = MinuteLimit(100, 0), 0.0, None, 0
    for tokens, pause in steps:
        now += pause
        if start is None or now - start >= 60:
            start, held = now, 0
        if limit.admit(tokens, now) is None:
            held += tokens
        assert held <= 100


async def test_a_429_reads_like_azures(azure: AsyncAzureOpenAI) -> None:
    """The SDK gets RateLimitError with code 429, both waits, the limits, and the sentence Azure says."""
    raw = await azure.chat.completions.with_raw_response.create(
        model="small", messages=[{"role": "user", "content": "Hi"}], max_tokens=50
    )
    assert raw.headers["x-ratelimit-limit-tokens"] == "100"
    assert int(raw.headers["x-ratelimit-remaining-tokens"]) < 50
    assert raw.headers["x-ratelimit-remaining-requests"] == "4"
    assert raw.headers["x-ms-region"] == "East US"
    with pytest.raises(openai.RateLimitError) as refused:
        await azure.chat.completions.create(model="small", messages=[{"role": "user", "content": "Hi"}], max_tokens=50)
    headers = refused.value.response.headers
    assert refused.value.code == "429"
    assert "exceeded token rate limit" in refused.value.message
    assert 0 < int(headers["retry-after-ms"]) <= int(headers["retry-after"]) * 1000 <= 60_000
