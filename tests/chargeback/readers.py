"""Who asks in the tests of the routes: a subscription by its own name, or an operator."""

from typing import Annotated

from fastapi import Header, HTTPException, Request
from fastapi.responses import JSONResponse

from chargeback.errors import ChargebackError

OPERATOR = {"api-key": "operator"}


class NamedReader:
    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def operator(self) -> bool:
        return self.name == "operator"

    @property
    def operator_key(self) -> str:
        return "operator-1" if self.operator else ""

    def may_read(self, subscription: str) -> bool:
        return self.operator or self.name == subscription


async def reader_of(api_key: Annotated[str, Header()] = "") -> NamedReader:
    if not api_key:
        raise HTTPException(401)
    return NamedReader(api_key)


async def in_openai_shape(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ChargebackError)
    return JSONResponse({"error": {"message": str(error), "code": error.code}}, error.status)
