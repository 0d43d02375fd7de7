"""What `/manage/subscriptions` takes and answers with. Keys are shown once, digests never."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from fastapi import Body
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from gateway.catalog.catalog import Subscription
from gateway.identity.keys import Slot
from gateway.subscriptions.entitlement import Entitlement, Name
from gateway.subscriptions.register import Keyed
from gateway.subscriptions.store import StoredSubscription

_EXAMPLE: Final[dict[str, Any]] = {
    "name": "service-desk",
    "cost_centre": "4711",
    "deployments": ["gpt-4o"],
    "limits": {"requests_per_minute": 600, "tokens_per_minute": 120000, "concurrent": 50},
    "budget": {"amount": "500.00", "currency": "USD", "per": "month", "hard": True},
}


class NewSubscription(Entitlement):
    """The catalog's fields of a subscription and its name; keys are made here."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: Name = Field(description="1 to 64 letters, digits, dots, dashes, underscores; the first a letter or digit.")

    def entitlement(self) -> Entitlement:
        return Entitlement(**{field: getattr(self, field) for field in Entitlement.model_fields})


class KeyTimes(BaseModel):
    """When each key was made."""

    primary: datetime
    secondary: datetime


class SubscriptionView(Entitlement):
    """A subscription, without its keys. `source` is where it is changed; the times are those of a row of the table."""

    name: str
    source: Literal["table", "catalog"]
    created_at: datetime | None = None
    changed_at: datetime | None = None
    keys_made_at: KeyTimes | None = None

    @classmethod
    def of(cls, shown: StoredSubscription | Subscription) -> Self:
        if isinstance(shown, Subscription):
            return cls(name=shown.name, source="catalog", **dict(Entitlement.of(shown)))
        return cls(
            name=shown.name,
            source="table",
            created_at=shown.created_at,
            changed_at=shown.changed_at,
            keys_made_at=KeyTimes(primary=shown.primary_at, secondary=shown.secondary_at),
            **dict(shown.entitlement),
        )


class CreatedSubscription(SubscriptionView):
    keys: dict[Slot, str] = Field(description="Shown now and never again; keep them in a vault.")

    @classmethod
    def made(cls, keyed: Keyed) -> Self:
        return cls(**dict(SubscriptionView.of(keyed.stored)), keys=dict(keyed.keys))


class RotatedKey(BaseModel):
    name: str
    keys: dict[Slot, str] = Field(description="The new key, shown now and never again.")


class SubscriptionPage(BaseModel):
    subscriptions: list[SubscriptionView]
    next: str | None = Field(description="What `after` is to be for the next page; null on the last one.")


class _MergePatch:
    """Describes a JSON merge patch (RFC 7396) by the fields that it may change; none of them is required."""

    @staticmethod
    def __get_pydantic_json_schema__(_: CoreSchema, described: GetJsonSchemaHandler) -> JsonSchemaValue:
        return described(Entitlement.__pydantic_core_schema__)


_CHANGE: Final[dict[str, Any]] = {"limits": {"requests_per_minute": 900}, "quota": None}

type MergePatch = Annotated[dict[str, Any], _MergePatch(), Body(examples=[_CHANGE])]
