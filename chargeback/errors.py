"""What chargeback refuses; one handler in the composition root turns these into HTTP by `status` and `code`.

ChargebackError
|- PeriodInvalid        400  not a month
|- DayInvalid           400  not a day, or one that has not begun
|- StatementForbidden   403  the reader is neither the subscription nor an operator
|- OperatorsOnly        403  the reader is no operator
|- DeadLetterNotFound   404  there is none of this id
|- EventTimeout         408  a mended event did not arrive in time
|- AlreadyRequeued      409  it was requeued before, and is requeued again only by force
|- DeadLetterTruncated  409  its end was not kept, so it cannot be requeued as it is
|- EventTooLarge        413  a mended event is over what the hub takes
`- StillImpossible      422  it would become a dead letter again
"""

from typing import ClassVar


class ChargebackError(Exception):
    """`status` is the HTTP status, `code` the word in OpenAI's error shape."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid_request"


class PeriodInvalid(ChargebackError):
    code = "invalid_period"


class DayInvalid(ChargebackError):
    code = "invalid_day"


class StatementForbidden(ChargebackError):
    status = 403
    code = "statement_forbidden"


class OperatorsOnly(ChargebackError):
    status = 403
    code = "permission_denied"


class DeadLetterNotFound(ChargebackError):
    status = 404
    code = "dead_letter_not_found"


class EventTimeout(ChargebackError):
    status = 408
    code = "request_timeout"


class AlreadyRequeued(ChargebackError):
    status = 409
    code = "already_requeued"


class DeadLetterTruncated(ChargebackError):
    status = 409
    code = "dead_letter_truncated"


class EventTooLarge(ChargebackError):
    status = 413
    code = "request_too_large"


class StillImpossible(ChargebackError):
    status = 422
    code = "event_impossible"
