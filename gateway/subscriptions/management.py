"""`/manage/subscriptions`: what operators do with subscriptions over HTTP. Keys are shown once, digests never."""

from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from fastapi import APIRouter, Body, Depends, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from starlette.types import Message

from gateway.catalog.catalog import Subscription
from gateway.errors import CallerLeft, Forbidden, GatewayError, InvalidRequest, SubscriptionInvalid
from gateway.identity.callers import Caller
from gateway.identity.keys import Slot
from gateway.requests.bodies import BodyRules, read_body
from gateway.subscriptions.entitlement import NAME, Entitlement, Name, problem
from gateway.subscriptions.register import Keyed, SubscriptionRegister, version_of
from gateway.subscriptions.store import StoredSubscription

BODY: Final = BodyRules(limit=64 * 1024, timeout=30.0)
NEVER_KEPT: Final = "no-store"

_EXAMPLE: Final[dict[str, Any]] = {
    "name": "service-desk",
    "cost_centre": "4711",
    "deployments": ["gpt-4o"],
    "limits": {"requests_per_minute": 600, "tokens_per_minute": 120000, "concurrent": 50},
    "budget": {"amount": "500.00", "currency": "USD", "per": "month", "hard": True},
}
_CHANGE: Final[dict[str, Any]] = {"limits": {"requests_per_minute": 900}, "quota": None}


class NewSubscription(Entitlement):
    """The catalog's fields of a subscription and its name; keys are made here."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: Name = Field(description="1 to 64 letters, digits, dots, dashes, underscores; the first a letter or digit.")


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


class BoundedRoute(APIRoute):
    """A route whose body is read within bounds of size and time, and refused with all that is wrong with it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            try:
                body = await read_body(request.receive, BODY)
            except CallerLeft:
                return Response(status_code=499)  # nobody reads it

            async def replay() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            try:
                return await handle(Request(request.scope, replay))
            except RequestValidationError as error:
                raise _refusal(error) from error

        return bounded


def _refusal(error: RequestValidationError) -> GatewayError:
    """Name everything that is wrong, by path; what it held is not repeated."""
    details = error.errors()
    if any(each["type"] == "json_invalid" for each in details):
        return InvalidRequest("The body is not JSON.")
    problems = [problem("", {**each, "loc": each["loc"][1:]}) for each in details]
    return SubscriptionInvalid("; ".join(problems), param=".".join(map(str, details[0]["loc"][1:])) or None)


class _MergePatch:
    """Describes a JSON merge patch (RFC 7396) by the fields that it may change; none of them is required."""

    @staticmethod
    def __get_pydantic_json_schema__(_: CoreSchema, described: GetJsonSchemaHandler) -> JsonSchemaValue:
        return described(Entitlement.__pydantic_core_schema__)


type CallerOf = Callable[..., Awaitable[Caller]]
"""A FastAPI dependency that returns who is calling, or raises Unauthenticated."""

type ActorOf = Callable[..., Awaitable[str]]
"""The same for an operator, as the audit log names it; raises Forbidden."""

_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "The body is not JSON."},
    401: {"description": "No key, or one that is nobody's."},
    403: {"description": "The key is no operator's."},
    408: {"description": "The body did not arrive in time."},
    413: {"description": "The body is over 64 KiB."},
    422: {"description": "Fields that no subscription can have; the message names each."},
    503: {"description": "The tables did not answer in time."},
}
_OF_ONE: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "There is no subscription of this name."}}
_CHANGES: Final[dict[int | str, dict[str, Any]]] = {
    **_OF_ONE,
    409: {"description": "The catalog holds the subscription, or another one lists the identity."},
    412: {"description": "It has another version than If-Match asks for."},
}

type OneName = Annotated[str, Path(pattern=f"^{NAME.pattern}$", description="The subscription's name.")]
type IfMatch = Annotated[str | None, Header(description="The ETag that must still be the subscription's.")]


def router(register: SubscriptionRegister, caller_of: CallerOf) -> APIRouter:
    """Return the routes. Their errors are GatewayErrors and TableUnavailable, for the app's exception handlers."""

    async def actor_of(request: Request, caller: Annotated[Caller, Depends(caller_of)]) -> str:
        if not caller.operator:
            raise Forbidden("Subscriptions are managed with an operator key.")
        return f"{caller.operator_key or 'operator'} from={request.client.host if request.client else 'unknown'}"

    routes = APIRouter(
        prefix="/manage/subscriptions", tags=["subscriptions"], route_class=BoundedRoute, responses=_REFUSALS
    )
    _add_reading(routes, register, actor_of)
    _add_creation(routes, register, actor_of)
    _add_change(routes, register, actor_of)
    _add_ends(routes, register, actor_of)
    return routes


