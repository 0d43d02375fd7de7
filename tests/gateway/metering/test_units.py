"""Audio and pictures through the gateway: bytes pass untouched, and their own units are metered."""

import json
from typing import Any

import pytest

from tests.served import served

WAVE = b"RIFF\x00\x01\x02" * 1000
SPOKEN = bytes(range(256)) * 300


class MediaBackend:
    """Answers as Azure OpenAI does for audio and images, and keeps what it was sent."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.seen.append((scope["path"], body))
        operation = scope["path"].rpartition("/")[2]
        kind, answer = self.answer(operation)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode())]})
        for start in range(0, len(answer), 10_000):
            await send({"type": "http.response.body", "body": answer[start : start + 10_000], "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def answer(self, operation: str) -> tuple[str, bytes]:
        if operation == "speech":
            return "audio/mpeg", SPOKEN
        if operation == "generations":
            usage = {"input_tokens": 12, "output_tokens": 400, "input_tokens_details": {"image_tokens": 0}}
            pictures = [{"b64_json": "iVBOR"}, {"b64_json": "iVBOR"}]
            return "application/json", json.dumps({"created": 1, "data": pictures, "usage": usage}).encode()
        if operation == "translations":
            return "application/json", json.dumps(
                {"text": "hello", "usage": {"type": "duration", "seconds": 7}}
            ).encode()
        usage = {"type": "tokens", "input_tokens": 30, "output_tokens": 5, "input_token_details": {"audio_tokens": 28}}
        return "application/json", json.dumps({"text": "hello", "usage": usage}).encode()


def catalog_at(url: str) -> dict[str, Any]:
    pool = [{"backend": "media", "deployment": "there"}]
    return {
        "backends": {"media": {"endpoint": url, "auth": {"api_key": "setting:UPSTREAM_KEY"}}},
        "deployments": {name: {"model": name, "pool": pool} for name in ("gpt-4o", "whisper", "tts", "dall-e")},
    }


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the SDK's word on translations
async def test_audio_and_images(gateway_with: Any) -> None:
    """Forms and files go up and binary answers come down byte for byte; each is metered by what it is billed by."""
    backend = MediaBackend()
    async with served(backend) as url, gateway_with(**catalog_at(url)) as gateway:
        for client in (gateway.azure(), gateway.openai()):
            await client.audio.transcriptions.create(model="whisper", file=("a.wav", WAVE))
            await client.audio.translations.create(model="whisper", file=("a.wav", WAVE))
            spoken = await client.audio.speech.create(model="tts", voice="alloy", input="Fire on floor three!")
            assert spoken.content == SPOKEN
            pictures = await client.images.generate(model="dall-e", prompt="a printer on fire", n=2)
            assert len(pictures.data or []) == 2
        events = await gateway.settled(8)
    for start in (0, 4):
        transcription, translation, speech, image = (event.meters for event in events[start : start + 4])
        assert (transcription.prompt_tokens, transcription.audio_prompt_tokens) == (30, 28)
        assert transcription.completion_tokens == 5
        assert translation.audio_milliseconds == 7000
        assert speech.characters == 20
        assert (image.images, image.prompt_tokens, image.completion_tokens) == (2, 12, 400)
    assert not any(event.estimated for event in events)
    assert [path.startswith("/openai/deployments/there/") for path, _ in backend.seen] == [True] * 4 + [False] * 4
    assert all(WAVE in body for path, body in backend.seen if "trans" in path)
    assert b'name="model"\r\n\r\nthere\r\n' in backend.seen[4][1]
