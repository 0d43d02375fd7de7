"""Embeddings: unit vectors by feature hashing, always the same for a text, near for texts that share words."""

import base64
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any, Literal

import msgspec

from local.simulator import errors, extracts
from local.simulator.answers import Answer, reported
from local.simulator.backend import Backend
from local.simulator.calls import Call, decoded
from local.simulator.tokens import PlainPrompt, Priced

DIMENSIONS = {"text-embedding-3-large": 3072}
DEFAULT_DIMENSIONS = 1536
PLACES_PER_WORD = 4


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """The fields of a request that change the answer; token lists are counted by their length."""

    input: Any = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """A prompt that came as token ids: their number is its price."""

    ids: int

    @property
    def surcharge(self) -> int:
        return self.ids

    def texts(self) -> Iterator[str]:
        return iter(())


_decoder = msgspec.json.Decoder(EmbeddingRequest)


def answer(call: Call, backend: Backend) -> Answer:
    """Return the answer to an embeddings request. Raises AzureError."""
    request = decoded(_decoder, call.body)
    texts, price = _inputs(request.input)
    usage = backend.admit(call, price, 0)
    size = request.dimensions or DIMENSIONS.get(call.model, DEFAULT_DIMENSIONS)
    encode = _packed if request.encoding_format == "base64" else vector
    document: dict[str, Any] = {
        "data": [
            {"embedding": encode(text, size), "index": index, "object": "embedding"} for index, text in enumerate(texts)
        ],
        "model": call.model,
        "object": "list",
    }
    if call.report != "missing":
        shown = reported(usage, call.report)
        document["usage"] = {"prompt_tokens": shown.prompt, "total_tokens": shown.prompt}
    return Answer(usage, body=msgspec.json.encode(document))


def _inputs(given: Any) -> tuple[list[str], Priced]:
    """Return a text for each vector that is asked for, and what is priced."""
    match given:
        case str(text) if text:
            return [text], PlainPrompt([text])
        case [str(), *_] if all(isinstance(entry, str) for entry in given):
            return given, PlainPrompt(given)
        case [int(), *_] if all(isinstance(entry, int) for entry in given):
            return [" ".join(map(str, given))], TokenPrompt(len(given))
        case [list(), *_] if all(isinstance(entry, list) for entry in given):
            return [" ".join(map(str, entry)) for entry in given], TokenPrompt(sum(map(len, given)))
    raise errors.invalid_request("'$.input' is invalid. Please check the API reference.", param="input")


@lru_cache(maxsize=512)
def vector(text: str, size: int) -> tuple[float, ...]:
    """Return the text's unit vector of `size` dimensions."""
    values = [0.0] * size
    counted = Counter(extracts.words(text) or [text])
    for word, times in counted.items():
        for place in range(PLACES_PER_WORD):
            code = zlib.crc32(f"{place}:{word}".encode())
            values[(code >> 1) % size] += sqrt(times) * (1.0 if code & 1 else -1.0)
    length = sqrt(sum(value * value for value in values))
    if not length:
        values[0] = length = 1.0
    return tuple(value / length for value in values)


@lru_cache(maxsize=512)
def _packed(text: str, size: int) -> str:
    """Return the vector as base64 of little-endian 32-bit floats, the form that the SDKs ask for."""
    return base64.b64encode(struct.pack(f"<{size}f", *vector(text, size))).decode()
