"""What of an identity provider's documents is believed."""

import json
from typing import Any

import pytest

from gateway.identity.jwks import MOST_KEYS, KeysUnreadable, check_url, read_discovery, read_keys
from tests.gateway.identity_provider import OTHER_TENANT, TENANT, published

ISSUER = f"https://login.example.com/{TENANT}/v2.0"
TEMPLATE = "https://login.example.com/{tenantid}/v2.0"


def key_set(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize("issuer", [TEMPLATE, ISSUER, ""])
def test_keys_of_the_tenant(issuer: str) -> None:
    """A key serves where it says that it is the tenant's, by name or by the template for all, or says nothing."""
    assert list(read_keys(key_set(published("first", issuer=issuer)), TENANT, {ISSUER})) == ["first"]


@pytest.mark.parametrize(
    "key",
    [
        published("first", issuer=f"https://login.example.com/{OTHER_TENANT}/v2.0"),
        published("first", use="enc"),
        published("first", alg="RS512"),
        published("first", kty="oct", k="c2VjcmV0"),
        published("first", kid=""),
        published("first", kid="x" * 1000),
        published("first", kid=7),
        published("first", n="!"),
        published("first", n=""),
        published("first", e="AA"),
        published("weak"),
        {"kty": "EC", "crv": "P-256", "kid": "first", "x": "AA", "y": "AA"},
        "no key",
        None,
    ],
)
def test_keys_that_do_not_serve(key: Any) -> None:
    """Others' keys, keys for other ends, weak and broken ones are passed over; the rest of the set serves."""
    with pytest.raises(KeysUnreadable, match="no RSA signing key"):
        read_keys(key_set(key), TENANT, {ISSUER})
    assert list(read_keys(key_set(key, published("second")), TENANT, {ISSUER})) == ["second"]


def test_endless_key_sets() -> None:
    """Only the first keys of a set are looked at."""
    with pytest.raises(KeysUnreadable):
        read_keys(key_set(*[{"kty": "EC"}] * MOST_KEYS, published("first")), TENANT, {ISSUER})


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": null}', b"\xff", b"[" * 100_000])
def test_what_is_no_key_set(body: bytes) -> None:
    """Anything but a JSON object with a list of keys is refused."""
    with pytest.raises(KeysUnreadable):
        read_keys(body, TENANT, {ISSUER})


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": f"https://login.example.com/{OTHER_TENANT}/v2.0"},
        {"issuer": TEMPLATE},
        {"issuer": None},
        {"jwks_uri": "http://login.example.com/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://login.example.com/keys\r\nHost: inside"},
        {"jwks_uri": None},
    ],
)
def test_discovery_documents_that_lead_astray(changes: dict[str, Any]) -> None:
    """Another tenant's document, and keys that would come over an open line, are refused."""
    document = {"issuer": ISSUER, "jwks_uri": "https://login.example.com/keys"}
    assert read_discovery(json.dumps(document).encode(), TENANT).keys_url == "https://login.example.com/keys"
    with pytest.raises(KeysUnreadable):
        read_discovery(json.dumps(document | changes).encode(), TENANT)


@pytest.mark.parametrize("url", ["https://login.example.com", "http://127.0.0.1:7/x", "http://[::1]", "HTTPS://A.b/"])
def test_urls_that_serve(url: str) -> None:
    """TLS anywhere, plain HTTP on loopback alone."""
    assert check_url(url) == url.removesuffix("/")
