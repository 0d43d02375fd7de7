"""What callbacks prove themselves with, out of the operator's settings."""

import pytest
from pydantic import ValidationError

from enrichment.jobs.credentials import Auth, Credentials
from enrichment.jobs.destinations import DestinationRefused, Destinations, Place
from tests.clocks import HandClock
from tests.enrichment.jobs.parts import Network

PLACE = Place.of("sn.example.com")


def credentials(value: str, hosts: str = "sn.example.com") -> Credentials:
    destinations = Destinations.of(hosts, "*:NAME@sn.example.com", {"NAME": value}.get)
    return Credentials(destinations, Network(), HandClock())


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("k-1", ("x-api-key", "k-1")),
        ("x-sn-apikey: now_123", ("x-sn-apikey", "now_123")),
        ("Authorization: Token abc", ("authorization", "Token abc")),
    ],
)
async def test_api_keys(value: str, header: tuple[str, str]) -> None:
    """An API key is sent in the header that its setting names, in x-api-key where it names none."""
    auth = Auth(kind="api-key", secret="setting:NAME")
    made = credentials(value)
    made.check("team-a", auth, PLACE)
    assert await made.headers("team-a", auth, PLACE) == dict([header])


@pytest.mark.parametrize("value", ["k\r\nx-injected: 1", "\u00fc", "x-key: a\nb"])
def test_keys_that_fit_into_no_header(value: str) -> None:
    """A setting that would break the request is refused, and not repeated."""
    with pytest.raises(DestinationRefused) as refused:
        credentials(value).check("team-a", Auth(kind="api-key", secret="setting:NAME"), PLACE)
    assert value not in str(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        "not-json-secret",
        "{}",
        '{"token_url": "http://sn.example.com/t", "client_id": "c", "client_secret": "hidden"}',
        '{"token_url": "https://evil.example.net/t", "client_id": "c", "client_secret": "hidden"}',
        '{"token_url": "file:///etc/passwd", "client_id": "c", "client_secret": "hidden"}',
    ],
)
def test_token_endpoints_that_are_none(value: str) -> None:
    """A client's setting that is not whole, or whose endpoint may not be called, is refused and not repeated."""
    with pytest.raises(DestinationRefused) as refused:
        credentials(value).check("team-a", Auth(kind="oauth2", secret="setting:NAME"), PLACE)
    assert "hidden" not in str(refused.value)
    assert "secret" not in str(refused.value).replace("client_secret", "")


@pytest.mark.parametrize(
    "auth",
    [
        {"kind": "none", "secret": "setting:NAME"},
        {"kind": "basic"},
        {"kind": "basic", "secret": "NAME"},
        {"kind": "basic", "secret": "setting:"},
        {"kind": "basic", "secret": "setting:A B"},
        {"kind": "digest", "secret": "setting:NAME"},
    ],
)
def test_what_is_no_auth(auth: dict[str, str]) -> None:
    """A secret is named by its setting, where there is one to be sent and nowhere else."""
    with pytest.raises(ValidationError):
        Auth.model_validate(auth)
