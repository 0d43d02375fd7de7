"""Stored responses: retrieve, delete, cancel, and the items of their input.

A response in the background is queued, in progress, and then what it is in the end; time alone brings it there. One
that is cancelled stays so, and cancelling what is done changes nothing (Microsoft Learn, "Azure OpenAI Responses API",
background tasks). Input items are those of the response's own request, the latest first (OpenAI, API reference, "List
input items").
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from local.simulator import errors
from local.simulator.backend import Backend, StoredResponse
from local.simulator.calls import Call

_MOST_ITEMS = 100
_ITEMS = 20


def retrieve(backend: Backend, response_id: str) -> bytes:
    """Return a stored response as it is now. Raises AzureError, 404, where this backend has none of that id."""
    return msgspec.json.encode(shown(_stored(backend, response_id), backend.clock.now()))


def delete(backend: Backend, response_id: str) -> bytes:
    """Forget a stored response, and end the work on it. Raises AzureError, as `retrieve`."""
    stored = _stored(backend, response_id)
    _end(stored, backend.clock.now())
    del backend.responses.kept[response_id]
    return msgspec.json.encode({"id": response_id, "object": "response.deleted", "deleted": True})


def cancel(backend: Backend, response_id: str) -> bytes:
    """End the work on a response and return it. Raises AzureError, 400 for one that is not in the background."""
    stored = _stored(backend, response_id)
    if stored.work is None:
        raise errors.invalid_request("Cannot cancel a synchronous response.")
    _end(stored, backend.clock.now())
    return retrieve(backend, response_id)


def input_items(backend: Backend, response_id: str, query: Mapping[str, str]) -> bytes:
    """Return a page of the items that a response was asked with. Raises AzureError, as `retrieve`."""
    items = list(_stored(backend, response_id).items)
    if query.get("order", "desc") == "desc":
        items.reverse()
    ids = [item["id"] for item in items]
    first = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    limit = query.get("limit", "")
    end = first + (min(int(limit), _MOST_ITEMS) if limit.isdecimal() else _ITEMS)
    page = {
        "object": "list",
        "data": items[first:end],
        "first_id": ids[first] if ids[first:end] else None,
        "last_id": ids[first:end][-1] if ids[first:end] else None,
        "has_more": end < len(items),
    }
    return msgspec.json.encode(page)


def shown(stored: StoredResponse, now: datetime) -> dict[str, Any]:
    """Return a response as it is at this time."""
    work = stored.work
    if work is None or (now >= work.ends and not work.cancelled):
        return stored.document
    status = "cancelled" if work.cancelled else "queued" if now < work.begins else "in_progress"
    return {**stored.document, "status": status, "incomplete_details": None, "output": [], "usage": None}


def stored_items(call: Call) -> tuple[dict[str, Any], ...]:
    """Return the input of a request, which was understood before, as items with ids."""
    told = msgspec.json.decode(call.body)["input"]
    items = [{"role": "user", "content": told}] if isinstance(told, str) else told
    return tuple(_item(item, f"msg_{call.hex_id}{place:04}") for place, item in enumerate(items))


def _item(told: dict[str, Any], item_id: str) -> dict[str, Any]:
    content = told.get("content")
    spelt = {"content": [{"type": "input_text", "text": content}]} if isinstance(content, str) else {}
    return {"id": item_id, "type": "message", "status": "completed", **told, **spelt}


def _stored(backend: Backend, response_id: str) -> StoredResponse:
    stored = backend.responses.kept.get(response_id)
    if stored is None:
        raise errors.response_not_found(response_id)
    return stored


def _end(stored: StoredResponse, now: datetime) -> None:
    if stored.work is not None and now < stored.work.ends:
        stored.work.cancelled = True
