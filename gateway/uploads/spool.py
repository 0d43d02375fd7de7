"""Where uploads are kept beyond what memory holds of them: nameless files, and room on the disk for all together."""

import os
import tempfile
import threading
from typing import IO


class UploadSpace:
    """Room on the disk for the uploads under way, in bytes, all together."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self, size: int) -> bool:
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        self._left += size


class Spool:
    """A nameless file, made when it is first written to; for threads, each call of which ends before the next begins.

    Closing waits for a call under way: its number might already be another file's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._closed = False

    def write(self, at: int, data: bytearray) -> None:
        """Raises OSError where the disk takes no more."""
        with self._lock:
            if self._closed:
                return
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - close() closes it
            self._file.seek(at)
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]

    def read(self, at: int, size: int) -> bytes:
        with self._lock:
            return b"" if self._file is None or self._closed else os.pread(self._file.fileno(), size, at)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()
