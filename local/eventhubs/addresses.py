"""What links are attached to: `$cbs`, `$management`, a hub, a partition, a partition seen by a consumer group.

An address may carry the scheme and host that the peer dialled. Names of hubs compare without case, as on the service.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote

from local.eventhubs.errors import ARGUMENT, NOT_FOUND, Refused

_HOST: Final = re.compile(r"^(amqps?|sb)://[^/]*/?", re.IGNORECASE)
_HUB: Final = re.compile(
    r"(?P<hub>[^/]+)(/ConsumerGroups/(?P<group>[^/]+))?(/Partitions/(?P<partition>\d{1,5}))?", re.IGNORECASE
)
_SELECTOR: Final = re.compile(
    r"\s*amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time)\s*(>=?)\s*'?(@latest|-?\d{1,19})'?\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Node:
    """A node that answers requests."""

    name: Literal["$cbs", "$management"]


@dataclass(frozen=True, slots=True)
class Place:
    """A hub as a peer names it, with a partition and a consumer group where it names them."""

    hub: str
    partition: int | None
    group: str | None


@dataclass(frozen=True, slots=True)
class Selector:
    """Where a receiver begins: after or, inclusively, at a value; None is the end."""

    by: Literal["offset", "sequence-number", "enqueued-time"]
    value: int | None
    inclusive: bool


def parse(address: str) -> Node | Place:
    """Read an address. Raises Refused where it can be none."""
    path = unquote(_HOST.sub("", address)).strip("/")
    if path.lower() == "$cbs":
        return Node("$cbs")
    if path.lower().endswith("$management"):
        return Node("$management")
    found = _HUB.fullmatch(path)
    if found is None:
        raise Refused(NOT_FOUND, f"The messaging entity '{path[:200]}' could not be found.")
    partition = found["partition"]
    return Place(found["hub"].lower(), None if partition is None else int(partition), found["group"])


def parse_selector(text: str) -> Selector:
    """Read a receiver's filter, in the form in which the SDKs write it. Raises Refused."""
    found = _SELECTOR.fullmatch(text)
    if found is None:
        raise Refused(ARGUMENT, f"The filter {text[:200]!r} cannot be read.")
    name, operator, value = found.groups()
    by: Literal["offset", "sequence-number", "enqueued-time"]
    match name.lower():
        case "offset":
            by = "offset"
        case "sequence-number":
            by = "sequence-number"
        case _:
            by = "enqueued-time"
    return Selector(by, None if value.lower() == "@latest" else int(value), operator == ">=")
