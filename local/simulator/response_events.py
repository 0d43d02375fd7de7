"""A response as the events of its stream.

Their order as OpenAI's API reference gives it: created, in_progress, then for each output item added, its parts and
deltas, done, and at the end completed or incomplete with the usage. There is no `[DONE]`.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any

from local.simulator import replies
from local.simulator.answers import Event, event

type Step = tuple[str, dict[str, Any], str, int]
"""An event's type and fields, the text in it that is billed, and the part that it belongs to."""


def events_of(document: dict[str, Any]) -> Iterator[Event]:
    """Yield the events whose last one holds the whole document."""
    numbers = count()

    def emit(kind: str, fields: dict[str, Any], text: str = "", part: int = 0) -> Event:
        return Event(event({"type": kind, "sequence_number": next(numbers), **fields}, kind), text, part)

    begun = {**document, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    yield emit("response.created", {"response": begun})
    yield emit("response.in_progress", {"response": begun})
    for place, item in enumerate(document["output"]):
        steps = {"message": _message_steps, "function_call": _call_steps}.get(item["type"], _plain_steps)
        for kind, fields, text, part in steps(item):
            where = {} if "item" in fields else {"item_id": item["id"]}
            yield emit(kind, {**where, "output_index": place, **fields}, text, part)
    yield emit(f"response.{document['status']}", {"response": document})


def _plain_steps(item: dict[str, Any]) -> Iterator[Step]:
    yield "response.output_item.added", {"item": item}, "", 0
    yield "response.output_item.done", {"item": item}, "", 0


def _message_steps(item: dict[str, Any]) -> Iterator[Step]:
    content = item["content"][0]
    yield "response.output_item.added", {"item": {**item, "status": "in_progress", "content": []}}, "", 0
    yield "response.content_part.added", {"content_index": 0, "part": {**content, "text": ""}}, "", 0
    for piece in replies.pieces(content["text"]):
        yield "response.output_text.delta", {"content_index": 0, "delta": piece, "logprobs": []}, piece, 0
    done = {"content_index": 0, "text": content["text"], "logprobs": []}
    yield "response.output_text.done", done, "", 0
    yield "response.content_part.done", {"content_index": 0, "part": content}, "", 0
    yield "response.output_item.done", {"item": item}, "", 0


def _call_steps(item: dict[str, Any]) -> Iterator[Step]:
    added = {"item": {**item, "status": "in_progress", "arguments": ""}}
    yield "response.output_item.added", added, item["name"], 0
    for piece in replies.pieces(item["arguments"]):
        yield "response.function_call_arguments.delta", {"delta": piece}, piece, 1
    done = {"arguments": item["arguments"], "name": item["name"]}
    yield "response.function_call_arguments.done", done, "", 1
    yield "response.output_item.done", {"item": item}, "", 0
