"""Catalogs, right and wrong: a wrong one is refused with every error in it, each by its path."""

import copy
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.catalog import ApiKey, Budget, CallerToken, Catalog, Limits, ManagedIdentity, Quota
from gateway.catalog.catalog_file import CatalogError, load_catalog

DIGEST = "ab" * 32
OTHER = "cd" * 32

DOCUMENTED = f"""
[backends.eastus-ptu]
endpoint = "https://contoso-eastus.openai.azure.com"   # http:// only for loopback
kind = "ptu"                        # or "paygo", the default
deployment_type = "ptu"             # global | datazone | regional | ptu: how it is billed
region = "eastus"
auth = "managed-identity"           # the default; or "caller"; or {{ api_key = "setting:AOAI_KEY" }}

[backends.sweden]
endpoint = "https://contoso-sweden.openai.azure.com/"
auth = {{ api_key = "setting:AOAI_KEY" }}

[deployments.gpt-4o]
model = "gpt-4o"
pool = [
  {{ backend = "eastus-ptu", deployment = "gpt-4o-ptu", priority = 1 }},
  {{ backend = "sweden", priority = 2, weight = 3 }},       # deployment defaults to the caller's name
]

[subscriptions.service-desk]        # optional here; production keeps them in the table "subscriptions"
key_hashes = ["sha256:{DIGEST}"]
cost_centre = "4711"
deployments = ["gpt-4o"]            # default: all
limits = {{ requests_per_minute = 600, tokens_per_minute = 120000, concurrent = 50 }}
quota = {{ tokens = 50000000, per = "month" }}
budget = {{ amount = "500.00", currency = "USD", per = "month", hard = true }}

[operators]
key_hashes = ["sha256:{OTHER}"]
"""

SMALL: dict[str, Any] = {
    "backends": {"a": {"endpoint": "https://a.example"}},
    "deployments": {"d": {"model": "gpt-4o", "pool": [{"backend": "a"}]}},
    "subscriptions": {"s": {"key_hashes": [f"sha256:{DIGEST}"]}},
}


def no_setting(name: str) -> str | None:
    return None


def load(content: dict[str, Any], **app_settings: str) -> Catalog:
    return load_catalog(json.dumps(content), app_settings.get)


def changed(path: str, value: Any) -> dict[str, Any]:
    content: Any = copy.deepcopy(SMALL)
    *steps, last = path.split("/")
    place = content
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    place[last] = value
    return content  # type: ignore[no-any-return]  # the root stays the dict it was


def problems(content: dict[str, Any], **app_settings: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load(content, **app_settings)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


@pytest.mark.parametrize("inline", [False, True])
def test_the_documented_catalog(tmp_path: Path, inline: bool) -> None:
    """The example of the design loads as a TOML file, and what its comments say holds."""
    file = tmp_path / "catalog.toml"
    file.write_bytes((b"\xef\xbb\xbf" if inline else b"") + DOCUMENTED.encode())
    catalog = load_catalog(str(file), {"AOAI_KEY": "secret"}.get)
    first, second = catalog.deployments["gpt-4o"].tiers
    assert [(one.backend.name, one.deployment, one.priority, one.weight) for one in (*first, *second)] == [
        ("eastus-ptu", "gpt-4o-ptu", 1, 1),
        ("sweden", "gpt-4o", 2, 3),
    ]
    ptu, sweden = catalog.backends["eastus-ptu"], catalog.backends["sweden"]
    assert (ptu.endpoint, ptu.kind, ptu.deployment_type, ptu.region) == (
        "https://contoso-eastus.openai.azure.com",
        "ptu",
        "ptu",
        "eastus",
    )
    assert ptu.auth == ManagedIdentity()
    assert (sweden.endpoint, sweden.kind, sweden.deployment_type) == (
        "https://contoso-sweden.openai.azure.com",
        "paygo",
        "global",
    )
    assert sweden.auth == ApiKey("secret")
    desk = catalog.subscriptions["service-desk"]
    assert desk.key_digests == (bytes.fromhex(DIGEST),)
    assert desk.cost_centre == "4711"
    assert desk.deployments == frozenset({"gpt-4o"})
    assert desk.limits == Limits(600, 120_000, 50)
    assert desk.quota == Quota(50_000_000, "month")
    assert desk.budget == Budget(Decimal("500.00"), "USD", "month", hard=True)
    assert catalog.operator_digests == (bytes.fromhex(OTHER),)


def test_json_as_a_file_and_inline(tmp_path: Path) -> None:
    """JSON is read from a file that ends in .json and from the setting itself."""
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps(SMALL))
    for source in (str(file), json.dumps(SMALL), f" \n{json.dumps(SMALL)}"):
        catalog = load_catalog(source, no_setting)
        assert catalog.deployments["d"].tiers[0][0].deployment == "d"
        assert catalog.subscriptions["s"].deployments is None
        assert catalog.operator_digests == ()


