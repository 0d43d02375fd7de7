"""Uploads: what is kept of them, for how long, and how they end."""

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import BodyTimeout, BodyTooLarge, CallerLeft, InvalidRequest, UploadInterrupted
from gateway.requests.bodies import BodyRules
from gateway.uploads.forms import FormReader
from gateway.uploads.spool import UploadSpace
from gateway.uploads.uploads import KEPT_IN_MEMORY, Upload

MANY = 20
BODY = bytes(range(256)) * (KEPT_IN_MEMORY // 256)
RULES = BodyRules(limit=100 * KEPT_IN_MEMORY, timeout=5)


class Caller:
    """A server's `receive` for a body that comes in pieces, and then waits, leaves or ends."""

    def __init__(self, pieces: list[bytes], *, end: str = "over") -> None:
        self._pieces = pieces
        self._end = end
        self.taken = 0

    async def __call__(self) -> MutableMapping[str, Any]:
        if self.taken < len(self._pieces):
            self.taken += 1
            last = self.taken == len(self._pieces) and self._end == "over"
            return {"type": "http.request", "body": self._pieces[self.taken - 1], "more_body": not last}
        if self._end == "waits":
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}


def upload(caller: Caller, *, room: int = 10**9, rules: BodyRules = RULES, form: FormReader | None = None) -> Upload:
    return Upload(caller, rules, UploadSpace(room), length=None, is_form=form is not None, form=form)


async def whole(upload: Upload, model: str | None = None) -> bytes:
    return b"".join([piece async for piece in upload.to(model)])


async def test_little_is_read_ahead() -> None:
    """Only the first bytes are read before there is a backend; the rest is left with the caller until it is wanted."""
    caller = Caller([BODY] * MANY)
    reading = upload(caller)
    await reading.look_ahead()
    assert caller.taken == 1
    assert reading.to(None).length is None
    assert await whole(reading) == BODY * MANY
    assert reading.length == len(BODY) * MANY
    reading.close()


async def test_what_was_read_is_read_again() -> None:
    """Each attempt begins at the first byte, wherever the one before it stopped, and goes on with what comes."""
    reading = upload(Caller([BODY] * MANY))
    for stop in (1, 20, 45):
        pieces = []
        async for piece in reading.to(None):
            pieces.append(piece)
            if len(pieces) == stop:
                break
        assert b"".join(pieces) == (BODY * MANY)[: sum(map(len, pieces))]
    assert await whole(reading) == BODY * MANY
    assert await whole(reading) == BODY * MANY
    assert reading.repeatable
    reading.close()


async def test_two_attempts_at_once_do_not_rob_each_other() -> None:
    """A reading that its owner has not let go of yet takes nothing away from the next one."""
    reading = upload(Caller([BODY] * MANY))
    assert list(await asyncio.gather(whole(reading), whole(reading))) == [BODY * MANY] * 2
    reading.close()


async def test_without_room_it_goes_by() -> None:
    """An upload that is not kept is passed on all the same, and can be repeated as long as nothing was let go."""
    reading = upload(Caller([BODY] * MANY), room=0)
    await reading.look_ahead()
    assert reading.to(None).repeatable
    assert await whole(reading) == BODY * MANY
    assert not reading.to(None).repeatable
    with pytest.raises(UploadInterrupted):
        await whole(reading)
    reading.close()


async def test_room_is_shared_and_given_back() -> None:
    """What one upload keeps is missing for another until the first one is closed."""
    space = UploadSpace(3 * KEPT_IN_MEMORY)
    first, second, third = (Upload(Caller([BODY] * 4), RULES, space, length=None) for _ in range(3))
    assert await whole(first) == BODY * 4
    assert await whole(second) == BODY * 4
    assert (first.repeatable, second.repeatable) == (True, False)
    first.close()
    second.close()
    assert await whole(third) == BODY * 4
    assert third.repeatable
    third.close()


async def test_a_full_disk_is_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where nothing can be written, the upload goes on without being kept, and its room is free again."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    space = UploadSpace(KEPT_IN_MEMORY)
    reading = Upload(Caller([BODY] * 3), RULES, space, length=None)
    assert await whole(reading) == BODY * 3
    assert not reading.repeatable
    assert space.take(KEPT_IN_MEMORY)
    reading.close()


def form_of(*parts: bytes) -> list[bytes]:
    body = b"".join(b"--edge\r\ncontent-disposition: form-data; " + part + b"\r\n" for part in parts) + b"--edge--\r\n"
    return [body[start : start + 60_000] for start in range(0, len(body), 60_000)]


FILE = b'name="file"; filename="a"\r\n\r\n' + BODY * 3
MODEL = b'name="model"\r\n\r\nwhisper'


@pytest.mark.parametrize("parts", [(MODEL, FILE), (FILE, MODEL)], ids=["first", "last"])
@pytest.mark.parametrize("model", ["whisper", "another-name", ""])
async def test_the_model_is_replaced(parts: tuple[bytes, ...], model: str) -> None:
    """Wherever a form names its model it is found before a backend is chosen, and replaced as the bytes go by."""
    pieces = form_of(*parts)
    reading = upload(Caller(pieces), form=FormReader("multipart/form-data; boundary=edge"))
    await reading.look_ahead()
    assert reading.model == "whisper"
    expected = b"".join(pieces).replace(b"whisper", model.encode())
    for _ in range(2):
        assert await whole(reading, model) == expected
    assert reading.to(model).length == len(expected)
    reading.close()


async def test_a_late_model_without_room() -> None:
    """A form whose model comes too late to be waited for is told what to do."""
    reading = upload(Caller(form_of(FILE, MODEL)), room=0, form=FormReader("multipart/form-data; boundary=edge"))
    with pytest.raises(InvalidRequest, match="send the part `model` first"):
        await reading.look_ahead()
    reading.close()


async def test_a_second_model_ends_the_upload() -> None:
    """A second model that comes after the first was acted on never reaches the backend, nor does what follows."""
    reading = upload(Caller(form_of(MODEL, FILE, MODEL)), form=FormReader("multipart/form-data; boundary=edge"))
    await reading.look_ahead()
    with pytest.raises(InvalidRequest, match="more than one"):
        await whole(reading)
    assert isinstance(reading.to(None).fault, InvalidRequest)
    with pytest.raises(InvalidRequest):
        await whole(reading)
    reading.close()


async def test_limit() -> None:
    """An upload that grows over the limit ends there."""
    reading = upload(Caller([BODY] * 3), rules=BodyRules(limit=len(BODY) * 2, timeout=5))
    with pytest.raises(BodyTooLarge):
        await whole(reading)
    reading.close()


async def test_only_the_callers_time_counts() -> None:
    """A slow backend does not use up the caller's time, and a caller that stops sending does."""
    reading = upload(Caller([BODY] * 4, end="waits"), rules=BodyRules(RULES.limit, timeout=0.2))
    began = asyncio.get_running_loop().time()

    async def slow_backend() -> None:
        async for _ in reading.to(None):
            await asyncio.sleep(0.02)

    with pytest.raises(BodyTimeout):
        await slow_backend()
    assert asyncio.get_running_loop().time() - began > 0.5
    reading.close()


async def test_a_departure() -> None:
    """A caller that leaves ends the reading; whoever watches for departures hears of it."""
    reading = upload(Caller([BODY, BODY], end="leaves"))
    watching = asyncio.create_task(reading.after_body())
    with pytest.raises(CallerLeft):
        await whole(reading)
    assert (await watching)["type"] == "http.disconnect"
    reading.close()
