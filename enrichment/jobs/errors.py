"""What can go wrong with an order, and who asks for a job.

EnrichmentError
|- JobNotFound      404  no such job of this subscription
|- JobDeadLetterNotFound  404
|- StillRunning     409  the same request is being answered
|- JobRunning       409  it is not run anew while somebody runs it
|- JobSucceeded     409  it is not run anew unless that is insisted on
|- StillNoJob       422  the event would become a dead letter again
`- OrderRefused          of which no job is made
   |- OrderTooLarge    413  its request does not fit into a row
   |- NameTaken        409  there is a job of its name, and it is another one
   `- CallbackRefused  422  its callback may not be sent
"""

from collections.abc import Mapping

from enrichment.errors import EnrichmentError


class OrderRefused(Exception):
    """The kinds of errors for which an event is no job."""


class JobNotFound(EnrichmentError):
    status, type, code = 404, "invalid_request_error", "job_not_found"


class JobDeadLetterNotFound(EnrichmentError):
    status, type, code = 404, "invalid_request_error", "dead_letter_not_found"


class JobRunning(EnrichmentError):
    status, type, code = 409, "invalid_request_error", "job_running"


class JobSucceeded(EnrichmentError):
    status, type, code = 409, "invalid_request_error", "job_succeeded"


class StillNoJob(EnrichmentError):
    status, type, code = 422, "invalid_request_error", "event_impossible"


class StillRunning(EnrichmentError):
    """The same request is being answered, and was not in the time that its caller waits."""

    status, type, code = 409, "invalid_request_error", "still_running"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers: Mapping[str, str] = {"retry-after": "5"}


class OrderTooLarge(OrderRefused, EnrichmentError):
    status, type, code = 413, "invalid_request_error", "request_too_large"


class NameTaken(OrderRefused, EnrichmentError):
    status, type, code = 409, "invalid_request_error", "idempotency_mismatch"


class CallbackRefused(OrderRefused, EnrichmentError):
    status, type, code = 422, "invalid_request_error", "callback_refused"
