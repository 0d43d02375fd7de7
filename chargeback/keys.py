"""Table keys made of names that anybody may have chosen."""

import hashlib
import re
from typing import Final
from urllib.parse import quote

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]*")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_.|-]*")
_MAX_PART: Final = 120
_MAX_KEY: Final = 250


def key(*parts: str) -> str:
    """Join the parts with `|` to a key that every store takes and that no other parts make.

    Escapes look like `=2F`: `%` in a key is decoded once too often by some proxies and tools. What is too long keeps
    its beginning and ends in a hash; the true names stand in the row's columns.
    """
    joined = "|".join(parts)
    # Most names and all ids are plain already, and finding that out for all parts at once costs a fifth.
    if len(joined) <= _MAX_PART and _PLAIN_KEY.fullmatch(joined) and joined.count("|") < len(parts):
        return joined
    return _bounded("|".join([_bounded(_escaped(part), _MAX_PART) for part in parts]), _MAX_KEY)


def _escaped(part: str) -> str:
    return part if _PLAIN.fullmatch(part) else quote(part, safe="").replace("%", "=")


def _bounded(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{text[: limit - len(digest) - 1]}~{digest}"
