"""From an HTTP request to a Call: what is asked for, whether it is allowed, and what of it goes upstream."""

from collections.abc import MutableMapping
from typing import Any, NamedTuple
from urllib.parse import quote

from gateway.call import Call
from gateway.catalog.catalog import Catalog, Deployment, Subscription
from gateway.deadlines import Deadlines
from gateway.errors import (
    DeploymentNotFound,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    OperationNotFound,
    ResponseNotFound,
    TokenNeeded,
)
from gateway.identity.callers import Caller
from gateway.requests import operations
from gateway.requests.bodies import BodyRules, Peek, Receive, peek, read_body, with_usage
from gateway.requests.operations import Target
from gateway.requests.request_head import RequestHead, read_head
from gateway.routing.affinity import Affinity
from gateway.routing.home import Home
from gateway.routing.resources import resources_in
from gateway.uploads.forms import FormReader
from gateway.uploads.spool import UploadSpace
from gateway.uploads.uploads import Upload
from seams.clock import Clock

QUERY_CHARACTERS = "!$%&'()*+,/:;=?@[]"
"""What stays as it came in a query (RFC 3986, 3.4); a space or line end in it would end the request line upstream."""

FORM = "multipart/form-data"
NOT_JSON = ("multipart/", "audio/", "image/", "application/octet-stream")
"""Content types of uploads, which pass untouched; any other is taken for JSON, as curl's default type is."""


CACHEABLE_BYTES = 4096
BEGINNING_BYTES = 2048
"""Of a prompt's JSON: what is as long as a cacheable prompt, and how much of it tells prompts apart."""


class _Asked(NamedTuple):
    """A request whose body has been looked into."""

    id: str
    caller: Caller
    target: Target
    scope: MutableMapping[str, Any]
    head: RequestHead
    peek: Peek
    started: float


class Intake:
    def __init__(self, catalog: Catalog, affinity: Affinity, clock: Clock, rules: BodyRules) -> None:
        self._catalog = catalog
        self._affinity = affinity
        self._clock = clock
        self._rules = rules
        self._deadlines = Deadlines()
        self._space = UploadSpace(rules.spool)

    async def call(
        self, call_id: str, caller: Caller, target: Target, scope: MutableMapping[str, Any], receive: Receive
    ) -> Call:
        """Return the call, its body received, or of an upload its beginning.

        Raises CallerLeft, and the GatewayErrors of a request that cannot be sent on.
        """
        started = self._clock.monotonic()
        method: str = scope["method"]
        _check_method(method, target)
        caller.entitlement()
        head = read_head(scope["headers"], self._rules.limit)
        if _is_json(target, head):
            body = await read_body(receive, self._rules, self._deadlines)
            asked = peek(body) if body or _needs_body(target) else Peek()
            if body:
                head.upstream["content-type"] = "application/json"
            return await self._call(_Asked(call_id, caller, target, scope, head, asked, started), body, None)
        upload = self._upload(target, head, receive)
        try:
            await upload.look_ahead()
            asked = Peek(model=upload.model)
            return await self._call(_Asked(call_id, caller, target, scope, head, asked, started), b"", upload)
        except BaseException:
            upload.close()
            raise

    def _upload(self, target: Target, head: RequestHead, receive: Receive) -> Upload:
        content_type = head.upstream["content-type"]
        is_form = content_type.lower().startswith(FORM)
        form = FormReader(content_type) if is_form and target.deployment is None else None
        return Upload(receive, self._rules, self._space, length=head.length, is_form=is_form, form=form)

    async def _call(self, request: _Asked, body: bytes, upload: Upload | None) -> Call:
        target, head, asked, caller = request.target, request.head, request.peek, request.caller
        subscription = caller.entitlement()
        stored = await self._stored(target, subscription)
        deployment = self._deployment(target, asked, subscription) if stored is None else self._kept_at(stored)
        deployment = await self._at_home(deployment, target, asked, body, subscription)
        deployment = _in_reach(_at_backend(deployment, head.backend, subscription), caller)
        query = quote(request.scope["query_string"], safe=QUERY_CHARACTERS)
        hide_usage = _must_ask_for_usage(target, asked, query)
        if hide_usage:
            body = with_usage(body, asked.stream_options)
        return Call(
            id=request.id,
            caller=caller,
            subscription=subscription,
            target=target,
            deployment=deployment,
            method=request.scope["method"],
            query=query,
            headers=head.upstream,
            body=body,
            upload=upload,
            peek=asked,
            hide_usage=hide_usage,
            prompt=_beginning(subscription, asked, body),
            stored=stored,
            labels={"workload": head.workload} if head.workload else {},
            started=request.started,
        )

    async def _stored(self, target: Target, subscription: Subscription) -> Home | None:
        """Return the home of the stored response that the path is about. Raises ResponseNotFound."""
        response = operations.stored_response(target)
        if response is None:
            return None
        home = await self._affinity.home(response)
        if home is None or home.subscription != subscription.name:
            raise ResponseNotFound(f"There is no response {response[:100]}.")
        return home

    def _kept_at(self, home: Home) -> Deployment:
        deployment = self._catalog.deployments.get(home.deployment)
        pinned = deployment.pinned(home.backend) if deployment is not None else None
        if pinned is None:
            raise ResponseNotFound(f"The backend {home.backend}, which keeps the response, serves it no more.")
        return pinned

    async def _at_home(
        self, deployment: Deployment, target: Target, asked: Peek, body: bytes, subscription: Subscription
    ) -> Deployment:
        """Return the deployment at the one backend that can go on with what the request continues, if any."""
        if target.operation != operations.RESPONSES:
            return deployment
        if asked.previous_response_id:
            home = await self._affinity.home(asked.previous_response_id)
            if home is not None and home.subscription != subscription.name:
                raise ResponseNotFound(f"There is no response {asked.previous_response_id[:100]}.")
            return (home and deployment.pinned(home.backend)) or deployment
        for item in resources_in(body):
            home = await self._affinity.home(item)
            if home is not None and home.subscription == subscription.name:
                return deployment.pinned(home.backend) or deployment
        return deployment

    def _deployment(self, target: Target, asked: Peek, subscription: Subscription) -> Deployment:
        name = asked.model if target.deployment is None else target.deployment
        if not name:
            raise InvalidRequest("The request body names no model.", param="model")
        deployment = self._catalog.deployments.get(name)
        if deployment is None:
            raise DeploymentNotFound(f"The deployment {name[:100]} does not exist.", param="model")
        if subscription.deployments is not None and name not in subscription.deployments:
            raise Forbidden(
                f"The subscription {subscription.name} may not use the deployment {name}; ask the platform team.",
                param="model",
            )
        return deployment


