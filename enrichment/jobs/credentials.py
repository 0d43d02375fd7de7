"""What a callback's requests prove themselves with. A secret is the value of a setting, and stays out of every row.

| kind      | the setting's value                                                                           |
|-----------|-----------------------------------------------------------------------------------------------|
| `basic`   | `user:password`                                                                               |
| `api-key` | the key, sent as `x-api-key`; or `Header-Name: key`                                            |
| `oauth2`  | JSON: `token_url`, `client_id`, `client_secret`, optionally `scope` (client credentials grant) |

Client credentials: RFC 6749, 4.4, the client's id and secret in the form, as ServiceNow's /oauth_token.do and Entra ID
both take them.
"""

import json
import re
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from enrichment.jobs.destinations import DestinationRefused, Destinations, Place
from enrichment.jobs.outbound import Outbound, Request, Unreachable
from seams.clock import Clock

_HEADER: Final = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9-]{0,63}):[ \t]*(?P<value>.+)")
_VALUE: Final = re.compile(r"[\x20-\x7e]+")
_EARLY_SECONDS: Final = 60.0
_MOST_TOKENS: Final = 64


class Auth(BaseModel):
    """How the callback's host is to know us."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["none", "basic", "oauth2", "api-key"] = "none"
    secret: Annotated[str, Field(max_length=200, pattern=r"^(setting:\w+)?$")] = Field(
        default="", description="`setting:NAME`, an app setting that the operator lets this subscription use there."
    )

    @model_validator(mode="after")
    def _secret_where_needed(self) -> "Auth":
        if (self.kind == "none") != (not self.secret):
            raise ValueError("secret is setting:NAME for every kind but none")
        return self


class _Client(BaseModel):
    token_url: str
    client_id: str
    client_secret: str = Field(repr=False)
    scope: str = ""


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    until: float


class Credentials:
    """Makes headers. Access tokens are kept in memory until a minute before they expire."""

    def __init__(self, destinations: Destinations, outbound: Outbound, clock: Clock) -> None:
        self._destinations = destinations
        self._outbound = outbound
        self._clock = clock
        self._tokens: OrderedDict[str, _Token] = OrderedDict()

    def check(self, subscription: str, auth: Auth, place: Place) -> None:
        """Raises DestinationRefused where the headers could not be made."""
        if auth.kind == "none":
            return
        value = self._destinations.secret(subscription, auth.secret, place)
        match auth.kind:
            case "oauth2":
                self._destinations.check(self._client(auth.secret, value).token_url)
            case "api-key":
                _key_header(auth.secret, value)

    async def headers(self, subscription: str, auth: Auth, place: Place) -> Mapping[str, str]:
        """Return the headers that a request to this place needs. Raises DestinationRefused and OutboundError."""
        if auth.kind == "none":
            return {}
        value = self._destinations.secret(subscription, auth.secret, place)
        match auth.kind:
            case "basic":
                return {"authorization": f"Basic {b64encode(value.encode()).decode()}"}
            case "api-key":
                return _key_header(auth.secret, value)
            case "oauth2":
                return {"authorization": f"Bearer {await self._token(auth.secret, value)}"}

    def forget(self, auth: Auth) -> None:
        """Fetch a new access token next time: the present one was refused."""
        self._tokens.pop(auth.secret, None)

    def _client(self, reference: str, value: str) -> _Client:
        try:
            client = _Client.model_validate_json(value)
            Place.of_url(client.token_url)
        except (ValidationError, DestinationRefused):
            # Without its cause: a validation error repeats what it was given.
            raise DestinationRefused(
                f"The value of {reference} is not JSON with token_url (https), client_id and client_secret."
            ) from None
        return client

    async def _token(self, reference: str, value: str) -> str:
        kept = self._tokens.get(reference)
        if kept is not None and self._clock.monotonic() < kept.until:
            return kept.value
        client = self._client(reference, value)
        place = self._destinations.check(client.token_url)
        form = {
            "grant_type": "client_credentials",
            "client_id": client.client_id,
            "client_secret": client.client_secret,
        } | ({"scope": client.scope} if client.scope else {})
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        request = Request("POST", client.token_url, headers, urlencode(form).encode(), loopback=place.loopback)
        answer = await self._outbound.send(request)
        token = self._read(answer.body) if answer.status == 200 else None
        if token is None:
            raise Unreachable(f"the token endpoint {place.name} gave no access token: {answer.status}")
        self._keep(reference, token)
        return token.value

    def _read(self, body: bytes) -> _Token | None:
        try:
            told = json.loads(body)
            seconds = float(told.get("expires_in", 0))
            value = told["access_token"]
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            return None
        return _Token(value, self._clock.monotonic() + seconds - _EARLY_SECONDS)

    def _keep(self, reference: str, token: _Token) -> None:
        self._tokens[reference] = token
        if len(self._tokens) > _MOST_TOKENS:
            self._tokens.popitem(last=False)


def _key_header(reference: str, value: str) -> Mapping[str, str]:
    match = _HEADER.fullmatch(value)
    name, key = (match["name"].lower(), match["value"]) if match else ("x-api-key", value)
    if not _VALUE.fullmatch(key):
        raise DestinationRefused(f"The value of {reference} is not a key that fits into a header.")
    return {name: key}
