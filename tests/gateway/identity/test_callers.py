"""Who is calling: which header counts, what a key may look like, and that no key is told to anyone."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.catalog_file import load_catalog
from gateway.errors import Forbidden, TokenRefused, Unauthenticated
from gateway.identity.callers import LONGEST_KEY, Caller, Callers
from gateway.subscriptions.catalog_directory import CatalogDirectory
from tests.gateway.catalogs import OPERATOR_KEY, UPSTREAM_KEY, catalog_of, key_hash

A, A2, B = "sk-team-a", "sk-team-a-2", "sk-team-b"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiJhIn0.c2lnbmF0dXJl"
CATALOG = {
    "backends": {"b": {"endpoint": "https://b.example", "auth": {"api_key": "setting:UPSTREAM_KEY"}}},
    "deployments": {"d": {"model": "gpt-4o", "pool": [{"backend": "b"}]}},
    "subscriptions": {
        "team-a": {"key_hashes": [key_hash(A), key_hash(A2)], "identities": ["oid:a"]},
        "team-b": {"key_hashes": [key_hash(B)]},
    },
}

type Headers = list[tuple[bytes, bytes]]


class Proven:
    """A token reader that believes every token."""

    def __init__(self, *identities: str) -> None:
        self._identities = identities

    async def identities(self, token: str) -> Sequence[str]:
        return self._identities

    def more_groups(self, token: str) -> bool:
        return False


def callers(tokens: Proven | None = None) -> Callers:
    catalog = load_catalog(json.dumps(catalog_of({}, **CATALOG)), {"UPSTREAM_KEY": UPSTREAM_KEY}.get)
    return Callers(CatalogDirectory(catalog), tokens)


async def name(headers: Headers) -> str:
    return (await callers().identify(headers)).entitlement().name


@pytest.mark.parametrize("key", [A, A2])
@pytest.mark.parametrize(
    ("header", "scheme"),
    [
        (b"ocp-apim-subscription-key", ""),
        (b"api-key", ""),
        (b"authorization", "Bearer "),
        (b"authorization", "bearer "),
        (b"authorization", "BEARER   "),
    ],
)
async def test_each_header_takes_each_key(header: bytes, scheme: str, key: str) -> None:
    """Primary and secondary key work in all three headers, and the scheme's case does not matter."""
    assert await name([(b"accept", b"*/*"), (header, f"{scheme}{key}".encode())]) == "team-a"


@pytest.mark.parametrize("reverse", [False, True])
async def test_precedence(reverse: bool) -> None:
    """API Management's header comes before api-key, and that before a bearer; their order does not matter."""
    headers = [(b"ocp-apim-subscription-key", A.encode()), (b"api-key", B.encode()), (b"authorization", b"Bearer x")]
    ordered = headers[::-1] if reverse else headers
    assert await name(ordered) == "team-a"
    assert await name([header for header in ordered if header[0] != b"ocp-apim-subscription-key"]) == "team-b"


async def test_a_wrong_key_is_not_made_good_by_another() -> None:
    """The first header there is decides, be it wrong."""
    with pytest.raises(Unauthenticated):
        await name([(b"api-key", A.encode()), (b"ocp-apim-subscription-key", b"wrong")])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"api-key", b"")],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer  ")],
        [(b"authorization", b"Basic " + A.encode())],
        [(b"authorization", A.encode())],
        [(b"authorization", b"Bearer" + A.encode())],
        [(b"api-key", A.upper().encode())],
        [(b"api-key", A.encode() + b" ")],
        [(b"api-key", A.encode() + b"\x00")],
        [(b"api-key", b"\xff\xfe")],
        [(b"api-key", key_hash(A).encode())],
        [(b"api-key", b"x" * (LONGEST_KEY + 1))],
        [(b"authorization", b"Bearer " + b"x" * (LONGEST_KEY + 1))],
        [(b"x-api-key", A.encode())],
        [(b"authorization", b"Bearer " + JWT.encode())],
    ],
)
async def test_no_key_that_is_valid(headers: Headers) -> None:
    """Missing, empty, wrong, overlong and misplaced keys are refused, in words that repeat none of them."""
    with pytest.raises(Unauthenticated) as caught:
        await callers().identify(headers)
    assert caught.value.status == 401
    for _, value in headers:
        assert len(value) < 8 or value.decode("latin-1") not in str(caught.value)


@given(st.lists(st.tuples(st.sampled_from([b"api-key", b"authorization", b"ocp-apim-subscription-key"]), st.binary())))
async def test_nobody_by_chance(headers: Headers) -> None:
    """Headers of any bytes identify nobody, and raise nothing but that."""
    with pytest.raises(Unauthenticated):
        await callers().identify(headers)


async def test_operators() -> None:
    """An operator reads every statement and calls no model; a subscription reads its own."""
    operator = await callers().identify([(b"api-key", OPERATOR_KEY.encode())])
    team = await callers().identify([(b"api-key", A.encode())])
    assert operator.operator
    assert operator.may_read("team-a")
    with pytest.raises(Forbidden):
        operator.entitlement()
    assert not team.operator
    assert team.may_read("team-a")
    assert not team.may_read("team-b")


async def test_a_token_beside_a_key_goes_along() -> None:
    """An access token beside a key is kept for backends that take it; a key that comes twice is not."""
    both = await callers().identify([(b"api-key", A.encode()), (b"authorization", f"Bearer {JWT}".encode())])
    assert both.token == JWT
    for bearer in (A, "opaque"):
        twice = await callers().identify([(b"api-key", A.encode()), (b"authorization", f"Bearer {bearer}".encode())])
        assert twice.token == ""


async def test_the_token_of_one_request_is_not_the_next_ones() -> None:
    """Callers of one subscription share nothing: a token stays with the request that brought it."""
    one = callers()
    await one.identify([(b"api-key", A.encode()), (b"authorization", f"Bearer {JWT}".encode())])
    assert (await one.identify([(b"api-key", A.encode())])).token == ""


async def test_a_token_alone() -> None:
    """A proven identity that a subscription lists is that subscription; any other is refused by its name."""
    headers = [(b"authorization", f"Bearer {JWT}".encode())]
    assert (await callers(Proven("oid:x", "oid:a")).identify(headers)).entitlement().name == "team-a"
    with pytest.raises(TokenRefused, match="oid:x"):
        await callers(Proven("oid:x")).identify(headers)


async def test_no_secret_in_a_repr() -> None:
    """Neither a key nor a token is in what a log would show of a caller."""
    both = await callers().identify([(b"api-key", A.encode()), (b"authorization", f"Bearer {JWT}".encode())])
    assert A not in repr(both)
    assert JWT not in repr(both)
    assert JWT not in repr(Caller(None, JWT))
