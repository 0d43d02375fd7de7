"""Where a request goes: a URL taken apart into whom to connect to and what to ask for there."""

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit

LONGEST_REMEMBERED: Final = 1024
"""Characters; URLs that have been taken apart are remembered, and callers choose their query."""

_ENCODED: Final = re.compile(r"[!-~]+")
"""Visible ASCII: a space or a line end in a URL would end the request line."""


class Origin(NamedTuple):
    """`host` is a name or an address without brackets."""

    host: str
    port: int
    tls: bool


class Place(NamedTuple):
    """`line` is what follows the method, up to the end of the Host field (RFC 9112, 3.2.1 and 3.2)."""

    origin: Origin
    line: str


def place_of(url: str) -> Place:
    """Return where an absolute, percent-encoded http or https URL leads. Raises ValueError for anything else."""
    return _remembered(url) if len(url) <= LONGEST_REMEMBERED else _taken_apart(url)


def _taken_apart(url: str) -> Place:
    if not _ENCODED.fullmatch(url):
        raise ValueError("a URL for a backend has characters that are not percent-encoded")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("a URL for a backend is not http:// or https:// with a host")
    tls = parts.scheme == "https"
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    authority = parts.netloc.rpartition("@")[2]
    return Place(
        Origin(parts.hostname, parts.port or (443 if tls else 80), tls), f" {target} HTTP/1.1\r\nhost: {authority}"
    )


_remembered = lru_cache(maxsize=4096)(_taken_apart)
