"""The answers of `$cbs` and `$management`, the nodes that take requests.

`$cbs` (claims-based security) takes a token per connection before anything else may be attached. `$management` reads
properties: operation READ, type `com.microsoft:eventhub` or `com.microsoft:partition`, and `name`, `partition`.
"""

import base64
import hashlib
import hmac
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from local.eventhubs.addresses import Place
from local.eventhubs.broker import Broker
from local.eventhubs.encoding import NULL, boolean, integer, long, map_of, string, strings, timestamp
from local.eventhubs.errors import Refused
from local.eventhubs.hubs import Hub
from local.eventhubs.messages import offset_of

_SCHEME = "SharedAccessSignature "


class Answer(NamedTuple):
    """An HTTP-like status with its text, and an encoded body."""

    status: int
    text: str
    body: bytes = NULL


def put_token(token: Any, key: str | None, now_seconds: float) -> Answer:
    """Answer a put-token; 202 is yes, as on the service."""
    if key is None or _is_signed(_text(token), key, now_seconds):
        return Answer(202, "Accepted")
    return Answer(401, "InvalidSignature: The token has an invalid signature or has expired.")


def read_properties(properties: dict[Any, Any], broker: Broker) -> Answer:
    """Answer a READ of a hub's or a partition's properties."""
    asked = {_text(name): _text(value) for name, value in properties.items()}
    if asked.get("operation") != "READ":
        return Answer(501, f"The operation {asked.get('operation')!r} is not supported.")
    partition = asked.get("partition", "")
    number = int(partition) if partition.isdecimal() and len(partition) < 6 else None
    try:
        hub = broker.hub(Place(asked.get("name", "").lower(), number, None))
    except Refused as refused:
        return Answer(404, refused.description)
    match asked.get("type"):
        case "com.microsoft:eventhub":
            return Answer(200, "OK", _hub_properties(hub))
        case "com.microsoft:partition" if number is not None:
            return Answer(200, "OK", _partition_properties(hub, number))
    return Answer(400, "Only com.microsoft:eventhub and com.microsoft:partition can be read.")


def _is_signed(token: str, key: str, now_seconds: float) -> bool:
    """Check a shared access signature: the resource and the expiry, a line each, under HMAC-SHA256."""
    fields = dict(parse_qsl(token.removeprefix(_SCHEME))) if token.startswith(_SCHEME) else {}
    # What is signed is the resource as it stands in the token, percent-encoded.
    resource = next((part[3:] for part in token.removeprefix(_SCHEME).split("&") if part.startswith("sr=")), "")
    expiry = fields.get("se", "")
    signed = hmac.new(key.encode(), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    is_fresh = expiry.isdecimal() and len(expiry) < 16 and int(expiry) > now_seconds
    return is_fresh and hmac.compare_digest(base64.b64encode(signed), fields.get("sig", "").encode())


def _hub_properties(hub: Hub) -> bytes:
    return map_of(
        {
            string("name"): string(hub.name),
            string("type"): string("com.microsoft:eventhub"),
            string("created_at"): timestamp(hub.created_ms),
            string("partition_count"): integer(hub.partitions),
            string("partition_ids"): strings(str(number) for number in range(hub.partitions)),
            string("georeplication_factor"): integer(1),
        }
    )


def _partition_properties(hub: Hub, partition: int) -> bytes:
    extent = hub.extent(partition)
    return map_of(
        {
            string("name"): string(hub.name),
            string("type"): string("com.microsoft:partition"),
            string("partition"): string(str(partition)),
            string("begin_sequence_number"): long(extent.first),
            string("last_enqueued_sequence_number"): long(extent.last),
            string("last_enqueued_offset"): string(offset_of(extent.last)),
            string("last_enqueued_time_utc"): timestamp(extent.last_enqueued_ms),
            string("is_partition_empty"): boolean(extent.is_empty),
        }
    )


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
