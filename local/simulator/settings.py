"""What a simulated backend is: settings as JSON, checked while they are parsed."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

VOCABULARIES = Path(__file__).parents[2] / "gateway" / "metering" / "vocabularies"
"""Where the repository keeps tiktoken's vocabularies, under tiktoken's own cache names."""

Count = Annotated[int, msgspec.Meta(ge=0)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0)]


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model deployment. A limit of 0 is no limit; `ptu` refuses by utilisation, `paygo` by the minute."""

    model: str
    tokens_per_minute: Count = 0
    requests_per_minute: Count = 0
    kind: Literal["paygo", "ptu"] = "paygo"


class BackendSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One simulated Azure OpenAI resource. `latency_ms` passes before the first token, `token_delay_ms` per token.

    A background response is done after `background_ms` and the delay of its tokens; for half of the first it is queued.
    """

    name: str
    api_key: str
    deployments: dict[str, Deployment]
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    region: str = "East US"
    bearer_tokens: tuple[str, ...] = ()
    latency_ms: Milliseconds = 0.0
    token_delay_ms: Milliseconds = 0.0
    background_ms: Milliseconds = 1000.0


def parse_backend(text: str | bytes) -> BackendSettings:
    """Read one backend's JSON. Raises msgspec.DecodeError, which names the path of what is wrong."""
    return msgspec.json.decode(text, type=BackendSettings)


def parse_backends(text: str | bytes) -> list[BackendSettings]:
    """Read a JSON list of backends. Raises msgspec.DecodeError."""
    return msgspec.json.decode(text, type=list[BackendSettings])
