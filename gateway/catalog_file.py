"""Reads the catalog (schema version 1) from TOML or JSON; one CatalogError names everything that is wrong, by path.

An unknown key is an error: a limit with a spelling mistake must not become no limit.
"""

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from gateway.catalog import (
    ApiKey,
    Backend,
    Budget,
    CallerToken,
    Catalog,
    Deployment,
    Limits,
    ManagedIdentity,
    Member,
    Period,
    Quota,
    Subscription,
    UpstreamAuth,
)
from gateway.usage import DeploymentType

SETTING = "setting:"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SECTIONS = ("backends", "deployments", "subscriptions", "operators")


class CatalogError(Exception):
    """The catalog cannot be used. `problems` holds one line per error: path and reason."""

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__("\n".join([f"The catalog {source} is not valid:", *(f"  {problem}" for problem in problems)]))
        self.problems = problems


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("must be a URL such as https://contoso-eastus.openai.azure.com")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("must begin with https://; http:// is for loopback only")
    if parts.path.rstrip("/") or parts.query or parts.fragment or parts.username:
        raise ValueError("must be scheme, host and port only: the gateway adds the path")
    return f"{parts.scheme}://{parts.netloc}"


def _setting_reference(value: str) -> str:
    if not value.removeprefix(SETTING) or not value.startswith(SETTING):
        raise ValueError(f"must name an app setting, as in {SETTING}AOAI_KEY: a key is never written into a catalog")
    return value


def _key_hash(value: object) -> bytes:
    algorithm, _, digest = str(value).partition(":")
    if algorithm != "sha256" or len(digest) != 64 or not set(digest.lower()) <= set("0123456789abcdef"):
        raise ValueError("must be sha256: and 64 hexadecimal digits")
    return bytes.fromhex(digest)


NamePattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name = Annotated[str, Field(pattern=NamePattern)]
KeyHashes = list[Annotated[bytes, BeforeValidator(_key_hash)]]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _ApiKeyAuth(_Section):
    api_key: Annotated[str, AfterValidator(_setting_reference)]


class _Backend(_Section):
    endpoint: Annotated[str, AfterValidator(_endpoint)]
    kind: Literal["ptu", "paygo"] = "paygo"
    deployment_type: DeploymentType | None = None
    region: Annotated[str, Field(max_length=64)] = ""
    auth: Literal["managed-identity", "caller"] | _ApiKeyAuth = "managed-identity"


class _Member(_Section):
    backend: str
    deployment: Annotated[str, Field(pattern=NamePattern)] | None = None
    priority: Annotated[int, Field(ge=0)] = 1
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1


class _Deployment(_Section):
    model: Annotated[str, Field(min_length=1, max_length=128)]
    pool: Annotated[list[_Member], Field(min_length=1)]

    @model_validator(mode="after")
    def _no_member_twice(self) -> Self:
        members = [(member.backend, member.deployment) for member in self.pool]
        if len(set(members)) < len(members):
            raise ValueError("names the same deployment of a backend twice")
        return self


class _Limits(_Section):
    requests_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    concurrent: PositiveInt | None = None


class _Quota(_Section):
    tokens: PositiveInt
    per: Period