def test_auth_by_caller() -> None:
    """A backend may take the caller's own token."""
    assert load(changed("backends/a/auth", "caller")).backends["a"].auth == CallerToken()


def test_tiers_in_order() -> None:
    """Members of one priority share a tier; tiers stand in ascending order, however the pool is written."""
    pool = [{"backend": "a", "deployment": f"d{place}", "priority": place % 3} for place in range(6)]
    tiers = load(changed("deployments/d/pool", pool)).deployments["d"].tiers
    assert [[one.deployment for one in tier] for tier in tiers] == [["d0", "d3"], ["d1", "d4"], ["d2", "d5"]]


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8080", "http://localhost:1/", "http://[::1]:80", "HTTPS://A.b"])
def test_right_endpoints(endpoint: str) -> None:
    """Plain HTTP is for loopback, in each of its spellings; a trailing slash is dropped."""
    loaded = load(changed("backends/a/endpoint", endpoint)).backends["a"].endpoint
    assert loaded == endpoint.lower().removesuffix("/")


WRONG: list[tuple[str, Any, str]] = [
    *(
        ("backends/a/endpoint", endpoint, "backends.a.endpoint: must be scheme, host and port only")
        for endpoint in (
            "a.example",
            "ftp://a.example",
            "https://",
            "https://a.example/openai",
            "https://a.example?x=1",
            "https://a.example#x",
            "https://user:word@a.example",
            "https://:word@a.example",
            "https://a.example:port",
            "https://a.example:99999",
            "https://a.example:0",
            "https://a example",
            "https://a.example\nb",
            "https://{}.example",
            "https://[::1",
            "",
        )
    ),
    *(
        ("backends/a/endpoint", endpoint, "backends.a.endpoint: must begin with https://")
        for endpoint in ("http://a.example", "http://localhost.a.example", "http://127.0.0.1.a.example")
    ),
    ("backends/a/endpoint", 5, "backends.a.endpoint: "),
    ("backends/a/kind", "shared", "backends.a.kind: "),
    ("backends/a/deployment_type", "planet", "backends.a.deployment_type: "),
    ("backends/a/region", "x" * 65, "backends.a.region: "),
    ("backends/a/regoin", "x", "backends.a.regoin: unknown key"),
    ("backends/a", 5, "backends.a: must be a table of keys"),
    ("backends/b", {}, "backends.b.endpoint: is missing"),
    ("backends/a b", {"endpoint": "https://a.example"}, "backends.a b: a name has"),
    ("backends/", {"endpoint": "https://a.example"}, "backends.: a name has"),
    ("backends/é", {"endpoint": "https://a.example"}, "backends.é: a name has"),
    ("backends/a/auth", "key", "backends.a.auth: must be"),
    ("backends/a/auth", None, "backends.a.auth: must be"),
    ("backends/a/auth", {}, "backends.a.auth.api_key: is missing"),
    ("backends/a/auth", {"api_key": "0123456789abcdef"}, "backends.a.auth.api_key: must name an app setting"),
    ("backends/a/auth", {"api_key": "setting:"}, "backends.a.auth.api_key: must name an app setting"),
    ("backends/a/auth", {"api_key": "setting:UNSET"}, "backends.a.auth.api_key: the app setting UNSET is not set"),
    ("backends/a/auth", {"api_key": "setting:BAD"}, "backends.a.auth.api_key: the app setting BAD holds"),
    ("backends/a/auth", {"api_key": "setting:KEY", "x": 1}, "backends.a.auth.x: unknown key"),
    ("backends", [], "backends: must be a table of names"),
    ("backends", 5, "backends: must be a table of names"),
    ("deployments", 5, "deployments: must be a table of names"),
    ("deployments", {}, "deployments: there is none"),
    ("deployments/d/model", "", "deployments.d.model: "),
    ("deployments/d/pool", [], "deployments.d.pool: "),
    ("deployments/d/pool", [{"backend": "b"}], "deployments.d.pool.0.backend: no backend 'b'"),
    ("deployments/d/pool", [{}], "deployments.d.pool.0.backend: is missing"),
    ("deployments/d/pool", [{"backend": "a"}, {"backend": "a"}], "deployments.d.pool.1: "),
    ("deployments/d/pool", [{"backend": "a"}, {"backend": "a", "deployment": "d"}], "deployments.d.pool.1: "),
    ("deployments/d/pool/0/weight", 0, "deployments.d.pool.0.weight: "),
    ("deployments/d/pool/0/weight", -1, "deployments.d.pool.0.weight: "),
    ("deployments/d/pool/0/weight", 1e308, "deployments.d.pool.0.weight: "),
    ("deployments/d/pool/0/weight", float("nan"), "deployments.d.pool.0.weight: "),
    ("deployments/d/pool/0/weight", "3", "deployments.d.pool.0.weight: "),
    ("deployments/d/pool/0/priority", -1, "deployments.d.pool.0.priority: "),
    ("deployments/d/pool/0/priority", True, "deployments.d.pool.0.priority: "),
    ("deployments/d/pool/0/deployment", "{}", "deployments.d.pool.0.deployment: a name has"),
    ("deployments/d/pool/0/deployment", "../x", "deployments.d.pool.0.deployment: a name has"),
    ("deployments/d/pool/0/deployment", "x\n", "deployments.d.pool.0.deployment: a name has"),
    ("deployments/..", {"model": "m", "pool": [{"backend": "a"}]}, "deployments...: a name has"),
    ("deployments/x{}", {"model": "m", "pool": [{"backend": "a"}]}, "deployments.x{}: a name has"),
    ("subscriptions", None, "subscriptions: must be a table of names"),
    ("subscriptions/s/deployments", ["e"], "subscriptions.s.deployments: no deployment 'e'"),
    ("subscriptions/s/cost_centre", 4711, "subscriptions.s.cost_centre: "),
    ("subscriptions/s/key_hashes", [DIGEST], "subscriptions.s.key_hashes.0: must be sha256: and 64"),
    ("subscriptions/s/key_hashes", ["sha256:" + "g" * 64], "subscriptions.s.key_hashes.0: must be sha256: and 64"),
    ("subscriptions/s/key_hashes", ["sha256:" + "٣" * 64], "subscriptions.s.key_hashes.0: must be sha256: and 64"),
    ("subscriptions/s/limits", {"request_per_minute": 1}, "subscriptions.s.limits.request_per_minute: unknown key"),
    ("subscriptions/s/limits", {"concurrent": 0}, "subscriptions.s.limits.concurrent: "),
    ("subscriptions/s/limits", {"concurrent": True}, "subscriptions.s.limits.concurrent: "),
    ("subscriptions/s/limits", {"concurrent": "5"}, "subscriptions.s.limits.concurrent: "),
    ("subscriptions/s/quota", {"tokens": 1, "per": "year"}, "subscriptions.s.quota.per: "),
    ("subscriptions/s/quota", {"per": "day"}, "subscriptions.s.quota.tokens: is missing"),
    ("subscriptions/s/budget", {"amount": "much", "per": "day"}, "subscriptions.s.budget.amount: "),
    ("subscriptions/s/budget", {"amount": "NaN", "per": "day"}, "subscriptions.s.budget.amount: "),
    ("subscriptions/s/budget", {"amount": "-1", "per": "day"}, "subscriptions.s.budget.amount: "),
    ("subscriptions/s/budget", {"amount": "1", "per": "day", "hard": "no"}, "subscriptions.s.budget.hard: "),
    ("subscriptions/s/budget", {"amount": "1", "per": "day", "currency": "€"}, "subscriptions.s.budget.currency: "),
    (
        "subscriptions/s/budget",
        {"amount": "1", "per": "day", "currency": "EUR"},
        "subscriptions.s.budget.currency: prices are in US",
    ),
    ("operators", [], "operators: must be a table of keys"),
    ("operators/key_hashes", [5], "operators.key_hashes.0: must be sha256: and 64"),
    ("operaters", {}, "operaters: unknown key"),
]


