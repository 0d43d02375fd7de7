"""Request bodies that are not JSON: files, passed on to a backend as they come, in memory that does not grow with them.

What has come is kept for another attempt: the latest bytes in memory, all before them in a nameless file, as long as
there is room. An upload that is not kept can be sent to another backend only until its first bytes have been let go.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final, Self

from gateway.errors import CallerLeft, GatewayError, InvalidRequest, UploadInterrupted
from gateway.requests.bodies import BodyRules, Receive, too_large, too_slow
from gateway.uploads.forms import FormReader
from gateway.uploads.spool import Spool, UploadSpace

KEPT_IN_MEMORY: Final = 256 * 1024
"""Bytes of one upload, and one message of the server more; as many are read before anything is done with them."""

PIECE: Final = 64 * 1024

logger = logging.getLogger(__name__)


class Upload:
    """One body on its way. `form` is read along where it has to name the model; `length` is None where it is not told.

    `fault` is why the caller's side broke off, which ends every reading.
    """

    def __init__(
        self,
        receive: Receive,
        rules: BodyRules,
        space: UploadSpace,
        *,
        length: int | None,
        is_form: bool = False,
        form: FormReader | None = None,
    ) -> None:
        self._receive = receive
        self._limit = rules.limit
        self._timeout = self._patience = rules.timeout
        self._space = space
        self.is_form = is_form
        self._form = form
        self._length = length
        self._lock = asyncio.Lock()
        self._over = asyncio.Event()
        self._tail = bytearray()
        self._tail_at = 0
        self._spool = Spool()
        self._filed = 0
        self.fault: GatewayError | CallerLeft | None = None

    async def look_ahead(self) -> None:
        """Receive the first bytes, and of a form all up to its model.

        Raises InvalidRequest, BodyTooLarge, BodyTimeout and CallerLeft.
        """
        while not self._over.is_set() and (
            self._size < KEPT_IN_MEMORY or (self._form is not None and self._form.place is None)
        ):
            if not self.repeatable:
                raise InvalidRequest(
                    "The form names its model after its files, and there is no room to keep them until then: send the "
                    "part `model` first.",
                    param="model",
                )
            await self._pull(self._size)

    async def after_body(self) -> dict[str, object]:
        """Be the `receive` of whoever waits for the caller's departure: the body is not theirs."""
        await self._over.wait()
        return dict(await self._receive())

    def to(self, model: str | None) -> "Reading":
        """Return the body for one attempt, with this model in its form; None: as it came."""
        return Reading(self, model if self._form is not None and self._form.model != model else None)

    @property
    def model(self) -> str | None:
        return self._form.model if self._form is not None else None

    @property
    def place(self) -> tuple[int, int]:
        """Where the form's model begins and ends."""
        return self._form.place if self._form is not None and self._form.place is not None else (0, 0)

    @property
    def repeatable(self) -> bool:
        """Tell whether a reading can still begin at the first byte."""
        return self._filed == self._tail_at

    @property
    def length(self) -> int | None:
        """The body's bytes; None where its end has not come and nobody has told."""
        return self._size if self._over.is_set() else self._length

    def close(self) -> None:
        """Let go of what is kept. Nothing can be read afterwards."""
        self._spool.close()
        self._space.give_back(self._filed)
        self._tail_at, self._filed = self._size, 0
        self._tail = bytearray()

    async def piece(self, at: int) -> bytes:
        """Return bytes from this place on, as soon as there are any; none at the end.

        Raises UploadInterrupted where they are not kept, and as look_ahead.
        """
        while at >= self._size and not self._over.is_set():
            await self._pull(at)
        if at >= self._tail_at:
            start = at - self._tail_at
            return bytes(self._tail[start : start + PIECE])
        if at >= self._filed:
            raise UploadInterrupted("The upload could not be kept for another backend; send it again.")
        return await asyncio.to_thread(self._spool.read, at, min(PIECE, self._filed - at))

    @property
    def _size(self) -> int:
        return self._tail_at + len(self._tail)

    async def _pull(self, at: int) -> None:
        """Receive the next message, unless another reading has got as far meanwhile."""
        async with self._lock:
            if self._size > at or self._over.is_set():
                return
            if len(self._tail) >= KEPT_IN_MEMORY:
                await self._put_away()
            try:
                self._take(*await self._message())
            except (GatewayError, CallerLeft) as fault:
                self.fault = fault
                raise

    async def _message(self) -> tuple[bytes, bool]:
        """Return the next bytes, and whether they are the last. Only what the caller takes counts as its time."""
        if self.fault is not None:
            raise self.fault
        time = asyncio.get_running_loop().time
        began = time()
        try:
            async with asyncio.timeout(self._patience):
                message = await self._receive()
        except TimeoutError as error:
            raise too_slow(self._timeout) from error
        finally:
            self._patience -= time() - began
        if message["type"] == "http.disconnect":
            self._over.set()
            raise CallerLeft
        return message.get("body", b""), not message.get("more_body", False)

    def _take(self, data: bytes, last: bool) -> None:
        if self._size + len(data) > self._limit:
            raise too_large(self._limit)
        if self._form is not None:
            self._form.feed(data)
        self._tail += data
        if last:
            self._over.set()

    async def _put_away(self) -> None:
        """Move what is in memory to the file, or let it go where there is no room."""
        tail = self._tail
        if self.repeatable and await self._kept(tail):
            self._filed += len(tail)
        self._tail_at += len(tail)
        self._tail = bytearray()

    async def _kept(self, data: bytearray) -> bool:
        if not self._space.take(len(data)):
            return False
        try:
            await asyncio.to_thread(self._spool.write, self._tail_at, data)
        except BaseException as error:
            self._space.give_back(len(data))
            if not isinstance(error, OSError):
                raise
            logger.warning("An upload is not kept for another attempt: %s", error.strerror)
            return False
        return True


class Reading:
    """An upload for one attempt: iterated, its bytes, where wanted with another model in the form's place of it."""

    __slots__ = ("_model", "_upload")

    def __init__(self, upload: Upload, model: str | None) -> None:
        self._upload = upload
        self._model = model.encode() if model is not None else None

    @property
    def length(self) -> int | None:
        length = self._upload.length
        if length is None or self._model is None:
            return length
        start, end = self._upload.place
        return length - (end - start) + len(self._model)

    @property
    def repeatable(self) -> bool:
        return self._upload.repeatable

    @property
    def fault(self) -> Exception | None:
        return self._upload.fault

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces(self._upload, self._model)


class _Pieces:
    __slots__ = ("_at", "_model", "_upload")

    def __init__(self, upload: Upload, model: bytes | None) -> None:
        self._upload = upload
        self._model = model
        self._at = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        model = self._model
        start, end = self._upload.place
        if model is not None and self._at == start:
            self._model, self._at = None, end
            if model:
                return model
        piece = await self._upload.piece(self._at)
        if self._model is not None:
            piece = piece[: start - self._at]
        if not piece:
            raise StopAsyncIteration
        self._at += len(piece)
        return piece
