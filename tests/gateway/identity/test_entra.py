"""Access tokens: which are believed and whom they prove, attacked as callers would."""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.errors import TokenRefused
from gateway.identity.entra import LEEWAY_SECONDS, EntraRules, EntraTokens
from tests.gateway.identity_provider import (
    APP,
    AUDIENCE,
    GROUP,
    OTHER_TENANT,
    TENANT,
    USER,
    HandClock,
    IdentityProvider,
    identity_provider,
    part,
    published,
    rsa_key,
    token_reader,
)

type Attack = Callable[[IdentityProvider], str]

SIGNED = "user_impersonation"


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with identity_provider() as provider:
        yield provider


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def tokens(provider: IdentityProvider, clock: HandClock) -> AsyncIterator[EntraTokens]:
    async with token_reader(provider, clock) as tokens:
        yield tokens


@pytest.mark.parametrize(
    ("claims", "identities"),
    [
        ({}, [f"azp:{APP}"]),
        ({"azp": None, "appid": APP}, [f"azp:{APP}"]),
        ({"azp": APP.upper(), "oid": USER, "roles": ["Caller"]}, [f"azp:{APP}", f"oid:{USER}", "role:Caller"]),
        ({"idtyp": "app", "scp": "odd"}, [f"azp:{APP}"]),
        ({"azp": None, "oid": USER}, [f"oid:{USER}"]),
        ({"azp": None, "groups": [GROUP, GROUP]}, [f"group:{GROUP}"]),
        ({"azp": None}, []),
        (
            {"scp": SIGNED, "oid": USER, "groups": [GROUP], "roles": ["Caller"], "azpacr": "1"},
            [f"oid:{USER}", f"group:{GROUP}", "role:Caller", f"azp:{APP}"],
        ),
        ({"scp": SIGNED, "oid": USER, "azpacr": "0"}, [f"oid:{USER}"]),
        ({"scp": SIGNED, "oid": USER, "azp": None, "appid": APP, "appidacr": "0"}, [f"oid:{USER}"]),
        ({"idtyp": "user", "oid": USER, "azpacr": "2"}, [f"oid:{USER}", f"azp:{APP}"]),
        ({"oid": USER, "_claim_names": {"groups": "src1"}, "hasgroups": True}, [f"azp:{APP}", f"oid:{USER}"]),
        ({"subscription": "team-a", "preferred_username": "boss@contoso.com"}, [f"azp:{APP}"]),
        ({"tid": None, "nbf": None}, [f"azp:{APP}"]),
    ],
)
async def test_whom_a_token_proves(
    provider: IdentityProvider, tokens: EntraTokens, claims: dict[str, Any], identities: list[str]
) -> None:
    """An app's token proves the app first, a user's the user first; other claims and display names prove nobody."""
    assert list(await tokens.identities(provider.token(**claims))) == identities


async def test_tokens_of_version_1(provider: IdentityProvider, tokens: EntraTokens) -> None:
    """Tokens that the same keys sign for the tenant's issuer of version 1.0 are believed; another tenant's are not."""
    good = provider.token(iss=f"https://sts.windows.net/{TENANT}/", azp=None, appid=APP, ver="1.0")
    assert await tokens.identities(good) == (f"azp:{APP}",)
    with pytest.raises(TokenRefused, match="issuer"):
        await tokens.identities(provider.token(iss=f"https://sts.windows.net/{OTHER_TENANT}/"))


def shared_secret(form: PublicFormat, encoding: Encoding) -> Attack:
    """Return an attack that takes the public key, as it is written in this form, for an HMAC's secret."""

    def attack(provider: IdentityProvider) -> str:
        secret = rsa_key("first").public_key().public_bytes(encoding, form)
        signed = f"{part({'alg': 'HS256', 'kid': 'first'})}.{part(provider.claims())}"
        return f"{signed}.{part(hmac.digest(secret, signed.encode(), hashlib.sha256))}"

    return attack


def with_header(**fields: Any) -> Attack:
    """Return an attack: signed by a key of the attacker's, which the header commends."""
    return lambda provider: provider.token(
        signed_by="evil", headers={n: v(provider) if callable(v) else v for n, v in fields.items()}
    )


def with_claims(**changes: Any) -> Attack:
    return lambda provider: provider.token(
        **{name: change() if callable(change) else change for name, change in changes.items()}
    )


def header_only(header: Any) -> Attack:
    """Return an attack: this header, true claims, the signature of a true token."""

    def attack(provider: IdentityProvider) -> str:
        _, claims, signature = provider.token().split(".")
        return f"{part(header)}.{claims}.{signature}"

    return attack


def tampered(provider: IdentityProvider) -> str:
    header, _, signature = provider.token().split(".")
    return f"{header}.{part(provider.claims(roles=['Admin']))}.{signature}"


def unsigned(provider: IdentityProvider) -> str:
    return f"{part({'alg': 'none', 'kid': 'first'})}.{part(provider.claims())}."


