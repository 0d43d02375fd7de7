"""What the figures of an evaluation mean."""

from decimal import Decimal
from typing import Any

import pytest

from evaluation.labelled import Labelled
from evaluation.scores import BandScore, Outcome, is_label, percentile, score


def suggestion(value: str, band: str) -> dict[str, Any]:
    return {"value": value, "band": band, "confidence": 0.5, "evidence": "", "apply": False}


def outcome(label: str, said: dict[str, Any] | None, cost: str | None = "0.002", seconds: float = 1.0) -> Outcome:
    answer = {
        "suggestions": {"category": said} if said else {},
        "tasks": [{"name": "classification", "status": "succeeded", "model": "m", "prompt": "classification/1"}],
        "usage": {"total_tokens": 100},
        "cost": cost,
    }
    return Outcome(Labelled("INC1", {}, {"category": label}), answer, seconds)


def test_a_field() -> None:
    """Accuracy counts silence as wrong, precision counts suggestions alone, bands add up to all suggestions."""
    scores = score(
        [
            outcome("Network", suggestion("network", "High")),
            outcome("Network", suggestion("Hardware", "High")),
            outcome("Network", suggestion("Network", "Low")),
            outcome("Hardware", None),
        ],
        ["category", "urgency"],
    )
    (field,) = scores.fields
    assert (field.labelled, field.suggested, field.right) == (4, 3, 2)
    assert (field.coverage, field.accuracy, field.precision) == (0.75, 0.5, 2 / 3)
    assert field.bands == (BandScore("High", 2, 1), BandScore("Medium", 0, 0), BandScore("Low", 1, 1))
    assert field.bands[1].precision is None
    assert field.most_frequent == 0.75
    assert field.mistakes == (("Network", "Hardware", 1),)
    assert (scores.models, scores.prompts, scores.tickets) == (("m",), ("classification/1",), 4)


def test_what_failed() -> None:
    """A ticket without an answer is labelled without a suggestion; failed tasks are counted by their codes."""
    refused = Outcome(Labelled("INC2", {}, {"category": "Network"}), None, 0.1, "rate_limit_exceeded")
    failed = outcome("Network", None)
    assert failed.answer is not None
    failed.answer["tasks"][0].update(status="failed", error={"code": "refusal", "message": ""})
    scores = score([refused, failed], ["category"])
    assert (scores.fields[0].labelled, scores.fields[0].accuracy) == (2, 0.0)
    assert dict(scores.errors) == {"rate_limit_exceeded": 1, "refusal": 1}
    assert score([refused], ["category"]).expense is None


def test_expense() -> None:
    """Cost is exact and an average, and unknown where one ticket's is; times are percentiles."""
    scores = score([outcome("a", None, "0.001", 1.0), outcome("a", None, "0.002", 3.0)], ["category"])
    assert scores.expense is not None
    assert scores.expense.cost == Decimal("0.0015")
    assert (scores.expense.tokens, scores.expense.p50_seconds, scores.expense.p95_seconds) == (100, 1.0, 3.0)
    unpriced = score([outcome("a", None), outcome("a", None, None)], ["category"]).expense
    assert unpriced is not None
    assert unpriced.cost is None


@pytest.mark.parametrize(
    ("value", "label", "same"),
    [
        ("Network", " network ", True),
        ("Identity  and Access", "Identity and Access", True),
        ("1 - High", "1", True),
        ("1 - High", "1 - High", True),
        ("2 - Medium", "1", False),
        ("Network", "Net", False),
    ],
)
def test_what_is_right(value: str, label: str, same: bool) -> None:
    """Case and spacing do not matter, and a level may be written as its number."""
    assert is_label(value, label) is same


def test_percentiles() -> None:
    """A percentile is a value that was measured."""
    assert percentile([5.0], 0.95) == 5.0
    assert [percentile(range(1, 101), share) for share in (0.5, 0.95, 1.0)] == [50, 95, 100]
