"""What chargeback refuses; one handler in the composition root turns these into HTTP by `status` and `code`.

ChargebackError
|- StatementForbidden  403  the reader is neither the subscription nor an operator
`- PeriodInvalid       400  not a month
"""

from typing import ClassVar


class ChargebackError(Exception):
    """`status` is the HTTP status, `code` the word in OpenAI's error shape."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid_request"


class StatementForbidden(ChargebackError):
    status = 403
    code = "statement_forbidden"


class PeriodInvalid(ChargebackError):
    code = "invalid_period"
