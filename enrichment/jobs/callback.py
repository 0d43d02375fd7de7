"""Whom to tell of a job's outcome, as a request says it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from enrichment.jobs.credentials import Auth, Credentials
from enrichment.jobs.destinations import LONGEST_URL, DestinationRefused, Destinations
from enrichment.jobs.work_notes import is_sys_id

WORK_NOTES = "work-notes"


class Callback(BaseModel):
    """Where a job's outcome is sent."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "url": "https://contoso.service-now.com/api/now/table/incident",
                    "auth": {"kind": "basic", "secret": "setting:SERVICENOW"},
                    "kind": "work-notes",
                }
            ]
        },
    )

    url: Annotated[str, Field(min_length=1, max_length=LONGEST_URL)] = Field(
        description="https, at a host that the operator allows. For `work-notes` the Table API's URL of the table, to "
        "which the ticket's sys_id is added."
    )
    auth: Auth = Auth()
    kind: Literal["result", "work-notes"] = Field(
        default="result",
        description="`result` posts what GET /jobs/{id} answers; `work-notes` patches the incident's work notes.",
    )
    apply_patch: bool = Field(default=False, description="With `work-notes`: write the suggested patch, too.")


class CallbackCheck:
    """Refuses a callback as it comes in, so that nobody learns of a typing error after the model has been paid."""

    def __init__(self, destinations: Destinations, credentials: Credentials) -> None:
        self._destinations = destinations
        self._credentials = credentials

    def check(self, subscription: str, callback: Callback, sys_id: str) -> None:
        """Raises DestinationRefused."""
        place = self._destinations.check(callback.url)
        self._credentials.check(subscription, callback.auth, place)
        if callback.kind == WORK_NOTES and not is_sys_id(sys_id):
            raise DestinationRefused("Work notes need the ticket's sys_id: 32 hexadecimal digits.")
        if callback.kind == WORK_NOTES and "?" in callback.url:
            raise DestinationRefused("The URL of a table has no query: .../api/now/table/incident")
