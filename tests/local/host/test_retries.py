"""Retry policies as `@app.retry` declares them."""

import pytest

from local.host.retries import RetryPolicy


def test_none_declared() -> None:
    """A function without a policy has none."""
    assert RetryPolicy.declared(None) is None


def test_fixed_delay() -> None:
    """A fixed delay is the same after every failure, and ends after the allowed retries."""
    policy = RetryPolicy.declared({"strategy": "fixed_delay", "max_retry_count": "2", "delay_interval": "00:01:05"})
    assert policy is not None
    assert [policy.delay_seconds(failures, 0.5) for failures in (1, 2)] == [65, 65]
    assert [policy.allows(failures) for failures in (1, 2, 3)] == [True, True, False]


def test_exponential_without_end() -> None:
    """Delays double from the minimum to the maximum, blurred by a fifth; -1 never gives up."""
    policy = RetryPolicy.declared(
        {
            "strategy": "exponential_backoff",
            "max_retry_count": "-1",
            "minimum_interval": "00:00:01",
            "maximum_interval": "00:01:00",
        }
    )
    assert policy is not None
    delays = [policy.delay_seconds(failures, 0.5) for failures in (1, 2, 3, 4, 100)]
    assert delays == [1, 2, 4, 8, 60]
    assert [policy.delay_seconds(3, chance) for chance in (0, 1)] == pytest.approx([3.2, 4.8])
    assert policy.delay_seconds(1, 0) == 1
    assert policy.allows(1_000_000)


def test_worker_defaults() -> None:
    """A missing interval is what the worker sends: no minimum, no maximum to speak of."""
    policy = RetryPolicy.declared({"strategy": "exponential_backoff", "max_retry_count": "5"})
    assert policy == RetryPolicy(5, 0.0, 2**31 - 1.0)


def test_wrong_declaration() -> None:
    """A count that is no number is a ValueError, as in the worker."""
    with pytest.raises(ValueError, match="invalid literal"):
        RetryPolicy.declared({"strategy": "fixed_delay", "max_retry_count": "many", "delay_interval": "00:00:01"})
