"""Ids of what the Responses API keeps, found in bodies: responses, and reasoning items with encrypted content."""

import re
from collections.abc import Iterable

MOST_ITEMS = 32
"""Reasoning items of one body that are looked at."""

_RESPONSE = re.compile(rb'"id"\s*:\s*"(resp_[A-Za-z0-9_-]{1,200})"')
_REASONING = re.compile(rb'"id"\s*:\s*"(rs_[A-Za-z0-9_-]{1,200})"')


def resources_in(body: bytes) -> list[str]:
    """Return the reasoning items whose encrypted content a request's body carries."""
    if b'"encrypted_content"' not in body:
        return []
    return _distinct(_REASONING.findall(body))


def made_in(payload: bytes) -> list[str]:
    """Return the response, and the encrypted reasoning items, that a whole answer or a final event tells of."""
    return [*_distinct(_RESPONSE.findall(payload)[:1]), *resources_in(payload)]


def _distinct(found: Iterable[bytes]) -> list[str]:
    return list(dict.fromkeys(each.decode() for each in found))[:MOST_ITEMS]
