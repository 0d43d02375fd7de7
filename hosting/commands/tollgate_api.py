"""A running Tollgate over HTTP, as the command line calls it."""

import ipaddress
from collections.abc import Collection, Mapping
from typing import Any, Final, Self

import httpx2

TIMEOUT_SECONDS: Final = 35.0
"""Longer than Tollgate takes for a change."""

type Json = dict[str, Any]


class ApiError(Exception):
    """The message is for a person; `exit_code` for a shell."""

    exit_code = 1


class Refused(ApiError):
    """Tollgate answered with an error. `retry_after`: seconds after which to come back, None where it does not say."""

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.exit_code = 3 if status >= 500 or status == 429 else 1


class Unreachable(ApiError):
    exit_code = 3


class WrongUrl(ApiError):
    exit_code = 2


class TollgateApi:
    """`url` is Tollgate's address; `key` an operator's or a subscription's.

    Every method raises Refused and Unreachable.
    """

    def __init__(self, url: str, key: str, timeout: float = TIMEOUT_SECONDS) -> None:
        self._timeout = timeout
        self._http = httpx2.Client(
            base_url=_checked(url), headers={"api-key": key}, timeout=timeout, follow_redirects=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def json(
        self,
        fields: Collection[str],
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content: bytes | None = None,
    ) -> Json:
        """Return the answer's JSON object, which has these fields; sends `body` as JSON, or `content` as it is."""
        answer = self.answer(method, path, body, content)
        try:
            found: Any = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(field in found for field in fields):
            raise Unreachable(f"{self._http.base_url} answered with something else: is this Tollgate?")
        return found

    def answer(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, json=body, content=content, headers=headers)
        except httpx2.TimeoutException as error:
            raise Unreachable(f"{self._http.base_url} did not answer within {self._timeout:g} s.") from error
        except httpx2.HTTPError as error:
            raise Unreachable(f"{self._http.base_url} cannot be reached: {error}") from error
        if answer.is_success:
            return answer
        raise _refused(answer)


def _refused(answer: httpx2.Response) -> Refused:
    try:
        error = answer.json()["error"]
        return Refused(answer.status_code, str(error["code"]), str(error["message"]), _retry_after(answer))
    except (ValueError, KeyError, TypeError):
        return Refused(answer.status_code, "", f"HTTP {answer.status_code} without a reason: is this Tollgate?")


def _retry_after(answer: httpx2.Response) -> float | None:
    given = answer.headers.get("retry-after", "")
    return float(given) if given.isdecimal() else None


def _checked(url: str) -> str:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise WrongUrl(f"{url} is no address: {error}") from error
    if parsed.scheme == "https" and parsed.host:
        return url
    if parsed.scheme == "http" and _loopback(parsed.host):
        return url
    raise WrongUrl(f"{url} is not an address that a key may go to: use https://, or http:// on this machine.")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