def _add_reading(routes: APIRouter, register: SubscriptionRegister, actor_of: ActorOf) -> None:
    @routes.get(
        "", operation_id="list-subscriptions", summary="List subscriptions by name", dependencies=[Depends(actor_of)]
    )
    async def list_subscriptions(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[str, Query(pattern=f"^({NAME.pattern})?$", description="The last name already seen.")] = "",
    ) -> SubscriptionPage:
        page = await register.page(after, limit + 1)
        shown = [SubscriptionView.of(each) for each in page[:limit]]
        return SubscriptionPage(subscriptions=shown, next=shown[-1].name if len(page) > limit else None)

    @routes.get(
        "/{name}",
        operation_id="get-subscription",
        summary="Show a subscription",
        responses=_OF_ONE,
        dependencies=[Depends(actor_of)],
    )
    async def get_subscription(name: OneName, response: Response) -> SubscriptionView:
        shown = await register.show(name)
        if isinstance(shown, StoredSubscription):
            response.headers["etag"] = version_of(shown)
        return SubscriptionView.of(shown)


def _add_creation(routes: APIRouter, register: SubscriptionRegister, actor_of: ActorOf) -> None:
    type Actor = Annotated[str, Depends(actor_of)]

    @routes.post(
        "",
        operation_id="create-subscription",
        summary="Create a subscription with two keys, which are shown this once",
        status_code=201,
        responses={409: {"description": "The name is taken, or another subscription lists the identity."}},
    )
    async def create_subscription(new: NewSubscription, actor: Actor, response: Response) -> CreatedSubscription:
        entitlement = Entitlement(**{field: getattr(new, field) for field in Entitlement.model_fields})
        keyed = await register.create(new.name, entitlement, actor)
        response.headers["location"] = f"/manage/subscriptions/{new.name}"
        response.headers["etag"] = version_of(keyed.stored)
        response.headers["cache-control"] = NEVER_KEPT
        return CreatedSubscription.made(keyed)


def _add_change(routes: APIRouter, register: SubscriptionRegister, actor_of: ActorOf) -> None:
    type Actor = Annotated[str, Depends(actor_of)]

    @routes.patch(
        "/{name}",
        operation_id="change-subscription",
        summary="Change fields of a subscription; null takes one back to its default",
        responses=_CHANGES,
    )
    async def change_subscription(
        name: OneName,
        patch: Annotated[dict[str, Any], _MergePatch(), Body(examples=[_CHANGE])],
        actor: Actor,
        response: Response,
        if_match: IfMatch = None,
    ) -> SubscriptionView:
        """The body is a JSON merge patch (RFC 7396) of the fields that `POST` takes, but for `name`."""
        changed = await register.change(name, patch, if_match, actor)
        response.headers["etag"] = version_of(changed)
        return SubscriptionView.of(changed)


def _add_ends(routes: APIRouter, register: SubscriptionRegister, actor_of: ActorOf) -> None:
    type Actor = Annotated[str, Depends(actor_of)]

    @routes.post(
        "/{name}/keys/{slot}",
        operation_id="rotate-subscription-key",
        summary="Replace one key by a new one, which is shown this once; the other key goes on",
        responses=_CHANGES,
    )
    async def rotate_key(
        name: OneName, slot: Slot, actor: Actor, response: Response, if_match: IfMatch = None
    ) -> RotatedKey:
        keyed = await register.rotate(name, slot, if_match, actor)
        response.headers["etag"] = version_of(keyed.stored)
        response.headers["cache-control"] = NEVER_KEPT
        return RotatedKey(name=name, keys=dict(keyed.keys))

    @routes.delete(
        "/{name}",
        operation_id="revoke-subscription",
        summary="Revoke a subscription and both of its keys; its statements stay",
        status_code=204,
        responses=_CHANGES,
    )
    async def revoke_subscription(name: OneName, actor: Actor, if_match: IfMatch = None) -> None:
        await register.revoke(name, if_match, actor)
