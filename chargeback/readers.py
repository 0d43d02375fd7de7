"""Who reads: settled by whoever composes the app; what they may read is asked here."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Protocol

from fastapi import Depends

from chargeback.errors import OperatorsOnly


class Reader(Protocol):
    """Somebody who was recognised by a key or a token. `operator_key` names an operator's key, for the audit log."""

    @property
    def operator(self) -> bool: ...

    @property
    def operator_key(self) -> str: ...

    def may_read(self, subscription: str) -> bool: ...


type ReaderOf = Callable[..., Reader | Awaitable[Reader]]
"""A FastAPI dependency that returns the reader, or raises the composing app's own error for a 401."""


def operator_of(reader_of: ReaderOf) -> Callable[..., Awaitable[str]]:
    """Return a dependency that gives the name of the operator who asks. Raises OperatorsOnly."""

    async def operator(reader: Annotated[Reader, Depends(reader_of)]) -> str:
        if not reader.operator:
            raise OperatorsOnly("This is for operators: send an operator key.")
        return reader.operator_key or "operator"

    return operator
