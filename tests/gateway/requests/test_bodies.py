"""Request bodies: how they arrive, what is read of them, and how little of them is changed."""

import asyncio
import json
from collections.abc import Iterable, MutableMapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.deadlines import Deadlines
from gateway.errors import BodyTimeout, BodyTooLarge, CallerLeft, InvalidRequest
from gateway.requests.bodies import BodyRules, Receive, peek, read_body, with_model, with_usage

OBJECTS = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=10,
    ),
    max_size=5,
)


def arriving(parts: Iterable[bytes], *, ends: bool = True) -> Receive:
    """Return a `receive` for a body in parts; after them it waits for good."""
    waiting = list(parts)

    async def receive() -> MutableMapping[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(waiting) or not ends}

    return receive


@pytest.mark.parametrize("parts", [[b""], [b"abc"], [b"a", b"", b"bc"], [b"a", b"b", b"c", b""]])
async def test_a_body_in_parts(parts: list[bytes]) -> None:
    """However a body is cut it arrives whole, up to the limit itself."""
    assert await read_body(arriving(parts), BodyRules(3, 5), Deadlines()) == b"".join(parts)


async def test_a_message_may_name_no_body() -> None:
    """ASGI lets a message leave out both its fields."""

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    assert await read_body(receive, BodyRules(3, 5), Deadlines()) == b""


async def test_too_large() -> None:
    """A body is refused at the part that takes it over the limit, before the rest has come."""
    with pytest.raises(BodyTooLarge):
        await read_body(arriving([b"ab", b"cd"], ends=False), BodyRules(3, 5), Deadlines())


async def test_too_slow() -> None:
    """A body that stops arriving is a time-out."""
    with pytest.raises(BodyTimeout):
        await read_body(arriving([b"ab"], ends=False), BodyRules(3, 0.01), Deadlines())


async def test_caller_left() -> None:
    """A caller that leaves while it sends is gone, and what it sent is no request."""

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(CallerLeft):
        await read_body(receive, BodyRules(3, 5), Deadlines())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"hello",
        b"\xef\xbb\xbf{}",
        b'{"model": 5}',
        b'{"model": "\xff"}',
        b'{"model": "\\ud800"}',
        b'{"stream": "yes"}',
        b'{"stream_options": []}',
        b'{"model": "a"',
        b'{"model": "a"} {}',
        b'{"a": ' + b"[" * 200_000,
        b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    ],
    ids=range(14),
)
def test_bodies_that_are_none(body: bytes) -> None:
    """What is no JSON object, or has a field of a wrong type, is the caller's error and says why."""
    with pytest.raises(InvalidRequest, match="The request body is not"):
        peek(body)


@pytest.mark.parametrize("change", [lambda body: with_model(body, "m"), lambda body: with_usage(body, {})])
def test_fields_that_were_skipped_may_be_wrong(change: Any) -> None:
    """A name that is not UTF-8 is found no later than when the body is changed, and is the caller's error."""
    with pytest.raises(InvalidRequest):
        change(b'{"\xff": 1, "model": "a"}')


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No bytes at all raise anything but InvalidRequest."""
    try:
        asked = peek(body)
        with_model(body, "m")
        with_usage(body, asked.stream_options)
    except InvalidRequest:
        return
    assert isinstance(json.loads(body), dict)


@given(OBJECTS, st.text(max_size=20), st.booleans())
def test_only_the_model_changes(content: dict[str, Any], model: str, ascii_only: bool) -> None:
    """A new model leaves every other value and the order of the fields as they were."""
    named = model.encode("utf-8", "replace").decode()
    content = {"model": "old", **{name: value for name, value in content.items() if name != "model"}}
    changed = json.loads(with_model(json.dumps(content, ensure_ascii=ascii_only).encode("utf-8", "replace"), named))
    assert changed["model"] == named
    assert len(changed) == len(content)


def test_values_keep_their_bytes() -> None:
    """Numbers, spaces and escapes inside values are not written anew."""
    body = b'{"model":"a","seed":12345678901234567890123,"t":1.0e-3,"x":{"a" : [1, 2], "s":"\\u00e9\\/"}}'
    assert with_model(body, "b") == body.replace(b'"a",', b'"b",', 1)


@pytest.mark.parametrize("tail", [b"", b" ", b"\r\n\t "])
def test_usage_is_added_at_the_end(tail: bytes) -> None:
    """Without options of its own a body stays byte for byte what it was, and gets one field more."""
    body = b'{"stream": true,\n "messages": [{"content": "}}"}]}'
    assert with_usage(body + tail, None) == body[:-1] + b',"stream_options":{"include_usage":true}}'


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (b'{"stream":true,"stream_options":{"include_usage":false}}', {"include_usage": True}),
        (b'{"stream":true,"stream_options":{"x":[1]}}', {"x": [1], "include_usage": True}),
        (b'{"stream":true,"stream_options":null}', {"include_usage": True}),
        (b'{"stream":true,"stream\\u005foptions":{"x":1}}', {"x": 1, "include_usage": True}),
        (b'{"stream":true,"user":"stream_options"}', {"include_usage": True}),
    ],
)
def test_usage_joins_other_options(body: bytes, options: dict[str, Any]) -> None:
    """Options that the caller set stay; the one for usage is set beside them, and no field stands twice."""
    changed = with_usage(body, peek(body).stream_options)
    pairs = json.loads(changed, object_pairs_hook=list)
    assert len({name for name, _ in pairs}) == len(pairs)
    assert json.loads(changed) == {**json.loads(body), "stream_options": options}
    assert peek(changed).usage_asked


@pytest.mark.parametrize(
    ("options", "asked"),
    [("null", False), ("{}", False), ('{"include_usage":false}', False), ('{"include_usage": true }', True)],
)
def test_whether_usage_is_asked_for(options: str, asked: bool) -> None:
    """Only a true `include_usage` asks for usage."""
    assert peek(f'{{"stream_options":{options}}}'.encode()).usage_asked is asked


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, None),
        ({"max_tokens": 10}, 10),
        ({"max_completion_tokens": 7, "max_tokens": 10}, 7),
        ({"max_output_tokens": 9, "n": 3}, 27),
        ({"max_tokens": 10, "n": "3"}, 10),
        ({"max_tokens": -1}, None),
        ({"max_tokens": "many"}, None),
        ({"max_tokens": 0.5, "n": []}, None),
    ],
)
def test_the_bound_of_an_answer(fields: dict[str, Any], most: int | None) -> None:
    """The bound is the most specific honest number; anything else is left for the backend to refuse."""
    assert peek(msgspec.json.encode(fields)).most_completion_tokens == most
