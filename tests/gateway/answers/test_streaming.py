"""Streams through the reader: whatever the reads, the caller gets the backend's bytes, the meter its figures."""

import json
import random
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.answers.streaming import LONGEST_EVENT, StreamReader
from gateway.answers.texts import TEXT_OF_CHAT, TEXT_OF_RESPONSES, texts_of

NASTY = [
    "Hello",
    ' "usage": {"prompt_tokens": 9} ',
    '\\ " { } {{ }}} [DONE] data: \n\n data: {"error": 1}\r\n',
    "naïve 😀 字 \u2028\u0000",
    '"type":"response.completed"',
    "",
]


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "choices": [{"content_filter_results": {}, "delta": delta, "finish_reason": finish, "index": 0}],
        "created": 1741569952,
        "id": "chatcmpl-1",
        "model": "gpt-4o-2024-11-20",
        "object": "chat.completion.chunk",
        **more,
    }


def sse(payload: Any, event: str = "", end: str = "\n") -> bytes:
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return f"{f'event: {event}{end}' if event else ''}data: {text}{end}{end}".encode()


FILTER = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}}}],
}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "find", "arguments": ""}}
USAGE = {
    "prompt_tokens": 31,
    "completion_tokens": 17,
    "total_tokens": 48,
    "prompt_tokens_details": {"cached_tokens": 11, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 5},
}


@dataclass(frozen=True)
class Case:
    """`usage` is the place of the chunk that is there for usage only; None where nothing may be taken out."""

    events: list[bytes]
    texts: frozenset[bytes]
    usage: int | None
    text: dict[str, str]

    @property
    def whole(self) -> bytes:
        return b"".join(self.events)

    def expected(self, hide: bool) -> bytes:
        return b"".join(event for place, event in enumerate(self.events) if not hide or place != self.usage)


def chat(end: str = "\n") -> Case:
    arguments = ['{"que', 'ry": "a {b} \\"c\\""', "}"]
    events = [
        FILTER,
        chunk({"role": "assistant", "content": "", "refusal": None}),
        *(chunk({"content": text}) for text in NASTY),
        chunk({"tool_calls": [CALL]}),
        *(chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in arguments),
        chunk({}, "tool_calls", usage=None),
        {**FILTER, "id": "chatcmpl-1", "model": "gpt-4o-2024-11-20", "service_tier": "priority", "usage": USAGE},
        "[DONE]",
    ]
    text = {"content": "".join(NASTY), "name": "find", "arguments": "".join(arguments)}
    encoded = [sse(event, end=end) for event in events]
    return Case([*encoded[:3], f": keep-alive{end}{end}".encode(), *encoded[3:]], TEXT_OF_CHAT, len(events) - 1, text)


def responses(end: str = "\n", last: str = "response.completed") -> Case:
    shell = {"id": "resp_1", "object": "response", "model": "gpt-5-mini-2025-08-07", "error": None, "usage": None}
    usage = {
        "input_tokens": 31,
        "output_tokens": 17,
        "input_tokens_details": {"cached_tokens": 11},
        "output_tokens_details": {"reasoning_tokens": 5},
    }
    output = [{"type": "message", "content": [{"type": "output_text", "text": "".join(NASTY)}]}]
    done = {**shell, "service_tier": "priority", "output": output, "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": shell},
        *({"type": "response.output_text.delta", "item_id": "m", "delta": text} for text in NASTY),
        {"type": "response.output_text.done", "item_id": "m", "text": "".join(NASTY)},
        {"type": last, "response": done},
    ]
    encoded = [sse(event, event["type"], end) for event in events]
    return Case(encoded, TEXT_OF_RESPONSES, None, {"delta": "".join(NASTY)})


CASES = {
    "chat": chat(),
    "chat with CRLF": chat("\r\n"),
    "chat with CR": chat("\r"),
    "responses": responses(),
    "responses with CRLF": responses("\r\n"),
    "responses incomplete": responses(last="response.incomplete"),
}


