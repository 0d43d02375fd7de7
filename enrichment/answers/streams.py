"""An answer that is being written, piece by piece."""

import json
from collections.abc import AsyncGenerator

import openai
from openai.types.chat import ChatCompletionChunk

from enrichment.calls.completions import check_stop
from enrichment.errors import GatewayFailed, NoAnswer, from_sdk
from enrichment.privacy.placeholders import Restoring


class StreamedAnswer:
    """`first` is the answer's first piece, which has arrived; "" in an empty answer."""

    def __init__(self, stream: openai.AsyncStream[ChatCompletionChunk], restoring: Restoring | None) -> None:
        self.request_id: str = stream.response.headers.get("x-request-id", "")
        self.first = ""
        pieces = _pieces(stream)
        self._pieces = _restored(pieces, restoring) if restoring else pieces

    async def begin(self) -> None:
        self.first = await anext(self._pieces, "")

    async def pieces(self) -> AsyncGenerator[str]:
        """Yield the text as it arrives, the first piece included. Raises NoAnswer, GatewayFailed, GatewayTimeout."""
        try:
            if self.first:
                yield self.first
            async for piece in self._pieces:
                yield piece
        finally:
            await self._pieces.aclose()


async def _restored(pieces: AsyncGenerator[str], restoring: Restoring) -> AsyncGenerator[str]:
    try:
        async for piece in pieces:
            if told := restoring.feed(piece):
                yield told
        if told := restoring.end():
            yield told
    finally:
        await pieces.aclose()


async def _pieces(stream: openai.AsyncStream[ChatCompletionChunk]) -> AsyncGenerator[str]:
    finished = False
    try:
        async with stream:
            async for chunk in stream:
                for choice in chunk.choices[:1]:
                    if choice.delta.refusal:
                        raise NoAnswer("The model refused to answer.", code="refusal")
                    if choice.delta.content:
                        yield choice.delta.content
                    check_stop(choice.finish_reason)
                    finished = finished or choice.finish_reason is not None
    except openai.APIError as error:
        raise from_sdk(error) from error
    except json.JSONDecodeError as garbage:
        raise GatewayFailed("The model's answer is malformed.") from garbage
    if not finished:
        raise GatewayFailed("The model's answer ended before it was whole.")
