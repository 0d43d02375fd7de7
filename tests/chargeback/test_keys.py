"""Table keys made of any names."""

from hypothesis import example, given
from hypothesis import strategies as st

from chargeback.keys import key
from seams.tables import check_key

PART = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)
PARTS = st.lists(PART, min_size=1, max_size=4)


@given(PARTS)
@example(["\x00/\\#?%\x9f", "名" * 300, "|"])
def test_every_store_takes_it(parts: list[str]) -> None:
    """Whatever names hold and however long they are, the key is one that a store takes."""
    assert check_key(key(*parts))


@given(PARTS, PARTS)
@example(["a|b"], ["a", "b"])
@example(["a/b"], ["a=2Fb"])
@example(["a" * 121], ["a" * 122])
def test_no_other_names_make_it(parts: list[str], others: list[str]) -> None:
    """Two lists of names make one key only where they are the same."""
    assert (key(*parts) == key(*others)) == (parts == others)


def test_plain_names_stay_readable() -> None:
    """Names of letters, digits and `. _ -` stand in the key as they are."""
    assert key("service-desk", "20261120", "gpt-4o_mini.v2") == "service-desk|20261120|gpt-4o_mini.v2"
