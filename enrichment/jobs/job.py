"""A job: a ticket to enrich, who does so at the moment, what came of it, and whom to tell.

    queued -> running -> succeeded | failed
       ^---------'  another try after a failure that may pass

Whoever runs a job holds a lease on it; a lease that ran out is anybody's to take over. Every change is made under the
row's ETag, so of two who want the same change one fails.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, Self

type Status = Literal["queued", "running", "succeeded", "failed"]
type DeliveryStatus = Literal["none", "pending", "delivered", "failed"]

JOB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
SUBSCRIPTION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LONGEST_MESSAGE: Final = 1000
"""Characters of an error that a job keeps."""


@dataclass(frozen=True, slots=True, order=True)
class JobName:
    """Whose job it is, and its id, which is unique inside the subscription."""

    subscription: str
    id: str

    @classmethod
    def checked(cls, subscription: object, job_id: object) -> Self:
        """Raises ValueError, whose message names the part that cannot be one."""
        if not isinstance(subscription, str) or not SUBSCRIPTION.fullmatch(subscription):
            raise ValueError("subscription is not the name of one")
        if not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
            raise ValueError("id takes 1 to 100 letters, digits and . _ : -")
        return cls(subscription, job_id)

    def key(self) -> str:
        """Return what names the job in tables: both parts are made of characters that every store takes."""
        return f"{self.subscription}|{self.id}"


@dataclass(frozen=True, slots=True)
class Failure:
    code: str
    message: str

    @classmethod
    def of(cls, code: str, message: str) -> Self:
        return cls(code, message[:LONGEST_MESSAGE])


@dataclass(frozen=True, slots=True)
class Delivery:
    """How telling the callback goes. `due` is when the next attempt may begin; before it, somebody may be at it."""

    status: DeliveryStatus = "none"
    attempts: int = 0
    due: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its row holds it; request and result have rows of their own.

    `digest` tells a request from another one of the same id. `callback` is JSON, or "" without one. `promised` says
    that somebody was told the id and will ask for the outcome; else nobody waits for a job whose process died.
    `not_before` bounds the next try from below. Times are aware, in UTC.
    """

    name: JobName
    digest: str
    created_at: datetime
    status: Status = "queued"
    promised: bool = True
    attempts: int = 0
    owner: str = ""
    lease_until: datetime | None = None
    not_before: datetime | None = None
    finished_at: datetime | None = None
    failure: Failure | None = None
    callback: str = ""
    delivery: Delivery = Delivery()
    etag: str | None = None

    @property
    def finished(self) -> bool:
        return self.status in ("succeeded", "failed")

    def held(self, now: datetime) -> bool:
        """Tell whether somebody runs it and is believed to be alive."""
        return self.status == "running" and self.lease_until is not None and now < self.lease_until

    def ready(self, now: datetime) -> bool:
        """Tell whether it may be claimed."""
        return not self.finished and not self.held(now) and (self.not_before is None or self.not_before <= now)

    def claimed(self, owner: str, now: datetime, lease: timedelta) -> "Job":
        return replace(
            self,
            status="running",
            owner=owner,
            attempts=self.attempts + 1,
            lease_until=now + lease,
            not_before=None,
        )

    def requeued(self, not_before: datetime, failure: Failure) -> "Job":
        """Return the job as it waits for another try; `failure` is the last one's."""
        return replace(self, status="queued", owner="", lease_until=None, not_before=not_before, failure=failure)

    def renewed(self) -> "Job":
        """Return the job as it was when it was made."""
        return Job(self.name, self.digest, self.created_at, callback=self.callback, etag=self.etag)

    def ended(self, now: datetime, failure: Failure | None) -> "Job":
        """Return the job with its outcome; where there is a callback, its first attempt is due at once."""
        return replace(
            self,
            status="failed" if failure else "succeeded",
            owner="",
            lease_until=None,
            finished_at=now,
            failure=failure,
            delivery=Delivery("pending", due=now) if self.callback else Delivery(),
        )


def digest_of(*parts: bytes) -> str:
    """Return the SHA-256 of the parts, each told from the next by its length."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()


def id_of(route: str, key: str) -> str:
    """Return the id of the job that an idempotency key of a route stands for."""
    return digest_of(route.encode(), key.encode())[:32]
