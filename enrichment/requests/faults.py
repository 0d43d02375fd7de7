"""What is wrong with JSON that came in, by the names and types that its sender knows; what it held is not repeated."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

_NO_FIELD: Final = re.compile(r"^constrained-|\[|^[A-Z]")
"""What pydantic adds to a place where a field takes a type or nothing: the type's name."""

_IN_JSON: Final = {
    "dataclass_type": "Input should be a string or an object as the Table API has it",
    "model_attributes_type": "Input should be an object",
    "model_type": "Input should be an object",
    "tuple_type": "Input should be an array",
}
"""Errors whose own message speaks of Python's types."""


class Fault(NamedTuple):
    """`where` is the field's path, `tasks.1`; "" where the whole is wrong."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


def fault_of(error: Mapping[str, Any], place: Sequence[object]) -> Fault:
    """Return the fault that pydantic's error tells of at a place in the body."""
    where = ".".join(part for part in map(str, place) if not _NO_FIELD.search(part))
    message = _IN_JSON.get(error["type"]) or error["msg"].removeprefix("Value error, ").replace("Tuple", "Array")
    return Fault(where, message)
