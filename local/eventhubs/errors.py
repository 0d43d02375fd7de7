"""What the stand-in tells a peer that asks for something wrong.

Malformed      bytes that are no AMQP
Violation      the connection is closed with this condition
Refused        the link is detached with this condition, the connection goes on
"""

from typing import Final

NOT_FOUND: Final = "amqp:not-found"
UNAUTHORIZED: Final = "amqp:unauthorized-access"
STOLEN: Final = "amqp:link:stolen"
TOO_LARGE: Final = "amqp:link:message-size-exceeded"
FRAMING: Final = "amqp:connection:framing-error"
NOT_ALLOWED: Final = "amqp:not-allowed"
DECODE: Final = "amqp:decode-error"
RESOURCE_LIMIT: Final = "amqp:resource-limit-exceeded"
ARGUMENT: Final = "com.microsoft:argument-error"
SERVER_BUSY: Final = "com.microsoft:server-busy"


class Malformed(ValueError):
    """Bytes that are no AMQP value, frame or message."""


class Violation(Exception):
    """A peer broke the protocol or a limit: its connection ends. `condition` is an AMQP error condition (2.8.15)."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}")
        self.condition = condition
        self.description = description


class Refused(Exception):
    """A link cannot be, or cannot go on: it is detached with this condition."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}")
        self.condition = condition
        self.description = description
