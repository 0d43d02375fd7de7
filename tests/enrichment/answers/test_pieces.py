"""Server-sent events, read back by httpx2's own decoder."""

from collections.abc import AsyncGenerator

import httpx2
import pytest

from enrichment.answers.pieces import event, events
from enrichment.errors import GatewayFailed


def read(stream: bytes) -> list[tuple[str, str]]:
    """Return (event, data) as a reader that keeps to the standard sees them."""
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    answer.request = httpx2.Request("POST", "http://127.0.0.1/stream")
    return [(got.event, got.data) for got in httpx2.EventSource(answer)]


@pytest.mark.parametrize(
    "piece", ["word", " leading", "trailing ", "two\nlines", "\n", "\n\n", "ends\n", ":colon", "data: x", "ümlaut 🖨"]
)
def test_a_piece_survives(piece: str) -> None:
    """Blanks and line feeds anywhere in a piece arrive as they were."""
    assert read(event(piece)) == [("message", piece)]


@pytest.mark.parametrize("piece", ["a\r\nb", "a\rb"])
def test_other_line_ends_become_line_feeds(piece: str) -> None:
    """A carriage return, which SSE takes for a line's end, cannot break the framing."""
    assert read(event(piece)) == [("message", "a\nb")]


def test_a_piece_is_never_taken_for_the_end() -> None:
    """A model that writes [DONE] does not end the stream with it."""
    assert [data for _, data in read(event("[DONE]"))] == ["[DONE", "]"]


def test_a_lone_surrogate_does_not_end_the_stream() -> None:
    """What cannot be encoded is replaced."""
    assert read(event("\ud83d")) == [("message", "?")]


async def test_the_end_is_told() -> None:
    """Pieces that end well are followed by [DONE]."""

    async def pieces() -> AsyncGenerator[str]:
        yield "a"

    assert read(b"".join([sent async for sent in events(pieces())])) == [("message", "a"), ("message", "[DONE]")]


async def test_a_failure_is_told_in_place_of_the_end() -> None:
    """Pieces that end in an error are followed by one error event and no [DONE]."""

    async def pieces() -> AsyncGenerator[str]:
        yield "a"
        raise GatewayFailed("cut")

    got = read(b"".join([sent async for sent in events(pieces())]))
    assert got == [
        ("message", "a"),
        ("error", '{"error": {"message": "cut", "type": "server_error", "param": null, "code": "bad_gateway"}}'),
    ]