ATTACKS: dict[str, tuple[Attack, str]] = {
    "alg none": (unsigned, "RS256"),
    "alg None": (header_only({"alg": "None", "kid": "first"}), "RS256"),
    "alg empty": (header_only({"alg": "", "kid": "first"}), "RS256"),
    "alg missing": (header_only({"kid": "first"}), "header"),
    "alg a list": (header_only({"alg": ["RS256"], "kid": "first"}), "header"),
    "alg PS256": (
        lambda p: jwt.encode(p.claims(), rsa_key("first"), algorithm="PS256", headers={"kid": "first"}),
        "RS256",
    ),
    "HS256 with the public key as PEM": (shared_secret(PublicFormat.SubjectPublicKeyInfo, Encoding.PEM), "RS256"),
    "HS256 with the public key as DER": (shared_secret(PublicFormat.SubjectPublicKeyInfo, Encoding.DER), "RS256"),
    "HS256 with the public key as PKCS 1": (shared_secret(PublicFormat.PKCS1, Encoding.PEM), "RS256"),
    "another key under a known id": (lambda p: p.token(signed_by="evil"), "signature"),
    "stripped signature": (lambda p: p.token().rpartition(".")[0] + ".", "signature"),
    "signature cut short": (lambda p: p.token()[:-8], "signature"),
    "signature of another token": (
        lambda p: p.token().rpartition(".")[0] + "." + p.token(oid=USER).rpartition(".")[2],
        "signature",
    ),
    "tampered payload": (tampered, "signature"),
    "a byte more": (lambda p: p.token() + "A", "signature"),
    "junk in the signature": (lambda p: p.token() + "%%%%", "signature"),
    "critical extension": (lambda p: p.token(headers={"crit": ["odd"], "odd": 1}), "signature"),
    "detached payload": (lambda p: p.token(headers={"b64": False, "crit": ["b64"]}), "signature"),
    "jwk header": (with_header(jwk=published("evil")), "signature"),
    "jku header": (with_header(jku=lambda p: f"{p.url}/evil"), "signature"),
    "x5u header": (with_header(x5u=lambda p: f"{p.url}/evil"), "signature"),
    "x5c header": (with_header(x5c=["MIIB"]), "signature"),
    "wrong audience": (with_claims(aud="api://other"), "audience"),
    "audience with a tail": (with_claims(aud=AUDIENCE + "/"), "audience"),
    "several audiences": (with_claims(aud=["api://other", AUDIENCE]), "claims"),
    "no audience": (with_claims(aud=None), "claims"),
    "wrong issuer": (with_claims(iss="https://login.example.com/v2.0"), "issuer"),
    "issuer with a tail": (lambda p: p.token(iss=p.issuer + "/"), "issuer"),
    "no issuer": (with_claims(iss=None), "claims"),
    "wrong tenant": (with_claims(tid=OTHER_TENANT), "tenant"),
    "expired": (with_claims(exp=lambda: time.time() - LEEWAY_SECONDS - 5), "expired"),
    "expired for ages": (with_claims(exp=0), "expired"),
    "not yet valid": (with_claims(nbf=lambda: time.time() + LEEWAY_SECONDS + 5), "not valid yet"),
    "no expiry": (with_claims(exp=None), "claims"),
    "expiry that is no number": (with_claims(exp="never"), "claims"),
    "expiry that is true": (with_claims(exp=True), "claims"),
    "groups that are no list": (with_claims(groups=GROUP), "claims"),
    "ID token": (with_claims(nonce="n-0S6_WzA2Mj"), "ID token"),
    "no key id": (header_only({"alg": "RS256"}), "header"),
    "key id that is a number": (header_only({"alg": "RS256", "kid": 1}), "header"),
    "empty key id": (header_only({"alg": "RS256", "kid": ""}), "names no key"),
    "key id as path": (header_only({"alg": "RS256", "kid": "../../../dev/null"}), "does not publish"),
    "key id as URL": (header_only({"alg": "RS256", "kid": "http://127.0.0.1/evil"}), "does not publish"),
    "key id as SQL": (header_only({"alg": "RS256", "kid": "x' UNION SELECT 'secret"}), "does not publish"),
    "endless key id": (header_only({"alg": "RS256", "kid": "x" * 5000}), "names no key"),
    "header that is a list": (header_only(["RS256"]), "header"),
    "header without end": (header_only(b"[" * 9000), "header"),
    "header that is no JSON": (header_only(b"eyJ"), "header"),
    "header that is no base64": (lambda p: "eyJ%." + p.token().partition(".")[2], "header"),
    "characters of no alphabet": (lambda p: p.token().replace(".", ".\u00ff", 1), "signature"),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_attacks(provider: IdentityProvider, tokens: EntraTokens, name: str) -> None:
    """Each attack is refused for its own reason, leads to no further request, and leaves true tokens their worth."""
    attack, reason = ATTACKS[name]
    await tokens.identities(provider.token())
    with pytest.raises(TokenRefused, match=reason):
        await tokens.identities(attack(provider))
    with pytest.raises(TokenRefused):
        await tokens.identities(attack(provider))
    assert provider.fetches == 1
    assert "/evil" not in provider.paths
    assert await tokens.identities(provider.token()) == (f"azp:{APP}",)


async def test_claims_beside_the_token_prove_nothing(provider: IdentityProvider, tokens: EntraTokens) -> None:
    """Claims in the token's own header, which no provider puts there, are not read."""
    token = provider.token(headers={"azp": "somebody-else", "roles": ["Admin"], "subscription": "team-a"})
    assert await tokens.identities(token) == (f"azp:{APP}",)


async def test_a_remembered_token_ends_with_its_time(
    provider: IdentityProvider, tokens: EntraTokens, clock: HandClock
) -> None:
    """What was believed once is refused a minute after its expiry."""
    token = provider.token()
    clock.passed = 3600
    assert await tokens.identities(token)
    clock.passed = 3600 + LEEWAY_SECONDS + 1
    with pytest.raises(TokenRefused, match="expired"):
        await tokens.identities(token)


async def test_what_is_remembered_is_bounded(provider: IdentityProvider, clock: HandClock) -> None:
    """Only so many tokens are remembered, those in use the longest, and none that was refused."""
    async with token_reader(provider, clock, most_kept=3) as tokens:
        hot = provider.token(oid="hot")
        for number in range(9):
            assert await tokens.identities(hot)
            assert await tokens.identities(provider.token(oid=str(number)))
            with pytest.raises(TokenRefused):
                await tokens.identities(provider.token(oid=str(number), signed_by="evil"))
        assert len(tokens._kept) == 3
        assert hashlib.sha256(hot.encode()).digest() in tokens._kept


async def test_a_remembered_token_costs_no_check(
    provider: IdentityProvider, tokens: EntraTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature of a token is checked once, however often it comes."""
    token = provider.token()
    first = await tokens.identities(token)
    monkeypatch.setattr(tokens, "_signatures", None)
    assert await tokens.identities(token) == first


@pytest.mark.parametrize(
    ("claims", "more"),
    [
        ({}, False),
        ({"groups": [GROUP]}, False),
        ({"hasgroups": True}, True),
        ({"hasgroups": "true"}, True),
        ({"hasgroups": False}, False),
        ({"hasgroups": {"odd": []}}, False),
        ({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}}, True),
        ({"_claim_names": {"other": "src1"}}, False),
        ({"_claim_names": ["groups"]}, False),
    ],
)
async def test_too_many_groups_to_name(
    provider: IdentityProvider, tokens: EntraTokens, claims: dict[str, Any], *, more: bool
) -> None:
    """A token that refers to its groups proves none of them, and it is known that it does."""
    token = provider.token(**claims)
    assert not tokens.more_groups(token)
    await tokens.identities(token)
    assert tokens.more_groups(token) is more


async def test_many_groups(provider: IdentityProvider, tokens: EntraTokens) -> None:
    """A token with as many groups as Entra ID names proves all of them; beyond a bound the rest is left out."""
    groups = [f"group-{number}" for number in range(300)]
    assert len(await tokens.identities(provider.token(groups=groups[:200]))) == 201
    assert len(await tokens.identities(provider.token(groups=groups))) == 256


@pytest.mark.parametrize(
    ("authority", "tenant", "audience", "problem"),
    [
        ("http://login.example.com", TENANT, AUDIENCE, "loopback"),
        ("ftp://127.0.0.1", TENANT, AUDIENCE, "https"),
        ("https://user:secret@login.example.com", TENANT, AUDIENCE, "https"),
        ("http://127.0.0.1@example.com", TENANT, AUDIENCE, "loopback"),
        ("https://login.example.com", "contoso.onmicrosoft.com", AUDIENCE, "domain"),
        ("https://login.example.com", "common", AUDIENCE, "one tenant"),
        ("https://login.example.com", "../other", AUDIENCE, "one tenant"),
        ("https://login.example.com", TENANT, " , ", "no audience"),
    ],
)
def test_settings_that_cannot_be(authority: str, tenant: str, audience: str, problem: str) -> None:
    """A login host without TLS, a tenant that is no single one and an empty audience are refused at the start."""
    with pytest.raises(ValueError, match=problem):
        EntraRules.of(authority, tenant, audience)


def test_settings_as_people_write_them() -> None:
    """A slash at the authority's end, upper case in the id, and several audiences mean what they seem to."""
    rules = EntraRules.of("https://login.example.com/", TENANT.upper(), f"{AUDIENCE}, {APP}")
    assert rules == EntraRules("https://login.example.com", TENANT, frozenset({AUDIENCE, APP}))


def test_tokens_are_as_the_tests_mean_them() -> None:
    """The helper that forges tokens writes what a true one would have."""
    assert json.loads(jwt.utils.base64url_decode(part({"alg": "RS256"}))) == {"alg": "RS256"}
