"""Where callbacks may go, and with which secrets: the operator's lists, and what a URL must look like.

A caller chooses the URL, so it is data: one shape is taken, everything else is refused before any parser could read it
in two ways. `HOST` below is a name as the setting CALLBACK_HOSTS lists it; its address is checked as it is connected
to, see `outbound`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Self

LONGEST_URL: Final = 2000

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<rest>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?)?"
)
_NAME: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")
"""A last label of this shape makes a host an IPv4 address to some parser (WHATWG URL, "ends in a number")."""

_SECRET: Final = re.compile(r"(?P<subscription>\*|[A-Za-z0-9][A-Za-z0-9._-]{0,63}):(?P<name>\w+)@(?P<host>[^@\s]+)")
_LOOPBACK: Final = ("localhost", "127.0.0.1")


class DestinationRefused(Exception):
    """A callback that may not be sent; the message says why and what would help, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Place:
    """A host that may be called. `name` may be `*.example.com`, which is every name below example.com."""

    scheme: str
    name: str
    port: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Read `HOST`, `HOST:PORT`, `*.HOST` or, on this machine alone, `http://127.0.0.1:PORT`. Raises ValueError."""
        wildcard = "*." if text.startswith("*.") else ""
        url = text if "://" in text else f"https://{text.removeprefix('*.')}"
        match = _URL.fullmatch(url)
        if match is None or match["rest"]:
            raise ValueError(f"{text!r} is not HOST, HOST:PORT or *.HOST")
        place = cls._matched(match)
        if place.scheme == "http" and place.name not in _LOOPBACK:
            raise ValueError(f"{text!r}: http is for localhost and 127.0.0.1 alone")
        if place.scheme == "https" and _numeric(place.name):
            raise ValueError(f"{text!r} is an address; a certificate is for a name")
        return cls(place.scheme, wildcard + place.name, place.port)

    @classmethod
    def of_url(cls, url: str) -> Self:
        """Return where a URL leads. Raises DestinationRefused for one that is not of the one shape."""
        match = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
        if match is None:
            raise DestinationRefused(
                "The callback's URL is not https://HOST[:PORT]/PATH[?QUERY] of plain ASCII, without user and fragment."
            )
        return cls._matched(match)

    @classmethod
    def _matched(cls, match: re.Match[str]) -> Self:
        name, scheme = match["host"].lower(), match["scheme"]
        port = int(match["port"] or (443 if scheme == "https" else 80))
        if not _NAME.fullmatch(name) or port > 65535:
            raise DestinationRefused("The callback's URL names no host and port that can be.")
        return cls(scheme, name, port)

    @property
    def loopback(self) -> bool:
        return self.scheme == "http"

    def covers(self, other: "Place") -> bool:
        if (self.scheme, self.port) != (other.scheme, other.port):
            return False
        if self.name.startswith("*."):
            return other.name.endswith(self.name[1:])
        return self.name == other.name


@dataclass(frozen=True, slots=True)
class _Grant:
    subscription: str
    name: str
    place: Place


def _unset(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Destinations:
    """The places that callbacks may go to, and who may send which secret where.

    `setting` looks up an app setting by its name. Without any place no callback is taken.
    """

    places: tuple[Place, ...] = ()
    grants: tuple[_Grant, ...] = ()
    setting: Callable[[str], str | None] = field(default=_unset, repr=False)

    @classmethod
    def of(cls, hosts: str, secrets: str, setting: Callable[[str], str | None]) -> Self:
        """Read the settings CALLBACK_HOSTS (`HOST, ...`) and CALLBACK_SECRETS (`SUBSCRIPTION:NAME@HOST, ...`).

        Raises ValueError, whose message names the entry that cannot be read.
        """
        try:
            return cls(tuple(map(Place.of, _entries(hosts))), tuple(map(_grant, _entries(secrets))), setting)
        except DestinationRefused as error:
            raise ValueError(str(error)) from error

    @property
    def loopback(self) -> bool:
        """Tell whether a list names this machine, as only tests and demos do."""
        return any(place.loopback for place in (*self.places, *(grant.place for grant in self.grants)))

    def check(self, url: str) -> Place:
        """Return where the URL leads. Raises DestinationRefused where that is not on the list."""
        place = Place.of_url(url)
        if not any(allowed.covers(place) for allowed in self.places):
            raise DestinationRefused(
                f"The callback's host {place.scheme}://{place.name}:{place.port} is not among those that the operator "
                "allows (CALLBACK_HOSTS)."
            )
        return place

    def secret(self, subscription: str, reference: str, place: Place) -> str:
        """Return the value of `setting:NAME`. Raises DestinationRefused where it may not go there, or is not set."""
        name = reference.removeprefix("setting:")
        granted = any(
            grant.name == name and grant.subscription in ("*", subscription) and grant.place.covers(place)
            for grant in self.grants
        )
        if not granted:
            raise DestinationRefused(
                f"Subscription {subscription} may not send the setting {name} to {place.name}: the operator grants "
                "that by CALLBACK_SECRETS."
            )
        value = self.setting(name)
        if not value:
            raise DestinationRefused(f"The setting {name}, which the callback names, is not set.")
        return value


def _grant(text: str) -> _Grant:
    match = _SECRET.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not SUBSCRIPTION:NAME@HOST")
    return _Grant(match["subscription"], match["name"], Place.of(match["host"]))


def _entries(text: str) -> Iterable[str]:
    return (entry.strip() for entry in text.split(",") if entry.strip())


def _numeric(name: str) -> bool:
    return _NUMBER.fullmatch(name.rpartition(".")[2]) is not None
