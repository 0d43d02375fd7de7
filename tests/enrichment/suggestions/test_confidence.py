"""How sure a suggestion is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrichment.suggestions.confidence import agreement, band, clamped, confidence


@pytest.mark.parametrize(
    ("said", "proven", "shared", "result"),
    [
        (0.9, True, None, 0.9),
        (0.9, False, None, 0.54),
        (0.9, True, 1.0, 0.94),
        (0.9, True, 0.0, 0.54),
        (85.0, True, None, 1.0),
        (-1.0, True, None, 0.0),
        (math.nan, True, None, 0.0),
    ],
)
def test_confidence(said: float, proven: bool, shared: float | None, result: float) -> None:
    """The model's word counts less without evidence, and is mixed with what similar tickets say."""
    assert confidence(said, proven=proven, agreement=shared) == result


@given(st.floats(), st.booleans(), st.none() | st.floats(0, 1))
def test_confidence_is_between_0_and_1(said: float, proven: bool, shared: float | None) -> None:
    """Whatever a model says, the number is one that can be compared."""
    assert 0 <= confidence(said, proven=proven, agreement=shared) <= 1
    assert 0 <= clamped(said) <= 1


def test_bands() -> None:
    """High begins at 0.8, Medium at 0.5."""
    assert [band(value) for value in (1.0, 0.8, 0.79, 0.5, 0.49, 0.0)] == [
        "High", "High", "Medium", "Medium", "Low", "Low"
    ]  # fmt: skip


def test_agreement_weighs_by_likeness() -> None:
    """A very similar ticket says more than a distant one; nobody's vote is no agreement at all."""
    assert agreement([(0.9, True), (0.1, False)]) == 0.9
    assert agreement([]) is None
    assert agreement([(0.0, True)]) is None