def run(case: Case, hide: bool, cuts: list[int]) -> tuple[bytes, StreamReader]:
    reader = StreamReader(hide, case.texts)
    edges = [0, *sorted(cuts), len(case.whole)]
    out = b"".join(reader.feed(case.whole[a:b]) for a, b in pairwise(edges))
    return out + reader.finish(), reader


def check(case: Case, hide: bool, cuts: list[int]) -> None:
    out, reader = run(case, hide, cuts)
    assert out == case.expected(hide)
    assert reader.ended
    assert not reader.malformed
    assert not reader.failed
    assert {name: text for name, text in reader.delivered_text().items() if text} == case.text
    report = reader.report
    assert report is not None
    assert report.usage is not None
    assert (report.usage.prompt_tokens, report.usage.completion_tokens) == (31, 17)
    assert (report.usage.cached_tokens, report.usage.reasoning_tokens) == (11, 5)
    assert report.service_tier == "priority"
    assert reader.model in {"gpt-4o-2024-11-20", "gpt-5-mini-2025-08-07"}


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_cut_at_every_byte(name: str, hide: bool) -> None:
    """Wherever one read ends and the next begins, the caller gets the same bytes and the meter the same figures."""
    case = CASES[name]
    for cut in range(len(case.whole) + 1):
        check(case, hide, [cut])


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_byte_by_byte(name: str, hide: bool) -> None:
    """Reads of a single byte make no difference either."""
    case = CASES[name]
    check(case, hide, list(range(len(case.whole))))


