"""What a subscription may do, as it is written: in the catalog, in a row of the table, in a request to the gateway.

One model reads all three, so that what is refused in one place is not taken in another. An unknown key is an error: a
limit with a spelling mistake must not become no limit.
"""

import re
from collections.abc import Container
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

from gateway.catalog.catalog import (
    Budget,
    CacheRules,
    Currency,
    DeploymentLimits,
    Limits,
    Period,
    Quota,
    Safety,
    Subscription,
)

LONGEST_TTL = 30 * 24 * 3600
"""Seconds."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(value: str) -> str:
    """Return the name of a backend, deployment or subscription. Raises ValueError where it is none."""
    if not NAME.fullmatch(value):
        raise ValueError("a name has 1 to 64 letters, digits, dots, dashes, underscores; the first a letter or digit")
    return value


Name = Annotated[str, AfterValidator(check_name)]


def _as_claimed(identity: str) -> str:
    """Return the identity as the tokens have it: ids in lower case, a role as it is written."""
    return identity if identity.startswith("role:") else identity.lower()


Identity = Annotated[str, Field(pattern=r"^(azp|oid|group|role):[^\s:][^\s]{0,127}$"), AfterValidator(_as_claimed)]


class Section(BaseModel):
    """A table of keys. Strict: a limit of "5" or true is a slip, and must not pass for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LimitsSection(Section):
    requests_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    concurrent: PositiveInt | None = None


class QuotaSection(Section):
    tokens: PositiveInt
    per: Period


def _prices_have(currency: object) -> object:
    if currency != "USD":
        raise ValueError("prices are in US dollars, and a budget can be kept in USD only")
    return currency


class BudgetSection(Section):
    amount: Annotated[Decimal, Field(gt=0, strict=False)]
    currency: Annotated[Currency, BeforeValidator(_prices_have)] = "USD"
    per: Period
    hard: bool = False


class DeploymentLimitsSection(LimitsSection):
    """Limits, quota and budget for one deployment, side by side."""

    quota: QuotaSection | None = None
    budget: BudgetSection | None = None

    def limits(self) -> DeploymentLimits:
        return DeploymentLimits(_limits(self), _quota(self.quota), _budget(self.budget))


class CacheSection(Section):
    """Which answers may be given again; `deployments` None: of all."""

    kind: Literal["exact", "semantic"]
    ttl_seconds: Annotated[int, Field(gt=0, le=LONGEST_TTL)] = 3600
    deployments: list[str] | None = None
    any_temperature: bool = False
    threshold: Annotated[float, Field(ge=0.5, le=1)] = 0.95
    embeddings: str = "text-embedding-3-small"

    def rules(self) -> CacheRules:
        return CacheRules(
            kind=self.kind,
            ttl_seconds=self.ttl_seconds,
            deployments=None if self.deployments is None else frozenset(self.deployments),
            any_temperature=self.any_temperature,
            threshold=self.threshold,
            embeddings=self.embeddings,
        )

    def deployments_used(self) -> tuple[str, ...]:
        """Return the deployments that are named here, the one for embeddings where it is called."""
        return (*(self.deployments or ()), *((self.embeddings,) if self.kind == "semantic" else ()))


class SafetySection(Section):
    """Closed where nothing is said: who asks for a check wants it made."""

    prompt_shield: bool = False
    fail: Literal["open", "closed"] = "closed"


class Entitlement(Section):
    """A subscription's fields but for its name and keys. `deployments` None: all."""

    identities: list[Identity] = []
    may_choose_backend: bool = False
    cost_centre: Annotated[str, Field(max_length=64)] = ""
    deployments: list[str] | None = None
    limits: LimitsSection = LimitsSection()
    quota: QuotaSection | None = None
    budget: BudgetSection | None = None
    deployment_limits: dict[str, DeploymentLimitsSection] = {}
    cache: CacheSection | None = None
    safety: SafetySection | None = None
    log_prompts: bool = False
    hide_personal_data: bool = True

    @model_validator(mode="after")
    def _may_use_what_is_cached(self) -> Self:
        if self.cache is not None and self.deployments is not None:
            for name in self.cache.deployments_used():
                if name not in self.deployments:
                    raise ValueError(f"cache names the deployment {name}, which the subscription may not use")
        return self

    @classmethod
    def of(cls, subscription: Subscription) -> Self:
        """Return how this subscription would be written."""
        values = {name: value for name, value in asdict(subscription).items() if name in cls.model_fields}
        named = subscription.deployments
        values["deployments"] = None if named is None else sorted(named)
        if subscription.cache is not None and subscription.cache.deployments is not None:
            values["cache"]["deployments"] = sorted(subscription.cache.deployments)
        return cls.model_validate(values | {"identities": list(subscription.identities)})

    def unknown_deployments(self, known: Container[str]) -> list[str]:
        """Return the deployments that are named here and not known."""
        cached = self.cache.deployments_used() if self.cache else ()
        return [name for name in (*(self.deployments or ()), *self.deployment_limits, *cached) if name not in known]

    def subscription(self, name: str, key_digests: tuple[bytes, ...]) -> Subscription:
        """Return what the gateway works with. `key_digests` are SHA-256 of the subscription's keys."""
        return Subscription(
            name=name,
            key_digests=key_digests,
            cost_centre=self.cost_centre,
            deployments=None if self.deployments is None else frozenset(self.deployments),
            limits=_limits(self.limits),
            quota=_quota(self.quota),
            budget=_budget(self.budget),
            identities=tuple(self.identities),
            may_choose_backend=self.may_choose_backend,
            deployment_limits={name: section.limits() for name, section in self.deployment_limits.items()},
            cache=self.cache.rules() if self.cache else None,
            safety=Safety(self.safety.prompt_shield, self.safety.fail) if self.safety else None,
            log_prompts=self.log_prompts,
            hide_personal_data=self.hide_personal_data,
        )


def _limits(section: LimitsSection) -> Limits:
    return Limits(section.requests_per_minute, section.tokens_per_minute, section.concurrent)


def _quota(section: QuotaSection | None) -> Quota | None:
    return Quota(section.tokens, section.per) if section else None


def _budget(section: BudgetSection | None) -> Budget | None:
    return Budget(section.amount, section.currency, section.per, section.hard) if section else None


def problem(path: str, details: Any) -> str:
    """Return one of pydantic's errors as path and reason, in plain words."""
    place = ".".join(step for step in (path, *(str(step) for step in details["loc"])) if step)
    reason = _SAID.get(details["type"]) or details["msg"].removeprefix("Value error, ")
    return f"{place}: {reason}" if place else str(reason)


_SAID = {"extra_forbidden": "unknown key", "missing": "is missing", "model_type": "must be a table of keys"}
