"""A running Tollgate's management API, as the command line calls it."""

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Self
from urllib.parse import quote

import httpx2

TIMEOUT_SECONDS: Final = 35.0
"""Longer than the gateway takes for a change."""

PAGE: Final = 500

type Json = dict[str, Any]


class ApiError(Exception):
    """The message is for a person; `exit_code` for a shell."""

    exit_code = 1


class Refused(ApiError):
    """Tollgate answered with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.exit_code = 3 if status >= 500 or status == 429 else 1


class Unreachable(ApiError):
    exit_code = 3


class WrongUrl(ApiError):
    exit_code = 2


class ManagementApi:
    """`url` is Tollgate's address; `key` an operator's. Every method raises Refused and Unreachable."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx2.Client(
            base_url=_checked(url), headers={"api-key": key}, timeout=TIMEOUT_SECONDS, follow_redirects=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def subscriptions(self, after: str = "") -> Iterator[Json]:
        """Yield all subscriptions whose names come after this one, in order."""
        place: str | None = after
        while place is not None:
            page = self._json({"subscriptions", "next"}, "GET", f"{_PATH}?limit={PAGE}&after={quote(place)}")
            yield from page["subscriptions"]
            place = page["next"]

    def show(self, name: str) -> Json:
        return self._json(_SHOWN, "GET", _path(name))

    def create(self, fields: Mapping[str, Any]) -> Json:
        """Return the subscription with `keys`: nobody can show them again."""
        return self._json(_SHOWN | {"keys"}, "POST", _PATH, fields)

    def change(self, name: str, patch: Mapping[str, Any]) -> Json:
        """Change fields by a JSON merge patch."""
        return self._json(_SHOWN, "PATCH", _path(name), patch)

    def rotate(self, name: str, slot: str) -> Json:
        return self._json({"keys"}, "POST", f"{_path(name)}/keys/{slot}")

    def revoke(self, name: str) -> None:
        self._answer("DELETE", _path(name))

    def _json(self, fields: Collection[str], method: str, path: str, body: Mapping[str, Any] | None = None) -> Json:
        answer = self._answer(method, path, body)
        try:
            content: Any = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, dict) or not all(field in content for field in fields):
            raise Unreachable(f"{self._http.base_url} answered with something else: is this Tollgate?")
        return content

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx2.TimeoutException as error:
            raise Unreachable(f"{self._http.base_url} did not answer within {TIMEOUT_SECONDS:g} s.") from error
        except httpx2.HTTPError as error:
            raise Unreachable(f"{self._http.base_url} cannot be reached: {error}") from error
        if answer.is_success:
            return answer
        raise _refused(answer)


_PATH: Final = "/manage/subscriptions"
_SHOWN: Final = frozenset({"name", "source", "cost_centre", "deployments", "limits", "quota", "budget"})


def _path(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='')}"


def _refused(answer: httpx2.Response) -> Refused:
    try:
        error = answer.json()["error"]
        return Refused(answer.status_code, str(error["code"]), str(error["message"]))
    except (ValueError, KeyError, TypeError):
        return Refused(answer.status_code, "", f"HTTP {answer.status_code} without a reason: is this Tollgate?")


def _checked(url: str) -> str:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise WrongUrl(f"{url} is no address: {error}") from error
    if parsed.scheme == "https" and parsed.host:
        return url
    if parsed.scheme == "http" and _loopback(parsed.host):
        return url
    raise WrongUrl(f"{url} is not an address that an operator key may go to: use https://, or http:// on this machine.")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