@pytest.mark.parametrize(("path", "value", "problem"), WRONG)
def test_each_error_by_its_path(path: str, value: Any, problem: str) -> None:
    """A wrong value is refused by a line that begins with its path and says what is wrong."""
    found = problems(changed(path, value), KEY="secret", BAD="line\nend")
    assert any(line.startswith(problem) for line in found), found


def test_a_key_in_the_catalog_is_not_repeated() -> None:
    """A key that was written into the catalog by mistake is not in the message about it."""
    for auth in ({"api_key": "sk-very-secret"}, "sk-very-secret"):
        assert "very-secret" not in "\n".join(problems(changed("backends/a/auth", auth)))
    assert "very-secret" not in "\n".join(
        problems(changed("backends/a/auth", {"api_key": "setting:KEY"}), KEY="very-secret\n")
    )


def test_all_errors_at_once() -> None:
    """One start shows every error there is."""
    content = changed("backends/a/kind", "shared")
    content["deployments"]["d"]["pool"].append({"backend": "b"})
    content["subscriptions"]["s"]["limits"] = {"concurrent": 0}
    content["what"] = 1
    starts = sorted(line.partition(":")[0] for line in problems(content))
    assert starts == ["backends.a.kind", "deployments.d.pool.1.backend", "subscriptions.s.limits.concurrent", "what"]


