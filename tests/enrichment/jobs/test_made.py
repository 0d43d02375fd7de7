"""What an enrichment is worth."""

import pytest

from enrichment.answers.answers import NO_TOKENS, Enrichment, Patch, TaskError, TaskOutcome
from enrichment.jobs.made import Made, unfinished
from tests.enrichment.jobs.parts import half


@pytest.mark.parametrize(
    "codes", [["timeout"], ["bad_gateway", "rate_limit_exceeded"], ["refusal"], ["timeout", "length"]]
)
def test_what_lasts(codes: list[str]) -> None:
    """A result without any success is kept only where another try would not help."""
    tasks = tuple(
        TaskOutcome(name="summary", status="failed", error=TaskError(code=code, message=code)) for code in codes
    )
    made = Made.of(Enrichment(language="en", patch=Patch(), tasks=tasks, usage=NO_TOKENS, cost="0"))
    assert made.lasting == bool({"refusal", "length"} & set(codes))


@pytest.mark.parametrize(("codes", "left"), [([], False), (["refusal"], False), (["refusal", "timeout"], True)])
def test_what_is_left_to_do(codes: list[str], *, left: bool) -> None:
    """A result is unfinished where one of its tasks failed for a reason that may pass, and comes back as it was."""
    found = unfinished(half(*codes))
    assert (found is not None) == left
    assert found is None or found.model_dump_json().encode() == half(*codes)


@pytest.mark.parametrize("result", [b"{}", b"[]", b'{"tasks": [{"error": {"code": "timeout"}}]}'])
def test_results_of_another_version(result: bytes) -> None:
    """A result that cannot be gone on from is left as it is."""
    assert unfinished(result) is None
