"""A stand-in for a ServiceNow instance: the Table API's GET and PATCH of a record, and its OAuth token endpoint.

As strict as the real one where it matters to us. Sources: ServiceNow's REST API reference, Table API; its page "Inbound
REST API rate limiting" (429 with Retry-After and X-RateLimit-*); its page "Client Credentials" (oauth_token.do); its
article KB2971488 (fields that an ACL forbids are left out of answer and change, without an error).
"""

import base64
import binascii
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN_SECONDS = 1799
FIELDS = {
    "sys_id", "number", "short_description", "description", "category", "subcategory", "impact", "urgency", "priority",
    "assignment_group", "close_notes", "close_code", "state", "work_notes", "comments",
}  # fmt: skip
JOURNALS = {"work_notes", "comments"}


@dataclass(frozen=True)
class Entry:
    """One entry of a journal."""

    element: str
    value: str
    by: str
    at: datetime


@dataclass
class Instance:
    """What the instance holds, and how it behaves.

    `users` are names and passwords, `clients` OAuth clients and their secrets, which act as `oauth_user`. `readers` may
    not write at all; `forbidden` are fields that nobody may write. `throttled` requests are answered 429 first, `lost`
    changes are made and then answered 502, as by a proxy that lost the answer.
    """

    users: dict[str, str]
    clients: dict[str, str] = field(default_factory=dict)
    oauth_user: str = "tollgate"
    readers: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset({"number", "sys_id", "priority"})
    throttled: int = 0
    lost: int = 0
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    journal: dict[str, list[Entry]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def add(self, sys_id: str, **columns: str) -> None:
        self.records[sys_id] = {"sys_id": sys_id, **columns}

    def notes(self, sys_id: str) -> list[str]:
        """Return the record's work notes, the oldest first."""
        return [entry.value for entry in self.journal.get(sys_id, ()) if entry.element == "work_notes"]

    def app(self) -> Starlette:
        record = "/api/now/table/incident/{sys_id}"
        return Starlette(
            routes=[
                Route("/oauth_token.do", self._token, methods=["POST"]),
                Route(record, self._get, methods=["GET"]),
                Route(record, self._patch, methods=["PATCH"]),
            ]
        )

    async def _token(self, request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return _oauth_error("invalid_request")
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if form.get("grant_type") != "client_credentials":
            return _oauth_error("unsupported_grant_type")
        secret = self.clients.get(form.get("client_id", ""))
        if secret is None or not secrets.compare_digest(secret, form.get("client_secret", "")):
            return _oauth_error("access_denied")
        token = secrets.token_urlsafe(48)
        self.tokens.add(token)
        told = {"access_token": token, "scope": "useraccount", "token_type": "Bearer", "expires_in": TOKEN_SECONDS}
        return JSONResponse(told)

    async def _get(self, request: Request) -> Response:
        user, refusal = self._admit(request)
        if refusal is not None or user is None:
            return refusal or _unauthenticated()
        sys_id = request.path_params["sys_id"]
        if sys_id not in self.records:
            return _not_found()
        return JSONResponse({"result": self._shown(sys_id, request)})

    async def _patch(self, request: Request) -> Response:
        user, refusal = self._admit(request)
        if refusal is not None or user is None:
            return refusal or _unauthenticated()
        sys_id = request.path_params["sys_id"]
        if not request.headers.get("content-type", "").startswith("application/json"):
            return _failed(415, "Unsupported media type", "Content-Type is not application/json")
        try:
            changes = json.loads(await request.body())
        except ValueError:
            changes = None
        if not isinstance(changes, dict):
            return _failed(400, "Exception while reading request", "The payload is not valid JSON.")
        if sys_id not in self.records:
            return _not_found()
        if user in self.readers:
            return _failed(403, "Operation Failed", "ACL Exception Update Failed due to security constraints")
        self._change(sys_id, changes, user)
        if self.lost:
            self.lost -= 1
            return Response("<html>Bad Gateway</html>", 502, media_type="text/html")
        return JSONResponse({"result": self._shown(sys_id, request)})

    def _change(self, sys_id: str, changes: dict[str, Any], user: str) -> None:
        # Columns that the table lacks, and those that an ACL forbids, are passed over in silence.
        for name, value in changes.items():
            if name not in FIELDS or name in self.forbidden:
                continue
            if name in JOURNALS:
                if value:
                    self.journal.setdefault(sys_id, []).append(Entry(name, str(value), user, datetime.now(UTC)))
            else:
                self.records[sys_id][name] = str(value)

    def _shown(self, sys_id: str, request: Request) -> dict[str, str]:
        wanted = [name for name in request.query_params.get("sysparm_fields", "").split(",") if name]
        readable = request.query_params.get("sysparm_display_value") == "true"
        shown = dict(self.records[sys_id])
        for journal in JOURNALS:
            # A journal is empty in a record unless display values are asked for.
            shown[journal] = self._journal(sys_id, journal) if readable else ""
        return {name: shown.get(name, "") for name in wanted} if wanted else shown

    def _journal(self, sys_id: str, name: str) -> str:
        label = {"work_notes": "Work notes", "comments": "Additional comments"}[name]
        entries = [entry for entry in reversed(self.journal.get(sys_id, [])) if entry.element == name]
        return "".join(f"{entry.at:%Y-%m-%d %H:%M:%S} - {entry.by} ({label})\n{entry.value}\n\n" for entry in entries)

    def _admit(self, request: Request) -> tuple[str | None, Response | None]:
        self.requests.append((request.method, request.url.path))
        user = self._user(request.headers.get("authorization", ""))
        if user is None:
            return None, _unauthenticated()
        if self.throttled:
            self.throttled -= 1
            return user, _throttled()
        return user, None

    def _user(self, authorization: str) -> str | None:
        kind, _, value = authorization.partition(" ")
        if kind == "Bearer":
            return self.oauth_user if value in self.tokens else None
        if kind != "Basic":
            return None
        try:
            name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return name if self.users.get(name) == password and password else None


def _failed(status: int, message: str, detail: str, **headers: str) -> Response:
    body = {"error": {"message": message, "detail": detail}, "status": "failure"}
    return JSONResponse(body, status, headers=headers)


def _unauthenticated() -> Response:
    challenge = {"WWW-Authenticate": 'Basic realm="Service-now"'}
    return _failed(401, "User Not Authenticated", "Required to provide Auth information", **challenge)


def _not_found() -> Response:
    return _failed(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")


def _throttled() -> Response:
    headers = {"Retry-After": "1", "X-RateLimit-Limit": "1", "X-RateLimit-Reset": "0", "X-RateLimit-Rule": "0" * 32}
    return _failed(429, "Rate limit exceeded", "The rule's limit of requests per hour is reached", **headers)


def _oauth_error(error: str) -> Response:
    return JSONResponse({"error_description": error, "error": "server_error"}, 401)