def _at_backend(deployment: Deployment, backend: str, subscription: Subscription) -> Deployment:
    """Return the deployment at the backend that the caller names, or as it is where it names none."""
    if not backend:
        return deployment
    if not subscription.may_choose_backend:
        raise Forbidden(f"The subscription {subscription.name} may not choose a backend by x-gateway-backend.")
    pinned = deployment.pinned(backend)
    if pinned is None:
        raise InvalidRequest(f"The deployment {deployment.name} is not served by the backend {backend[:64]}.")
    return pinned


def _in_reach(deployment: Deployment, caller: Caller) -> Deployment:
    """Return the deployment at the backends that this caller's credentials reach."""
    reached = deployment if caller.token else deployment.without_token()
    if reached is None:
        raise TokenNeeded(
            f"The backends of the deployment {deployment.name} take the caller's own Entra ID access token. Send it in "
            "Authorization: Bearer, beside the subscription key in api-key or, where its identity is the "
            "subscription's, alone."
        )
    return reached


def _is_json(target: Target, head: RequestHead) -> bool:
    return target.operation in operations.TAKES_JSON or not head.upstream.get("content-type", "").lower().startswith(
        NOT_JSON
    )


def _check_method(method: str, target: Target) -> None:
    if method != "POST" and target.operation in operations.METERED:
        raise MethodNotAllowed(f"{target.operation} is called with POST.", headers=((b"allow", b"POST"),))
    if method != "POST" and target.deployment is None and operations.stored_response(target) is None:
        raise OperationNotFound(f"There is no operation {method} {target.operation[:200]}.")


def _beginning(subscription: Subscription, asked: Peek, body: bytes) -> bytes:
    """Return what calls have in common whose prompts may share a backend's cache; empty for short prompts.

    Azure caches prompts from 1,024 tokens on, by their beginning; `prompt_cache_key` says what belongs together.
    """
    if asked.prompt_cache_key:
        return f"{subscription.name}\n{asked.prompt_cache_key}".encode()
    if len(body) < CACHEABLE_BYTES:
        return b""
    start = max(body.find(b'"messages"'), body.find(b'"input"'), 0)
    return subscription.name.encode() + body[start : start + BEGINNING_BYTES]


def _needs_body(target: Target) -> bool:
    if operations.stored_response(target) is not None:
        return False
    return target.deployment is None or target.operation in operations.METERED


def _must_ask_for_usage(target: Target, asked: Peek, query: str) -> bool:
    if not asked.stream or asked.usage_asked or target.operation not in operations.INCLUDES_USAGE:
        return False
    return operations.includes_usage(target.upstream, _api_version(query))


def _api_version(query: str) -> str:
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name == "api-version":
            return value
    return ""
