"""Reads the catalog (schema version 1) from TOML or JSON; one CatalogError names everything that is wrong, by path.

An unknown key is an error: a limit with a spelling mistake must not become no limit.
"""

import json
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.catalog.catalog import (
    ApiKey,
    Backend,
    CallerToken,
    Catalog,
    Deployment,
    ManagedIdentity,
    Member,
    Subscription,
    UpstreamAuth,
)
from gateway.catalog.sections import (
    SETTING,
    ApiKeyAuth,
    BackendSection,
    DeploymentSection,
    OperatorsSection,
    SubscriptionSection,
)
from gateway.subscriptions.entitlement import Section, check_name, problem
from gateway.usage import DeploymentType

SECTIONS = ("backends", "deployments", "subscriptions", "operators")


class CatalogError(Exception):
    """The catalog cannot be used. `problems` holds one line per error: path and reason."""

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__("\n".join([f"The catalog {source} is not valid:", *(f"  {problem}" for problem in problems)]))
        self.problems = problems


def load_catalog(source: str, setting: Callable[[str], str | None]) -> Catalog:
    """Return the catalog that `source` names: a path to a TOML or JSON file, or the JSON itself.

    `setting` looks up an app setting for `setting:NAME` references. Raises CatalogError.
    """
    name = "in GATEWAY_CATALOG" if source.lstrip().startswith("{") else source
    return _Reader(name, _parse(source, name), setting).catalog()


