"""The catalog's sections as they are written in its file; what they name elsewhere is checked by the file's reader."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.subscriptions.entitlement import Entitlement, Name, Section
from gateway.usage import DeploymentType

SETTING = "setting:"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})

_ENDPOINT = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE,
)


def _endpoint(value: str) -> str:
    match = _ENDPOINT.fullmatch(value)
    if match is None or not 0 < int(match["port"] or 443) <= 65_535:
        raise ValueError("must be scheme, host and port only, such as https://contoso-eastus.openai.azure.com")
    if match["scheme"].lower() == "http" and match["host"].lower() not in LOOPBACK:
        raise ValueError("must begin with https://; http:// is for loopback only")
    return value.removesuffix("/").lower()


def _setting_reference(value: str) -> str:
    if not value.removeprefix(SETTING) or not value.startswith(SETTING):
        raise ValueError(f"must name an app setting, as in {SETTING}AOAI_KEY: a key is never written into a catalog")
    return value


def _key_hash(value: object) -> bytes:
    algorithm, _, digest = str(value).partition(":")
    if algorithm != "sha256" or len(digest) != 64 or not set(digest.lower()) <= set("0123456789abcdef"):
        raise ValueError("must be sha256: and 64 hexadecimal digits")
    return bytes.fromhex(digest)


KeyHashes = list[Annotated[bytes, BeforeValidator(_key_hash)]]


class ApiKeyAuth(Section):
    api_key: Annotated[str, AfterValidator(_setting_reference)]


class BackendSection(Section):
    endpoint: Annotated[str, AfterValidator(_endpoint)]
    kind: Literal["ptu", "paygo"] = "paygo"
    deployment_type: DeploymentType | None = None
    region: Annotated[str, Field(max_length=64)] = ""
    auth: object = "managed-identity"


class MemberSection(Section):
    backend: str
    deployment: Name | None = None
    priority: Annotated[int, Field(ge=0)] = 1
    weight: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = 1


class DeploymentSection(Section):
    model: Annotated[str, Field(min_length=1, max_length=128)]
    pool: Annotated[list[MemberSection], Field(min_length=1)]


class SubscriptionSection(Entitlement):
    key_hashes: KeyHashes = Field(default_factory=list)


class OperatorsSection(Section):
    key_hashes: KeyHashes = Field(default_factory=list)