@given(st.sampled_from(sorted(CASES)), st.booleans(), st.integers(0, 60), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_cut_anywhere(name: str, hide: bool, count: int, source: random.Random) -> None:
    """Any number of reads of any size make no difference."""
    case = CASES[name]
    check(case, hide, [source.randrange(len(case.whole) + 1) for _ in range(count)])


def test_complete_events_do_not_wait() -> None:
    """An event goes on with the read that completes it; only an unfinished one is held back, and no comment is."""
    case = CASES["chat"]
    reader = StreamReader(True, case.texts)
    for place, event in enumerate(case.events):
        if event.startswith(b":"):
            assert reader.feed(event[:-1]) + reader.feed(event[-1:]) == event
            continue
        assert reader.feed(event[:-1]) == b""
        assert reader.feed(event[-1:]) == (b"" if place == case.usage else event)


def test_usage_that_was_asked_for_stays() -> None:
    """A chunk with usage and a choice is never taken out, and neither is one with no choices and no usage."""
    events = [sse(FILTER), sse(chunk({}, "stop", usage=USAGE)), sse("[DONE]")]
    reader = StreamReader(True, TEXT_OF_CHAT)
    assert reader.feed(b"".join(events)) == b"".join(events)
    assert reader.report is not None
    assert reader.report.usage is not None


def test_usage_with_spaces() -> None:
    """JSON with spaces is read like JSON without."""
    reader = StreamReader(True, TEXT_OF_CHAT)
    event = b'data: {"choices" : [ ], "model" : "m", "usage" : { "prompt_tokens" : 1 , "completion_tokens" : 0 } }\n\n'
    assert reader.feed(event) == b""
    assert reader.report is not None
    assert reader.report.usage is not None
    assert reader.report.usage.prompt_tokens == 1


@pytest.mark.parametrize(
    "broken",
    [
        b'data: {"choices":[{"delta":{"content":"cut of\n\n',
        b"<html><body>Bad gateway</body></html>\n\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"data: oops\n\n",
        b'data: {"usage": {"prompt_tokens": }}\n\n',
        b"data: {}}\n\n",
        b"\x00\xff\x00\xff\n\n",
        b'data: {"type":"\xff","error":1}\n\n',
        b'data: {"usage": {' + b'"a":[' * 100_000 + b"\n\n",
    ],
    ids=range(9),
)
@pytest.mark.parametrize("name", ["chat", "responses with CRLF"])
def test_malformed_at_each_event(name: str, broken: bytes) -> None:
    """What is no event stops the stream there: everything before it has gone on, nothing of it or after it."""
    case = CASES[name]
    for place in range(len(case.events)):
        before = b"".join(case.events[:place])
        for reads in ([before + broken + b"".join(case.events[place:])], [before, broken]):
            reader = StreamReader(False, case.texts)
            assert b"".join(reader.feed(read) for read in reads) == before
            assert reader.malformed


@pytest.mark.parametrize("name", CASES)
def test_a_stream_that_stops(name: str) -> None:
    """A stream that ends inside an event is malformed; a last event lacks nothing but its blank line, or is none."""
    case = CASES[name]
    for cut in range(len(case.whole)):
        reader = StreamReader(False, case.texts)
        out = reader.feed(case.whole[:cut])
        rest = reader.finish()
        left = case.whole[len(out) : cut].strip()
        assert case.whole.startswith(out)
        assert rest.strip() in {b"", left}
        assert reader.malformed == (bool(left) and not rest)
        assert not reader.ended or reader.report is not None


@pytest.mark.parametrize(
    "event",
    [
        sse({"error": {"message": "The server had an error", "code": "server_error"}}),
        sse({"id": "", "error": {"message": "late"}}),
        sse({"type": "error", "code": "server_error", "message": "late"}, "error"),
        sse({"type": "response.failed", "response": {"error": {"code": "server_error"}, "usage": None}}),
    ],
    ids=range(4),
)
def test_an_error_event_is_passed_on(event: bytes) -> None:
    """Once something was said a backend's own error event reaches the caller, and the stream counts as failed."""
    reader = StreamReader(True, TEXT_OF_CHAT)
    reader.feed(sse(chunk({"content": "said"})))
    assert reader.feed(event) == event
    assert reader.failed
    assert not reader.malformed
    assert not reader.withheld


def test_an_error_before_any_content_is_withheld() -> None:
    """An error that is not the request's own, before anything was said, is kept back: another backend may answer."""
    reader = StreamReader(True, TEXT_OF_CHAT)
    assert reader.feed(sse(chunk({"role": "assistant", "content": ""})))
    assert reader.feed(sse({"error": {"message": "over\nloaded", "code": "server_error"}})) == b""
    assert (reader.failed, reader.withheld) == (True, "over\nloaded")
    refused = StreamReader(True, TEXT_OF_CHAT)
    filtered = sse({"error": {"message": "filtered", "code": "content_filter"}})
    assert refused.feed(filtered) == filtered
    assert (refused.failed, refused.withheld) == (True, "")


def test_what_lenient_servers_send() -> None:
    """A byte order mark, unknown fields and a [DONE] without its blank line are no faults."""
    event = sse(chunk({"content": "a"}))
    reader = StreamReader(True, TEXT_OF_CHAT)
    odd = b"\xef\xbb\xbf" + event + b"x-trace: 7\n" + event
    assert reader.feed(odd) == odd
    assert reader.feed(b": one\n") == b": one\n"
    assert reader.feed(b"data: [DONE]") == b""
    assert reader.finish() == b"data: [DONE]\n\n"
    assert (reader.ended, reader.malformed) == (True, False)


def test_usage_without_choices_is_hidden() -> None:
    """A usage chunk that was not asked for is taken out whether its choices are empty, null or absent."""
    kinds: list[dict[str, Any]] = [{"choices": []}, {"choices": None}, {}]
    for choices in kinds:
        reader = StreamReader(True, TEXT_OF_CHAT)
        assert reader.feed(sse({**choices, "usage": {"prompt_tokens": 1, "completion_tokens": 2}})) == b""
        assert reader.report is not None


def test_halves_of_characters_are_no_fault() -> None:
    """A chunk that ends in the midst of an escaped character goes on as it came, as does the usage beside one."""
    reader = StreamReader(True, TEXT_OF_CHAT)
    chunk = b'data: {"choices":[{"delta":{"content":"{\\ud83d"}}]}\n\n'
    assert reader.feed(chunk) == chunk
    assert reader.feed(b'data: {"choices":[],"usage":{"prompt_tokens":3},"note":"\\ude00"}\n\n') == b""
    assert not reader.malformed
    assert reader.report is not None
    assert reader.report.usage is not None


def test_words_about_errors_are_no_errors() -> None:
    """Text that looks like an error, a usage or an end is text."""
    reader = StreamReader(True, TEXT_OF_CHAT)
    for text in NASTY:
        event = sse(chunk({"content": text}))
        assert reader.feed(event) == event
    assert reader.report is None
    assert not any((reader.failed, reader.ended, reader.malformed))


@pytest.mark.parametrize("bad", ["-1", "1e30", '"7"', "1.5", "true", "99999999999999999999999"])
def test_absurd_counts_are_no_counts(bad: str) -> None:
    """A count that is none is not taken over; the stream goes on."""
    event = f'data: {{"choices":[],"usage":{{"prompt_tokens":{bad},"completion_tokens":1}}}}\n\n'.encode()
    reader = StreamReader(False, TEXT_OF_CHAT)
    assert reader.feed(event) == event
    assert not reader.malformed
    assert reader.report is None


def test_blank_lines_between_events() -> None:
    """Line ends beyond those that end an event are passed on, even in a read of their own."""
    event = sse(chunk({"content": "a"}))
    whole = b"\n" + event + b"\n\n\n" + event + b"\n"
    for cut in range(len(whole)):
        reader = StreamReader(True, TEXT_OF_CHAT)
        assert reader.feed(whole[:cut]) + reader.feed(whole[cut:]) == whole
        assert not reader.malformed


def test_an_event_without_end_is_given_up() -> None:
    """What never ends is malformed once it is larger than any event, and until then nothing of it goes on."""
    reader = StreamReader(False, TEXT_OF_CHAT)
    piece = b"x" * (LONGEST_EVENT // 4)
    assert reader.feed(b"data: " + piece) == b""
    while not reader.malformed:
        assert reader.feed(piece) == b""
        assert sum(map(len, reader._held)) <= LONGEST_EVENT + len(piece)


def test_a_large_event_takes_linear_time() -> None:
    """A picture of some megabytes in reads of a few kilobytes is searched once, not once a read."""
    reader = StreamReader(False, TEXT_OF_RESPONSES)
    event = sse({"type": "response.image_generation_call.partial_image", "partial_image_b64": "x" * 3_000_000})
    out = b"".join(reader.feed(event[start : start + 4096]) for start in range(0, len(event), 4096))
    assert out == event
    assert not reader.malformed


def test_long_answers_keep_only_their_text() -> None:
    """Of an answer of any length no more than its text is kept, and that exactly."""
    reader = StreamReader(False, TEXT_OF_CHAT)
    words = [f"word{place} " for place in range(3000)]
    for word in words:
        reader.feed(sse(chunk({"content": word})))
        assert sum(map(len, reader._delivered)) < 64 * 1024
    assert reader.delivered_text()["content"] == "".join(words)
    assert reader.model == "gpt-4o-2024-11-20"


def test_what_was_not_delivered_is_not_kept() -> None:
    """Half an event that never ended counts for nothing."""
    reader = StreamReader(False, TEXT_OF_CHAT)
    reader.feed(sse(chunk({"content": "heard"})) + sse(chunk({"content": "unheard"}))[:-1])
    assert reader.delivered_text() == {"content": "heard"}


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(data: bytes) -> None:
    """Bytes of any kind neither raise nor change on their way: what comes out is where the input begins."""
    reader = StreamReader(True, TEXT_OF_CHAT)
    out = reader.feed(data)
    assert data.startswith(out)
    reader.finish()
    reader.delivered_text()
    texts_of("chat/completions", data)
