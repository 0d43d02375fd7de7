"""Access tokens of Entra ID as callers' credentials: which are believed, and whom they prove.

A token is believed if it is signed by RS256 with a key that the tenant publishes, has one of the tenant's issuers and
exactly an audience of ours, has begun and has not ended (a minute of grace each way), and is the tenant's. Nothing
else in it or beside it counts: keys that a token brings along (`jwk`, `jku`, `x5u`, `x5c`) are not looked at.

Checking costs 40 microseconds for a forged token and 150 for a true one of 2 kB, and is done where the request is: too
short to be worth a thread. It is done once a token: until it ends, its SHA-256 stands for it, as long as its key is
published.
"""

import base64
import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm

from gateway.errors import TokenRefused
from gateway.identity.jwks import LONGEST_KEY_ID, check_url
from gateway.identity.key_ring import KeyRing
from seams.clock import Clock

LEEWAY_SECONDS = 60
"""By how much the identity provider's clock and ours may differ."""

MOST_KEPT = 4096
"""Tokens whose check is remembered; the one unused for longest goes first."""

MOST_IDENTITIES = 256
"""Of one token: Entra ID names at most 200 groups in one."""

ALGORITHM = "RS256"
NO_TENANTS = frozenset({"common", "organizations", "consumers"})


@dataclass(frozen=True, slots=True)
class EntraRules:
    """Raises ValueError where these cannot be the settings of one tenant."""

    authority: str
    tenant: str
    audiences: frozenset[str]

    @classmethod
    def of(cls, authority: str, tenant: str, audiences: str) -> "EntraRules":
        """Return the rules that the settings make; `audiences` are separated by commas."""
        tenant = tenant.lower()
        if not re.fullmatch(r"[a-z0-9-]{1,64}", tenant) or tenant in NO_TENANTS:
            raise ValueError("ENTRA_TENANT_ID must be the id of one tenant, not a domain and not common")
        named = frozenset(filter(None, (each.strip() for each in audiences.split(","))))
        if not named:
            raise ValueError("ENTRA_AUDIENCE names no audience")
        try:
            return cls(check_url(authority), tenant, named)
        except ValueError as error:
            raise ValueError(f"ENTRA_AUTHORITY {error}") from error


class _Header(msgspec.Struct):
    alg: str
    kid: str


class _Claims(msgspec.Struct):
    """What counts of a token; exp and nbf in seconds since 1970. Names and meanings as Entra ID's claims reference."""

    iss: str
    aud: str
    exp: int | float
    nbf: int | float = 0
    tid: str = ""
    azp: str = ""
    appid: str = ""
    azpacr: str = ""
    appidacr: str = ""
    idtyp: str = ""
    scp: str = ""
    oid: str = ""
    groups: list[str] = []
    roles: list[str] = []
    hasgroups: object = None
    claim_names: object = msgspec.field(default=None, name="_claim_names")
    nonce: object = None
    at_hash: object = None
    c_hash: object = None


@dataclass(frozen=True, slots=True)
class _Checked:
    """`until` in seconds since 1970; `more_groups`: its user is in more groups than it holds."""

    identities: tuple[str, ...]
    more_groups: bool
    until: float
    key_id: str
    key: RSAPublicKey


_RS256 = RSAAlgorithm(RSAAlgorithm.SHA256)
_decode_header = msgspec.json.Decoder(_Header).decode
_decode_claims = msgspec.json.Decoder(_Claims).decode