def test_ptu_is_billed_as_ptu() -> None:
    """Kind ptu decides how a backend is billed, and contradicts any other deployment type."""
    assert load(changed("backends/a/kind", "ptu")).backends["a"].deployment_type == "ptu"
    content = changed("backends/a/kind", "ptu")
    content["backends"]["a"]["deployment_type"] = "global"
    assert problems(content)[0].startswith("backends.a.deployment_type: ")


@pytest.mark.parametrize("digest", [DIGEST, DIGEST.upper()])
def test_a_key_has_one_holder(digest: str) -> None:
    """Two subscriptions, or a subscription and the operators, never share a key; one may list it twice."""
    key = f"sha256:{digest}"
    assert problems(changed("subscriptions/t", {"key_hashes": [key]})) == [
        "subscriptions.t.key_hashes: subscriptions.s has the same key"
    ]
    assert problems(changed("operators", {"key_hashes": [key]})) == [
        "subscriptions.s.key_hashes: operators has the same key"
    ]
    assert load(changed("subscriptions/s/key_hashes", [key, key])).subscriptions["s"].key_digests


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("catalog.toml", "[backends", "is neither TOML nor JSON"),
        ("catalog.toml", "[a]\n[a]", "is neither TOML nor JSON"),
        ("catalog.json", "{", "is neither TOML nor JSON"),
        ("catalog.json", '{"a": 1, "a": 2}', "is neither TOML nor JSON: 'a' stands twice"),
        ("catalog.json", '{"a":' + "[" * 100_000, "is neither TOML nor JSON"),
        ("catalog.json", "[]", "must be an object"),
        ("catalog.json", "null", "must be an object"),
    ],
)
def test_files_that_are_no_catalog(tmp_path: Path, name: str, text: str, problem: str) -> None:
    """What cannot be parsed is refused with the file's name and the reason."""
    (tmp_path / name).write_text(text)
    with pytest.raises(CatalogError, match=name) as caught:
        load_catalog(str(tmp_path / name), no_setting)
    assert caught.value.problems[0].startswith(problem)


@pytest.mark.parametrize("source", ["nowhere.toml", "", "/", "a\x00b"])
def test_files_that_are_not_there(source: str) -> None:
    """A path that leads nowhere is an error of the catalog, not a stack trace."""
    with pytest.raises(CatalogError):
        load_catalog(source, no_setting)


def test_a_binary_file(tmp_path: Path) -> None:
    """A file that is no text is refused."""
    (tmp_path / "catalog.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CatalogError, match="neither TOML nor JSON"):
        load_catalog(str(tmp_path / "catalog.toml"), no_setting)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(sorted({path for path, _, _ in WRONG} - {"backends/é"})),
    JSON,
)
def test_any_value_anywhere_loads_or_is_refused(path: str, value: Any) -> None:
    """Whatever stands wherever, the catalog loads or CatalogError says why not."""
    told = ["loaded"]
    try:
        load(changed(path, value), KEY="secret")
    except CatalogError as error:
        told = error.problems
    assert told


def test_a_wrong_part_hides_nothing() -> None:
    """What a part names elsewhere is checked though the part itself is wrong, so that one start shows all."""
    catalog = {
        "backends": {},
        "deployments": {"gpt-4o": {"model": "", "pool": [{"backend": "nowhere", "weight": -1}, 7]}},
        "subscriptions": {"team": {"key_hashes": ["no hash"], "deployments": ["gpt-9", 7]}},
    }
    with pytest.raises(CatalogError) as raised:
        load_catalog(json.dumps(catalog), no_setting)
    text = "\n".join(raised.value.problems)
    for told in ("gpt-4o.model", "weight", "no backend 'nowhere'", "key_hashes", "no deployment 'gpt-9'"):
        assert told in text
