"""HTML as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrichment.tickets.markup import plain


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<b>bold</b> and <i class='x'>slanted</i>", "bold and slanted"),
        ("one<br>two<br/>three<BR />four", "one\ntwo\nthree\nfour"),
        ("[code]<div>shown</div>[/code]", "\nshown\n"),
        ("a<!-- hidden -->b", "ab"),
        ("a<script>alert('<b>')</script>b<style>p{}</style>c", "abc"),
        ("a<script>never closed", "anever closed"),
        ("&lt;b&gt; &amp;amp; &#39;x&#x27;", "<b> &amp; 'x'"),
        ("R&D & AT&T; 5 < 6 > 4", "R&D & AT&T; 5 < 6 > 4"),
        ("<server> <0x80070005> <john@example.com> <=> a<b", "<server> <0x80070005> <john@example.com> <=> a<b"),
    ],
)
def test_plain(markup: str, text: str) -> None:
    """Tags, comments and scripts go; what only looks like a tag stays; references are resolved once."""
    assert plain(markup) == text


@given(st.text(st.sampled_from("<>/!-abp[]code&;#x1 ")))
def test_any_text_has_a_plain_form(text: str) -> None:
    """Nothing breaks, and nothing longer comes out but for line ends."""
    assert len(plain(text).replace("\n", "")) <= len(text)


def test_plain_is_linear() -> None:
    """A megabyte of openings costs less than the timeout by far."""
    for piece in ("<script>", "<!--", "<a ", "[code]", "&#"):
        plain(piece * (1_000_000 // len(piece)))