class EntraTokens:
    """A TokenReader for one tenant."""

    def __init__(self, rules: EntraRules, keys: KeyRing, clock: Clock, *, most_kept: int = MOST_KEPT) -> None:
        self._rules = rules
        self._keys = keys
        self._clock = clock
        self._most_kept = most_kept
        self._kept: OrderedDict[bytes, _Checked] = OrderedDict()
        self._signatures = jwt.PyJWS(algorithms=[ALGORITHM])

    async def identities(self, token: str) -> tuple[str, ...]:
        """See TokenReader. Raises TokenRefused, and IdentityUnavailable where there are no keys to check it with."""
        digest = hashlib.sha256(token.encode()).digest()
        kept = self._kept.get(digest)
        if kept is not None:
            if self._clock.now().timestamp() < kept.until and self._keys.known(kept.key_id) is kept.key:
                self._kept.move_to_end(digest)
                return kept.identities
            del self._kept[digest]
        checked = await self._check(token)
        self._kept[digest] = checked
        if len(self._kept) > self._most_kept:
            self._kept.popitem(last=False)
        return checked.identities

    def more_groups(self, token: str) -> bool:
        """See TokenReader."""
        kept = self._kept.get(hashlib.sha256(token.encode()).digest())
        return kept is not None and kept.more_groups

    async def _check(self, token: str) -> _Checked:
        header = _header(token)
        key = await self._keys.key(header.kid)
        _check_signature(token, key)
        try:
            claims = _decode_claims(self._signatures.decode(token, key, algorithms=[ALGORITHM]))
        except jwt.PyJWTError as error:
            raise TokenRefused("its signature is not valid") from error
        except (ValueError, RecursionError) as error:
            raise TokenRefused("its claims are not those of an access token") from error
        self._judge(claims)
        return _Checked(_identities(claims), _more_groups(claims), claims.exp + LEEWAY_SECONDS, header.kid, key)

    def _judge(self, claims: _Claims) -> None:
        now = self._clock.now().timestamp()
        if claims.iss not in self._keys.issuers:
            raise TokenRefused("its issuer is not the gateway's tenant")
        # The issuer names the tenant already; a claim that contradicts it is refused all the same.
        if claims.tid and claims.tid.lower() != self._rules.tenant:
            raise TokenRefused("it is another tenant's")
        if claims.aud not in self._rules.audiences:
            raise TokenRefused("its audience is not the gateway")
        if now >= claims.exp + LEEWAY_SECONDS:
            raise TokenRefused("it has expired")
        if now < claims.nbf - LEEWAY_SECONDS:
            raise TokenRefused("it is not valid yet")
        # OpenID Connect Core 1.0, 2 and 3.3.2.11: claims that ID tokens have. Those tell a client who signed in; where
        # client and API share a registration, their audience would pass.
        if any(claim is not None for claim in (claims.nonce, claims.at_hash, claims.c_hash)):
            raise TokenRefused("it is an ID token; send an access token")


def _header(token: str) -> _Header:
    """Return the header, to find the key with. Raises TokenRefused, before anything that takes time."""
    part = token.partition(".")[0]
    try:
        header = _decode_header(_decoded(part))
    except (ValueError, RecursionError) as error:
        raise TokenRefused("its header cannot be read, or names no key") from error
    if header.alg != ALGORITHM:
        raise TokenRefused("it is not signed by RS256")
    if not 0 < len(header.kid) <= LONGEST_KEY_ID:
        raise TokenRefused("its header names no key")
    return header


def _check_signature(token: str, key: RSAPublicKey) -> None:
    """Refuse a forged token in some 40 microseconds. PyJWT judges the others, and reads every character for it."""
    signed, _, signature = token.rpartition(".")
    try:
        good = _RS256.verify(signed.encode(), key, _decoded(signature))
    except ValueError as error:
        raise TokenRefused("its signature cannot be read") from error
    if not good:
        raise TokenRefused("its signature is not valid")


def _decoded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def _identities(claims: _Claims) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_strongest_first(claims)))[:MOST_IDENTITIES]


def _more_groups(claims: _Claims) -> bool:
    """Tell whether the token refers to its groups instead of naming them.

    Entra ID does so above 200 (Access token claims reference, "Groups overage claim"): by `_claim_names`, or in the
    implicit flow by `hasgroups`.
    """
    named = claims.claim_names
    return claims.hasgroups is True or claims.hasgroups == "true" or (isinstance(named, dict) and "groups" in named)


def _strongest_first(claims: _Claims) -> Iterator[str]:
    """Yield what the token proves.

    Of an app's own token (`idtyp` is app, or no `scp`) the app comes first. Of a user's token, the app comes last: that
    the user came through it says least, and nothing where the app is a public one, which anybody can say to be
    (`azpacr` or `appidacr` is 0).
    """
    app = claims.azp or claims.appid
    app_only = claims.idtyp == "app" or (not claims.idtyp and not claims.scp)
    if app and app_only:
        yield f"azp:{app.lower()}"
    if claims.oid:
        yield f"oid:{claims.oid.lower()}"
    yield from (f"group:{group.lower()}" for group in claims.groups)
    yield from (f"role:{role}" for role in claims.roles)
    if app and not app_only and "0" not in {claims.azpacr, claims.appidacr}:
        yield f"azp:{app.lower()}"
