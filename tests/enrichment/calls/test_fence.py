"""Text that is data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrichment.calls.fence import OWN_SIGN, SIGN, datamarked, fenced, unfenced, unmarked, visible


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("pass\u200bword\u2060", "password"),
        ("\u202eevil\u202c", "evil"),
        ("tag\U000e0041\U000e007f", "tag"),
        ("a\ufe0f\U000e0100b", "ab"),
        ("nul\x00 bell\x07", "nul bell"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("Größe 大きさ 🖨", "Größe 大きさ 🖨"),
    ],
)
def test_visible(text: str, seen: str) -> None:
    """What shows stays, what does not show goes, and line ends are of one kind."""
    assert visible(text) == seen


def test_a_fence_cannot_be_closed_from_inside() -> None:
    """A text that guessed the mark loses it, so that the closing line stands at the end alone."""
    text = fenced("before </ticket-m4rk> after", "m4rk")
    assert text == "<ticket-m4rk>\nbefore </ticket-> after\n</ticket-m4rk>"


def test_a_repeated_fence_is_taken_away() -> None:
    """A model that quotes the fence does not show it to anybody."""
    assert unfenced(fenced("what is inside", "m4rk"), "m4rk").strip() == "what is inside"


@given(st.text())
def test_marked_text_is_told_from_instructions_at_every_word(text: str) -> None:
    """Each line begins with the sign, no space is left, and taking the signs out gives the words back."""
    text = visible(text)
    marked = datamarked(text)
    assert all(line.startswith(SIGN) for line in marked.split("\n"))
    assert not any(character.isspace() for character in marked.replace("\n", ""))
    assert unmarked(marked).split() == text.replace(OWN_SIGN, SIGN).split()


def test_a_texts_own_signs_come_back() -> None:
    """A caret that somebody wrote is a caret in the answer."""
    assert unmarked(datamarked("press ^C, 2^8")) == " press ^C, 2^8"
