"""What an operation answers with, before it goes on the wire: a JSON body, or SSE events with the text they bill."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from local.simulator.calls import Call, Report
from local.simulator.tokens import Usage

SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
PROMPT_SAFE = {**SAFE, "jailbreak": {"filtered": False, "detected": False}}
FILTERED = {**SAFE, "violence": {"filtered": True, "severity": "high"}}
PROMPT_FILTER_RESULTS = [{"prompt_index": 0, "content_filter_results": PROMPT_SAFE}]

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Event:
    """One SSE event, whole, and the billed text in it; texts of the same `part` are counted together."""

    data: bytes
    text: str = ""
    part: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """Usage and either `body` or `events`. `kept` is called when the answer was delivered in full.

    A `background` one is billed when its work is done, whatever becomes of this answer.
    """

    usage: Usage
    body: bytes = b""
    events: Iterable[Event] | None = None
    kept: Callable[[], None] | None = None
    background: bool = False


def event(document: Any, name: str = "") -> bytes:
    """Return a document as an SSE event, with an `event:` line where it has a name."""
    head = b"event: " + name.encode() + b"\ndata: " if name else b"data: "
    return head + msgspec.json.encode(document) + b"\n\n"


def reported(usage: Usage, report: Report) -> Usage:
    """Return what the answer says of its usage."""
    return Usage() if report == "zero" else usage


def chat_usage(usage: Usage, call: Call) -> dict[str, Any]:
    """Return usage in the words of chat and legacy completions."""
    shown = reported(usage, call.report)
    return {
        "completion_tokens": shown.completion,
        "completion_tokens_details": {
            "accepted_prediction_tokens": 0,
            "audio_tokens": 0,
            "reasoning_tokens": shown.reasoning,
            "rejected_prediction_tokens": 0,
        },
        "prompt_tokens": shown.prompt,
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": shown.cached},
        "total_tokens": shown.prompt + shown.completion,
    }
