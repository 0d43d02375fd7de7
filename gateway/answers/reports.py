"""What a backend's JSON answer says about its cost: usage, model, service tier; and what an error says.

Field names of both APIs are read: `prompt_tokens`/`completion_tokens` (chat completions, completions, embeddings) and
`input_tokens`/`output_tokens` (Responses, images, transcriptions, whose details are called `input_token_details`), and
the seconds of audio that is billed by its length. Counts that are no honest counts are treated as not there.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import msgspec

from gateway.requests.bodies import NOT_JSON
from gateway.usage import MOST_METERED, Meters

LONGEST_AUDIO = 10**6
"""Seconds."""

_HALF = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_VERSION = re.compile(r"^(?P<model>.+?)-(?P<version>\d{4}-\d{2}-\d{2}|\d{8}|\d{4}(?:-preview)?)$")


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    input_token_details: _Details | None = None
    output_token_details: _Details | None = None
    seconds: float | None = None


class _Head(msgspec.Struct):
    model: str | None = None
    service_tier: str | None = None
    usage: _Usage | None = None
    duration: float | str | None = None


class _ErrorBody(msgspec.Struct):
    code: str | int | None = None
    message: str | None = None


class _ErrorAnswer(msgspec.Struct):
    error: _ErrorBody | None = None


_decode = msgspec.json.Decoder(_Head).decode
_decode_error = msgspec.json.Decoder(_ErrorAnswer).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class AnswerReport(NamedTuple):
    """`usage` is None where the answer carries none; `model` and `service_tier` are empty where it names none."""

    model: str
    service_tier: str
    usage: Meters | None


def read_report(body: bytes) -> AnswerReport | None:
    """Return what a JSON answer reports; None where it is not a JSON object."""
    try:
        head = _decode(body)
    except msgspec.ValidationError:
        return _without_usage(body)
    except NOT_JSON:
        mended = without_halves(body)
        return None if mended == body else read_report(mended)
    usage = head.usage
    tier = head.service_tier or ""
    return AnswerReport(
        model=_name(head.model or "")[:128],
        service_tier="" if tier in {"default", "auto", "standard"} else _name(tier)[:64],
        usage=_duration(head.duration) if usage is None else _meters(usage),
    )


def without_halves(body: bytes) -> bytes:
    """Return JSON to take reports from, with U+FFFD for each character beyond 16 bits that is escaped, or half of one.

    An answer that ends in the midst of such a character is read by every SDK, and refused by msgspec.
    """
    return _HALF.sub(rb"\\ufffd", body)


def read_error(body: bytes) -> tuple[str, str]:
    """Return the code and the message, 500 characters of it, of an error; empty where it is not OpenAI's object."""
    try:
        error = _decode_error(body).error
    except NOT_JSON:
        return "", ""
    return (str(error.code or ""), (error.message or "")[:500]) if error else ("", "")


@lru_cache(maxsize=1024)
def split_version(model: str) -> tuple[str, str]:
    """Return a model's name and version: `gpt-4o-2024-11-20` is `gpt-4o` and `2024-11-20`."""
    match = _VERSION.match(model)
    return (match["model"], match["version"]) if match else (model, "")


def _name(text: str) -> str:
    """Return a name that the ledger takes; one with control characters names nothing."""
    return text if text.isprintable() else ""


def _without_usage(body: bytes) -> AnswerReport | None:
    try:
        _decode_object(body)
    except NOT_JSON:
        return None
    return AnswerReport("", "", None)


def _meters(usage: _Usage) -> Meters | None:
    prompt = usage.prompt_tokens if usage.prompt_tokens is not None else usage.input_tokens
    completion = usage.completion_tokens if usage.completion_tokens is not None else usage.output_tokens
    if prompt is None and completion is None:
        return _duration(usage.seconds)
    asked = usage.prompt_tokens_details or usage.input_tokens_details or usage.input_token_details or _NO_DETAILS
    answered = (
        usage.completion_tokens_details or usage.output_tokens_details or usage.output_token_details or _NO_DETAILS
    )
    counts = (
        prompt or 0,
        completion or 0,
        asked.cached_tokens or 0,
        asked.cache_write_tokens or 0,
        answered.reasoning_tokens or 0,
        asked.audio_tokens or 0,
        answered.audio_tokens or 0,
        asked.image_tokens or 0,
    )
    if min(counts) < 0 or max(counts) > MOST_METERED:
        return None
    return Meters(
        prompt_tokens=counts[0],
        completion_tokens=counts[1],
        cached_tokens=min(counts[2], counts[0]),
        cache_write_tokens=min(counts[3], counts[0]),
        reasoning_tokens=min(counts[4], counts[1]),
        audio_prompt_tokens=min(counts[5], counts[0]),
        audio_completion_tokens=min(counts[6], counts[1]),
        image_prompt_tokens=min(counts[7], counts[0]),
    )


def _duration(seconds: float | str | None) -> Meters | None:
    """Return the meters of audio that is billed by its length; None where its length is not told."""
    try:
        length = float(seconds or 0)
    except ValueError:
        return None
    return Meters(audio_milliseconds=round(length * 1000)) if 0 < length < LONGEST_AUDIO else None


_NO_DETAILS = _Details()