def _parse(source: str, name: str) -> Mapping[str, Any]:
    try:
        if source.lstrip().startswith("{"):
            content: Any = _json(source)
        else:
            text = Path(source).read_text(encoding="utf-8-sig")
            content = _json(text) if source.endswith(".json") else tomllib.loads(text)
    except OSError as error:
        raise CatalogError(name, [f"cannot be read: {error.strerror or error}"]) from error
    except (ValueError, RecursionError) as error:
        raise CatalogError(name, [f"is neither TOML nor JSON: {error}"]) from error
    if not isinstance(content, dict):
        raise CatalogError(name, ["must be an object with backends, deployments, subscriptions and operators"])
    return content


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in content if names.count(name) > 1)!r} stands twice in one object")
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
        backends = {name: self._backend(name, part) for name, part in self._parts("backends", BackendSection)}
        deployments = {
            name: self._deployment(name, part, backends) for name, part in self._parts("deployments", DeploymentSection)
        }
        subscriptions = {
            name: self._subscription(name, part) for name, part in self._parts("subscriptions", SubscriptionSection)
        }
        operators = self._one("operators", OperatorsSection, self.content.get("operators", {})) or OperatorsSection()
        self._check_keys(subscriptions, operators)
        if not self.problems and not deployments:
            self.problems.append("deployments: there is none, so that nothing could be asked for")
        if self.problems:
            raise CatalogError(self.source, self.problems)
        return Catalog(backends, deployments, subscriptions, tuple(operators.key_hashes))

    def _parts[Part: Section](self, section: str, model: type[Part]) -> Iterator[tuple[str, Part]]:
        content = self.content.get(section, {})
        if not isinstance(content, dict):
            self.problems.append(f"{section}: must be a table of names")
            return
        for name, value in content.items():
            try:
                check_name(name)
            except ValueError as error:
                self.problems.append(f"{section}.{name}: {error}")
            part = self._one(f"{section}.{name}", model, value)
            if part is None:
                self._check_names(section, name, value)
            else:
                yield name, part

    def _names(self, section: str) -> Collection[str]:
        content = self.content.get(section)
        return content if isinstance(content, dict) else ()

    def _one[Part: Section](self, path: str, model: type[Part], value: object) -> Part | None:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            self.problems += [problem(path, details) for details in error.errors(include_url=False)]
            return None

    def _backend(self, name: str, part: BackendSection) -> Backend:
        if part.kind == "ptu" and part.deployment_type not in {None, "ptu"}:
            self.problems.append(f"backends.{name}.deployment_type: a backend of kind ptu is billed as ptu")
        billed: DeploymentType = "ptu" if part.kind == "ptu" else part.deployment_type or "global"
        return Backend(name, part.endpoint, part.kind, billed, part.region, self._auth(name, part.auth))

    def _auth(self, name: str, auth: object) -> UpstreamAuth:
        if auth == "caller":
            return CallerToken()
        path = f"backends.{name}.auth"
        if isinstance(auth, dict):
            keyed = self._one(path, ApiKeyAuth, auth)
            return ApiKey(self._api_key(f"{path}.api_key", keyed.api_key.removeprefix(SETTING)) if keyed else "")
        if auth != "managed-identity":
            self.problems.append(f'{path}: must be "managed-identity", "caller" or a table with api_key')
        return ManagedIdentity()

    def _api_key(self, path: str, setting: str) -> str:
        value = self.setting(setting) or ""
        if not value:
            self.problems.append(f"{path}: the app setting {setting} is not set")
        elif not (value.isascii() and value.isprintable()):
            self.problems.append(f"{path}: the app setting {setting} holds what no header can carry")
        return value

    def _deployment(self, name: str, part: DeploymentSection, backends: Mapping[str, Backend]) -> Deployment:
        tiers: dict[int, list[Member]] = {}
        seen: set[tuple[str, str]] = set()
        for place, member in enumerate(part.pool):
            backend = backends.get(member.backend)
            if backend is None:
                if member.backend not in self._names("backends"):
                    self.problems.append(f"deployments.{name}.pool.{place}.backend: no backend {member.backend!r}")
                continue
            there = member.deployment or name
            if (backend.name, there) in seen:
                self.problems.append(
                    f"deployments.{name}.pool.{place}: {there} of {backend.name} is in the pool already"
                )
            seen.add((backend.name, there))
            tiers.setdefault(member.priority, []).append(Member(backend, there, member.priority, member.weight))
        return Deployment(name, part.model, tuple(tuple(tiers[priority]) for priority in sorted(tiers)))

    def _subscription(self, name: str, part: SubscriptionSection) -> Subscription:
        self.problems += [
            f"subscriptions.{name}.deployments: no deployment {deployment!r}"
            for deployment in part.unknown_deployments(self._names("deployments"))
        ]
        return part.subscription(name, tuple(part.key_hashes))

    def _check_names(self, section: str, name: str, value: object) -> None:
        """Check what a part that is wrong by itself names elsewhere, so that one start shows that, too."""
        named: object = None
        if isinstance(value, dict):
            named = value.get("pool" if section == "deployments" else "deployments")
        for place, item in enumerate(named if isinstance(named, list) else []):
            backend = item.get("backend") if isinstance(item, dict) else None
            if section == "deployments" and isinstance(backend, str) and backend not in self._names("backends"):
                self.problems.append(f"deployments.{name}.pool.{place}.backend: no backend {backend!r}")
            if section == "subscriptions" and isinstance(item, str) and item not in self._names("deployments"):
                self.problems.append(f"subscriptions.{name}.deployments: no deployment {item!r}")

    def _check_keys(self, subscriptions: Mapping[str, Subscription], operators: OperatorsSection) -> None:
        holders = dict.fromkeys(operators.key_hashes, "operators")
        for name, subscription in subscriptions.items():
            for digest in subscription.key_digests:
                holder = holders.setdefault(digest, f"subscriptions.{name}")
                if holder != f"subscriptions.{name}":
                    self.problems.append(f"subscriptions.{name}.key_hashes: {holder} has the same key")
        members: dict[str, str] = {}
        for name, subscription in subscriptions.items():
            for identity in subscription.identities:
                if members.setdefault(identity, name) != name:
                    self.problems.append(f"subscriptions.{name}.identities: {members[identity]} lists {identity}, too")
