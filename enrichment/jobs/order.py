"""What POST /jobs takes and a hub's producers send, and the job that is made of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from enrichment.jobs.callback import Callback
from enrichment.jobs.job import JobName, digest_of
from enrichment.requests.requests import EnrichRequest

_ENVELOPE: Final = frozenset({"id", "subscription", "key", "callback"})


class JobBody(EnrichRequest):
    """A ticket, what is wanted of it, and whom to tell."""

    callback: Callback | SkipJsonSchema[None] = Field(
        default=None, description="Where the outcome is sent; without it, GET /jobs/{id} alone tells it."
    )


@dataclass(frozen=True, slots=True)
class Order:
    """A job to be made. `request` is what to enrich, as JSON in one spelling; `sys_id` the ticket's."""

    name: JobName
    request: bytes
    callback: Callback | None = None
    sys_id: str = ""

    @classmethod
    def of(cls, name: JobName, told: Mapping[str, Any], body: EnrichRequest) -> Self:
        """Return the order for a JSON object that was read as `body`. A key in it is left out."""
        request = {field: value for field, value in told.items() if field not in _ENVELOPE}
        callback = body.callback if isinstance(body, JobBody) else None
        return cls(name, canonical(request), callback, body.ticket.sys_id)

    @property
    def digest(self) -> str:
        """What tells this order from another one of the same name."""
        return digest_of(self.request, self.callback_json.encode())

    @property
    def callback_json(self) -> str:
        return self.callback.model_dump_json() if self.callback else ""


def canonical(value: object) -> bytes:
    """Return JSON in which the order of fields and the white space between them say nothing."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, which JSON can spell and UTF-8 cannot.
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
