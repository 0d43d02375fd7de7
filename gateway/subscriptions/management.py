"""`/manage/subscriptions`: what operators do with subscriptions over HTTP."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.types import Message

from gateway.deadlines import Deadlines
from gateway.errors import CallerLeft, Forbidden, GatewayError, InvalidRequest, SubscriptionInvalid
from gateway.identity.callers import Caller
from gateway.identity.keys import Slot
from gateway.requests.bodies import BodyRules, read_body
from gateway.subscriptions.bodies import (
    CreatedSubscription,
    MergePatch,
    NewSubscription,
    RotatedKey,
    SubscriptionPage,
    SubscriptionView,
)
from gateway.subscriptions.entitlement import NAME, problem
from gateway.subscriptions.register import SubscriptionRegister, version_of
from gateway.subscriptions.store import StoredSubscription

BODY: Final = BodyRules(limit=64 * 1024, timeout=30.0)
NEVER_KEPT: Final = "no-store"


class BoundedRoute(APIRoute):
    """A route whose body is read within bounds of size and time, and refused with all that is wrong with it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        deadlines = Deadlines()

        async def bounded(request: Request) -> Response:
            try:
                body = await read_body(request.receive, BODY, deadlines)
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
        keyed = await register.create(new.name, new.entitlement(), actor)
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
        patch: MergePatch, name: OneName, actor: Actor, response: Response, if_match: IfMatch = None
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
