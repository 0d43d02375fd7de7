"""The catalog's objects: backends, deployments, subscriptions and operators, as the gateway uses them.

`gateway/catalog/catalog_file.py` reads them from TOML or JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final, Literal

from gateway.usage import DeploymentType

type Period = Literal["day", "week", "month"]

type Currency = Literal["USD"]
"""What list prices are in; there is no rate to keep a budget in another one by."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A backend's key; kept out of every repr."""

    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ManagedIdentity:
    """The app's own identity, by an access token."""


@dataclass(frozen=True, slots=True)
class CallerToken:
    """The caller's own Entra ID token goes upstream."""


type UpstreamAuth = ApiKey | ManagedIdentity | CallerToken


@dataclass(frozen=True, slots=True, eq=False)
class Backend:
    """One upstream endpoint. `endpoint` has no trailing slash."""

    name: str
    endpoint: str
    kind: Literal["ptu", "paygo"]
    deployment_type: DeploymentType
    region: str
    auth: UpstreamAuth


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A backend's place in a pool: `deployment` is the name there; lower `priority` first, `weight` inside it."""

    backend: Backend
    deployment: str
    priority: int
    weight: float


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model name that callers ask for. `tiers` holds the pool by ascending priority."""

    name: str
    model: str
    tiers: tuple[tuple[Member, ...], ...]

    def pinned(self, backend: str) -> "Deployment | None":
        """Return this deployment with none but its members at that backend; None where there are none."""
        tiers = tuple(
            kept for tier in self.tiers if (kept := tuple(each for each in tier if each.backend.name == backend))
        )
        return replace(self, tiers=tiers) if tiers else None

    def without_token(self) -> "Deployment | None":
        """Return this deployment with none but its members that need no token of the caller; None where all do."""
        if not self._takes_tokens():
            return self
        tiers = tuple(
            kept
            for tier in self.tiers
            if (kept := tuple(each for each in tier if not isinstance(each.backend.auth, CallerToken)))
        )
        return replace(self, tiers=tiers) if tiers else None

    def _takes_tokens(self) -> bool:
        for tier in self.tiers:
            for member in tier:
                # A plain loop: it is run for every call, and takes half the time of any().
                if isinstance(member.backend.auth, CallerToken):
                    return True
        return False


@dataclass(frozen=True, slots=True)
class Limits:
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Quota:
    tokens: int
    per: Period


@dataclass(frozen=True, slots=True)
class Budget:
    amount: Decimal
    currency: Currency
    per: Period
    hard: bool


@dataclass(frozen=True, slots=True)
class DeploymentLimits:
    """What a subscription may take of one deployment, inside what it may take in all."""

    limits: Limits = Limits()
    quota: Quota | None = None
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class CacheRules:
    """Which answers may be given again. `deployments` None: all; `threshold` is a cosine, for `semantic`.

    `embeddings` is the deployment that makes the vectors. `any_temperature`: not only of requests at temperature 0.
    """

    kind: Literal["exact", "semantic"]
    ttl_seconds: int
    deployments: frozenset[str] | None
    any_temperature: bool
    threshold: float
    embeddings: str


@dataclass(frozen=True, slots=True)
class Safety:
    """What is checked before a call. `fail` says what a check that cannot be made does to the call: open lets it on."""

    prompt_shield: bool
    fail: Literal["open", "closed"]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A consumer's entitlement. `deployments` None: all. `key_digests` are SHA-256 of its keys.

    `identities` are those whose Entra ID tokens serve as keys: `azp:`, `oid:`, `group:` or `role:` and a value.
    `hide_personal_data`: whether placeholders stand for personal data in what models are told of tickets.
    """

    name: str
    key_digests: tuple[bytes, ...]
    cost_centre: str
    deployments: frozenset[str] | None
    limits: Limits
    quota: Quota | None
    budget: Budget | None
    identities: tuple[str, ...] = ()
    may_choose_backend: bool = False
    deployment_limits: Mapping[str, DeploymentLimits] = field(default_factory=dict, hash=False)
    cache: CacheRules | None = None
    safety: Safety | None = None
    log_prompts: bool = False
    hide_personal_data: bool = True

    @property
    def limited(self) -> bool:
        """Tell whether there is any limit, quota or budget."""
        return bool(self.quota or self.budget or self.deployment_limits) or self.limits != NO_LIMITS


@dataclass(frozen=True, slots=True)
class Catalog:
    backends: Mapping[str, Backend]
    deployments: Mapping[str, Deployment]
    subscriptions: Mapping[str, Subscription]
    operator_digests: tuple[bytes, ...]
