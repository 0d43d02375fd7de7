"""What the worker library takes for the messages of FunctionRpc: classes that keep their keywords.

The library calls constructors by keyword, reads attributes, and asks `WhichOneof`; no protobuf is needed.
"""

from types import SimpleNamespace
from typing import Any


class Message:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class TypedData(Message):
    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        return next((name for name, value in self.__dict__.items() if value is not None), None)


class ParameterBinding(Message):
    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        return "data" if "data" in self.__dict__ else None


class StatusResult(Message):
    Failure, Success, Cancelled = 0, 1, 2


class BindingInfo(Message):
    undefined, out, inout = 0, 1, 2


class RpcHttpCookie(Message):
    SameSite = SimpleNamespace(Lax=1, Strict=2, ExplicitNone=3, **{"None": 0})


class Protos:
    """The namespace that the library is given as `protos`; a message without special needs is made when asked for."""

    TypedData = TypedData
    ParameterBinding = ParameterBinding
    StatusResult = StatusResult
    BindingInfo = BindingInfo
    RpcHttpCookie = RpcHttpCookie

    def __getattr__(self, name: str) -> type[Message]:
        if name.startswith("_"):
            raise AttributeError(name)
        made = type(name, (Message,), {})
        setattr(self, name, made)
        return made
