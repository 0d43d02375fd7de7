"""The model's name in a multipart form (RFC 7578), read as the form comes, without touching the files beside it."""

import re
from email.message import Message

from gateway.errors import InvalidRequest

LONGEST_PART_HEAD = 4096
LONGEST_MODEL = 256
MOST_PARTS = 1000

_NAMED_MODEL = re.compile(rb'content-disposition:[^\r\n]*;\s*name="?model"?\s*(?:[;\r]|$)', re.IGNORECASE)
_UNCLEAR = re.compile(
    rb'\n[ \t]|content-disposition[ \t]+:|content-disposition:[^\r\n]*;\s*name(?:\s*\*|\s+=|=\s|="[^"\r\n]*\\)',
    re.IGNORECASE,
)
"""Folded lines, blanks around `:` and `=`, encoded and escaped names: RFC 7578 has none, and readers differ on them."""
_END_OF_HEAD = b"\r\n\r\n"


class FormReader:
    """Reads one form. `model` is the value of its one part of that name, None as long as there is none.

    `place` is where that value begins and ends in the body. Parts are told apart by the boundary, so that a file can
    hold no part.
    """

    def __init__(self, content_type: str) -> None:
        """Raises InvalidRequest where the content type names no boundary."""
        self._delimiter = b"\r\n--" + _boundary(content_type)
        # As if a line had ended before the body: its first delimiter may stand at the very beginning.
        self._rest = b"\r\n"
        self._at = -2
        self._in_head = False
        self._value: int | None = None
        self._parts = 0
        self.model: str | None = None
        self.place: tuple[int, int] | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body. Raises InvalidRequest for a form that cannot be read in one way only."""
        data = self._rest + data
        start = 0
        while (following := self._head(data, start) if self._in_head else self._part(data, start)) is not None:
            start = following
        if not self._in_head and self._value is None:
            start = max(start, len(data) - len(self._delimiter) + 1)
        if self._value is not None:
            self._check_length(self._at + len(data) - len(self._delimiter) - self._value)
        self._rest = data[start:]
        self._at += start

    def _part(self, data: bytes, start: int) -> int | None:
        """Return where the next part's head begins; None where its delimiter has not come yet."""
        delimiter = data.find(self._delimiter, start)
        if delimiter < 0:
            return None
        if self._value is not None:
            self._take_model(data, self._value, self._at + delimiter)
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise InvalidRequest(f"The form has more than {MOST_PARTS} parts.")
        self._in_head = True
        return delimiter + len(self._delimiter)

    def _head(self, data: bytes, start: int) -> int | None:
        """Return where the part's value begins, or the delimiter of a part without one; None where more must come."""
        end = data.find(_END_OF_HEAD, start, start + LONGEST_PART_HEAD)
        # The blank line after a head may be the line end of a delimiter: readers differ on that, so it is one.
        last = start + LONGEST_PART_HEAD if end < 0 else end + 2 + len(self._delimiter)
        delimiter = data.find(self._delimiter, start, last)
        if delimiter >= 0:
            self._in_head = False
            return delimiter
        if end >= 0:
            if self._delimiter.startswith(data[end + 2 : last]):
                return None
            self._in_head = False
            if _UNCLEAR.search(data, start, end):
                raise InvalidRequest("A part of the form has a head that can be read in more than one way.")
            if _NAMED_MODEL.search(data, start, end):
                self._value = self._at + end + len(_END_OF_HEAD)
            return end + len(_END_OF_HEAD)
        if data.startswith(b"--", start):
            # The form is over; what follows is nobody's, but for a part that a lenient reader might still take.
            self._in_head = False
            return start
        if len(data) - start >= LONGEST_PART_HEAD:
            raise InvalidRequest(f"A part of the form has a head over {LONGEST_PART_HEAD} bytes.")
        return None

    def _take_model(self, data: bytes, start: int, end: int) -> None:
        if self.place is not None:
            raise InvalidRequest("The form names more than one model.", param="model")
        self._check_length(end - start)
        try:
            self.model = data[start - self._at : end - self._at].decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest("The form's model is not text.", param="model") from error
        self.place = (start, end)
        self._value = None

    def _check_length(self, size: int) -> None:
        if size > LONGEST_MODEL:
            raise InvalidRequest(f"The form's model is over {LONGEST_MODEL} bytes.", param="model")


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_boundary()
    if not boundary:
        raise InvalidRequest("The form's content type names no boundary.")
    return boundary.encode("latin-1", "replace")
