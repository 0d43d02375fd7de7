"""Reads what an identity provider publishes: its discovery document and its signing keys (RFC 7517). No I/O.

Of the keys only those are taken that may sign an access token for this tenant by RS256: RSA, 2048 bits or more, not
meant for encryption, and, where Entra ID says whose tokens a key signs (`issuer`, with `{tenantid}` in it), this
tenant's. The shape is that of https://learn.microsoft.com/entra/identity-platform/signing-key-rollover.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

SHORTEST_KEY = 2048
LONGEST_KEY = 8192
"""Bits; verifying takes longer the longer the key is."""

MOST_KEYS = 100
LONGEST_KEY_ID = 256

_URL = re.compile(
    r"(?:https://(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*)|http://(?:127\.0\.0\.1|localhost|\[::1\]))"
    r"(?::[0-9]{1,5})?(?:/[!-~]*)?",
    re.IGNORECASE,
)


class KeysUnreadable(Exception):
    """What came is no discovery document, or holds no key that could be used."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """`issuer` stands in the tokens; `keys_url` is where the keys are."""

    issuer: str
    keys_url: str


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct):
    keys: list[msgspec.Raw]


class _Key(msgspec.Struct):
    kid: str
    n: str
    e: str
    kty: str
    use: str = "sig"
    alg: str = "RS256"
    issuer: str = ""


def check_url(url: str) -> str:
    """Return the URL without a slash at its end. Raises ValueError but for https, or http on loopback."""
    if not _URL.fullmatch(url):
        raise ValueError("must begin with https:// and a host; http:// is for loopback only")
    return url.removesuffix("/")


def read_discovery(body: bytes, tenant: str) -> Discovery:
    """Return what the tenant's discovery document says. Raises KeysUnreadable, too where it is another tenant's."""
    try:
        document = msgspec.json.decode(body, type=_Discovery)
        check_url(document.jwks_uri)
    except (ValueError, RecursionError) as error:
        raise KeysUnreadable(f"the discovery document cannot be used: {error}") from error
    if tenant not in document.issuer.lower():
        raise KeysUnreadable("the discovery document's issuer names another tenant")
    return Discovery(document.issuer, document.jwks_uri)


def read_keys(body: bytes, tenant: str, issuers: Collection[str]) -> Mapping[str, RSAPublicKey]:
    """Return the keys that sign tokens of these issuers, by key id. Raises KeysUnreadable where there is none."""
    try:
        published = msgspec.json.decode(body, type=_KeySet).keys
    except (ValueError, RecursionError) as error:
        raise KeysUnreadable(f"the key set cannot be used: {error}") from error
    keys: dict[str, RSAPublicKey] = {}
    for raw in published[:MOST_KEYS]:
        # One key of a kind that is not known here must not take the others along.
        try:
            key = msgspec.json.decode(raw, type=_Key)
        except (ValueError, RecursionError):
            continue
        public = _public(key) if _serves(key, tenant, issuers) else None
        if public is not None:
            keys[key.kid] = public
    if not keys:
        raise KeysUnreadable("the key set holds no RSA signing key of this tenant")
    return keys


def _serves(key: _Key, tenant: str, issuers: Collection[str]) -> bool:
    if (key.kty, key.use, key.alg) != ("RSA", "sig", "RS256") or not 0 < len(key.kid) <= LONGEST_KEY_ID:
        return False
    return not key.issuer or key.issuer.replace("{tenantid}", tenant) in issuers


def _public(key: _Key) -> RSAPublicKey | None:
    try:
        public = jwt.PyJWK({"kty": "RSA", "n": key.n, "e": key.e}, algorithm="RS256").key
    except (jwt.PyJWTError, ValueError):
        return None
    good = isinstance(public, RSAPublicKey) and SHORTEST_KEY <= public.key_size <= LONGEST_KEY
    return public if good else None
