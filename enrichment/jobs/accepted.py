"""The answer that a job was made, for every route that makes one."""

import json
from typing import Final

from fastapi import Response
from pydantic import BaseModel, ConfigDict

from enrichment.jobs.job import JobName, Status

RETRY_SECONDS: Final = "5"


class AcceptedJob(BaseModel):
    """A job that waits, or that the same request made before."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "5f0c1e9ad3b04c6f9d6c1b1f3a0e2c77", "status": "queued"}]}
    )

    id: str
    status: Status


def accepted(name: JobName, status: Status) -> Response:
    """Return the 202 that tells where to ask for a job."""
    body = json.dumps({"id": name.id, "status": status})
    headers = {"location": f"/jobs/{name.id}", "retry-after": RETRY_SECONDS}
    return Response(body, 202, headers, "application/json")
