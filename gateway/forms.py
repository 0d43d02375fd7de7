"""The model's name in a multipart body (RFC 7578), read and replaced without touching the files beside it."""

import re
from email.message import Message

from gateway.errors import InvalidRequest

LONGEST_PART_HEAD = 4096

_NAMED_MODEL = re.compile(rb'content-disposition:[^\r\n]*;\s*name="?model"?\s*(?:[;\r]|$)', re.IGNORECASE)


def form_model(content_type: str, body: bytes) -> str | None:
    """Return the value of the one part that is named `model`, None where there is none. Raises InvalidRequest."""
    place = _model_place(content_type, body)
    if place is None:
        return None
    start, end = place
    try:
        return body[start:end].decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("The form's model is not text.", param="model") from error


def with_form_model(content_type: str, body: bytes, model: str) -> bytes:
    """Return the body with another value in its part `model`; all other bytes as they are."""
    place = _model_place(content_type, body)
    if place is None:
        return body
    start, end = place
    return b"".join((body[:start], model.encode(), body[end:]))


def _model_place(content_type: str, body: bytes) -> tuple[int, int] | None:
    """Return where the value begins and ends. Parts are told apart by the boundary, so that a file can hold no part."""
    delimiter = b"--" + _boundary(content_type)
    found: list[tuple[int, int]] = []
    start = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    while start >= 0 and body.startswith(delimiter, start):
        head = start + len(delimiter)
        following = body.find(b"\r\n" + delimiter, head)
        if following < 0:
            break
        value = body.find(b"\r\n\r\n", head, min(following, head + LONGEST_PART_HEAD))
        if value >= 0 and _NAMED_MODEL.search(body, head, value):
            found.append((value + 4, following))
        start = following + 2
    if len(found) > 1:
        raise InvalidRequest("The form names more than one model.", param="model")
    return found[0] if found else None


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_boundary()
    if not boundary:
        raise InvalidRequest("The form's content type names no boundary.")
    return boundary.encode("latin-1", "replace")