class _Budget(_Section):
    amount: Annotated[Decimal, Field(gt=0)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    per: Period
    hard: bool = False


class _Subscription(_Section):
    key_hashes: KeyHashes = []
    cost_centre: Annotated[str, Field(max_length=64)] = ""
    deployments: list[str] | None = None
    limits: _Limits = _Limits()
    quota: _Quota | None = None
    budget: _Budget | None = None


class _Operators(_Section):
    key_hashes: KeyHashes = []


def load_catalog(source: str, setting: Callable[[str], str | None]) -> Catalog:
    """Return the catalog that `source` names: a path to a TOML or JSON file, or the JSON itself.

    `setting` looks up an app setting for `setting:NAME` references. Raises CatalogError.
    """
    name = "in GATEWAY_CATALOG" if source.lstrip().startswith("{") else source
    return _Reader(name, _parse(source, name), setting).catalog()


def _parse(source: str, name: str) -> Mapping[str, Any]:
    try:
        if source.lstrip().startswith("{"):
            content: Any = json.loads(source)
        else:
            text = Path(source).read_text(encoding="utf-8")
            content = json.loads(text) if source.endswith(".json") else tomllib.loads(text)
    except OSError as error:
        raise CatalogError(name, [f"cannot be read: {error.strerror or error}"]) from error
    except ValueError as error:
        raise CatalogError(name, [f"is neither TOML nor JSON: {error}"]) from error
    if not isinstance(content, dict):
        raise CatalogError(name, ["must be an object with backends, deployments, subscriptions and operators"])
    return content


@dataclass
class _Reader:
    """Collects problems while it reads, so that one start shows all of them."""

    source: str
    content: Mapping[str, Any]
    setting: Callable[[str], str | None]

    def __post_init__(self) -> None:
        self.problems: list[str] = []

    def catalog(self) -> Catalog:
        self.problems += [f"{key}: unknown key" for key in self.content if key not in SECTIONS]
        backends = {name: self._backend(name, part) for name, part in self._parts("backends", _Backend)}
        deployments = {
            name: self._deployment(name, part, backends) for name, part in self._parts("deployments", _Deployment)
        }
        subscriptions = {
            name: self._subscription(name, part) for name, part in self._parts("subscriptions", _Subscription)
        }
        operators = self._one("operators", _Operators, self.content.get("operators", {})) or _Operators()
        self._check_keys(subscriptions, operators)
        if not self.problems and not deployments:
            self.problems.append("deployments: there is none, so that nothing could be asked for")
        if self.problems:
            raise CatalogError(self.source, self.problems)
        return Catalog(backends, deployments, subscriptions, tuple(operators.key_hashes))

    def _parts[Part: _Section](self, section: str, model: type[Part]) -> Iterator[tuple[str, Part]]:
        content = self.content.get(section, {})
        if not isinstance(content, dict):
            self.problems.append(f"{section}: must be a table of names")
            return
        for name, value in content.items():
            if not (0 < len(name) <= 64) or not set(name) <= _NAME_CHARACTERS:
                self.problems.append(f"{section}.{name}: a name has 1 to 64 letters, digits, dots, dashes, underscores")
            part = self._one(f"{section}.{name}", model, value)
            if part is not None:
                yield name, part

    def _one[Part: _Section](self, path: str, model: type[Part], value: object) -> Part | None:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            self.problems += [_problem(path, details) for details in error.errors(include_url=False)]
            return None

    def _backend(self, name: str, part: _Backend) -> Backend:
        if part.kind == "ptu" and part.deployment_type not in {None, "ptu"}:
            self.problems.append(f"backends.{name}.deployment_type: a backend of kind ptu is billed as ptu")
        billed: DeploymentType = "ptu" if part.kind == "ptu" else part.deployment_type or "global"
        return Backend(name, part.endpoint, part.kind, billed, part.region, self._auth(name, part))

    def _auth(self, name: str, part: _Backend) -> UpstreamAuth:
        if isinstance(part.auth, _ApiKeyAuth):
            setting = part.auth.api_key.removeprefix(SETTING)
            value = self.setting(setting)
            if not value:
                self.problems.append(f"backends.{name}.auth.api_key: the app setting {setting} is not set")
            return ApiKey(value or "")
        return CallerToken() if part.auth == "caller" else ManagedIdentity()

    def _deployment(self, name: str, part: _Deployment, backends: Mapping[str, Backend]) -> Deployment:
        tiers: dict[int, list[Member]] = {}
        for place, member in enumerate(part.pool):
            backend = backends.get(member.backend)
            if backend is None:
                if member.backend not in self.content.get("backends", {}):
                    self.problems.append(f"deployments.{name}.pool.{place}.backend: no backend {member.backend!r}")
                continue
            tiers.setdefault(member.priority, []).append(
                Member(backend, member.deployment or name, member.priority, member.weight)
            )
        return Deployment(name, part.model, tuple(tuple(tiers[priority]) for priority in sorted(tiers)))

    def _subscription(self, name: str, part: _Subscription) -> Subscription:
        for deployment in part.deployments or ():
            if deployment not in self.content.get("deployments", {}):
                self.problems.append(f"subscriptions.{name}.deployments: no deployment {deployment!r}")
        return Subscription(
            name=name,
            key_digests=tuple(part.key_hashes),
            cost_centre=part.cost_centre,
            deployments=None if part.deployments is None else frozenset(part.deployments),
            limits=Limits(**part.limits.model_dump()),
            quota=Quota(**part.quota.model_dump()) if part.quota else None,
            budget=Budget(**part.budget.model_dump()) if part.budget else None,
        )

    def _check_keys(self, subscriptions: Mapping[str, Subscription], operators: _Operators) -> None:
        holders = dict.fromkeys(operators.key_hashes, "operators")
        for name, subscription in subscriptions.items():
            for digest in subscription.key_digests:
                holder = holders.setdefault(digest, f"subscriptions.{name}")
                if holder != f"subscriptions.{name}":
                    self.problems.append(f"subscriptions.{name}.key_hashes: {holder} has the same key")


_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def _problem(path: str, details: Any) -> str:
    place = ".".join([path, *(str(step) for step in details["loc"])])
    return f"{place}: {details['msg'].removeprefix('Value error, ')}"
