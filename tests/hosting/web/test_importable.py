"""The description that API Management and ServiceNow import."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from hosting.app import create_app
from hosting.services.services import build_services
from hosting.settings import Settings
from hosting.web.importable import LEFT_OUT, importable
from hosting.web.importable_schemas import ImportableSchemas, NotImportable
from tests.gateway.catalogs import OPERATOR_KEY, key_hash

CATALOG = {
    "backends": {"first": {"endpoint": "http://127.0.0.1:9", "auth": {"api_key": "setting:UPSTREAM_KEY"}}},
    "deployments": {"gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "first"}]}},
    "operators": {"key_hashes": [key_hash(OPERATOR_KEY)]},
}
METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The app's own description, 3.1."""
    with pytest.MonkeyPatch.context() as patch:
        return asyncio.run(_described(settings(tmp_path_factory.mktemp("state"), patch)))


async def _described(settings: Settings) -> dict[str, Any]:
    services = build_services(settings)
    try:
        return create_app(services).openapi()
    finally:
        await services.close()


@pytest.fixture(scope="module")
def document(described: dict[str, Any]) -> dict[str, Any]:
    return importable(described)


@pytest.fixture
async def http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx2.AsyncClient]:
    app = create_app(build_services(settings(tmp_path, monkeypatch)))
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="https://tollgate.contoso.example") as client,
    ):
        yield client


def settings(state: Path, patch: pytest.MonkeyPatch) -> Settings:
    patch.setenv("STATE", str(state))
    patch.setenv("UPSTREAM_KEY", "made-up-upstream-key")
    patch.setenv("GATEWAY_CATALOG", json.dumps(CATALOG))
    patch.setenv("TOLLGATE_SEAMS", "local.seams:open_seams")
    return Settings()


def nodes(node: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of a document with its place."""
    if isinstance(node, dict):
        yield place, node
        for name, value in node.items():
            yield from nodes(value, f"{place}/{name}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from nodes(value, f"{place}/{number}")


def schemas(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema: the components, what they hold, and those of parameters and bodies."""
    for place, node in nodes(document["components"]["schemas"]):
        if "type" in node and not place.endswith(("/properties", "/example", "/default")):
            yield place, node
    for place, node in nodes(document["paths"]):
        if isinstance(node.get("schema"), dict):
            yield place, node["schema"]


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["paths"].values():
        yield from (operation for method, operation in item.items() if method in METHODS)


def test_it_is_valid(document: dict[str, Any], described: dict[str, Any]) -> None:
    """A validator finds nothing wrong with the 3.0 document, and nothing with the 3.1 description behind it."""
    assert document["openapi"] == "3.0.3"
    assert [error.message for error in OpenAPIV30SpecValidator(document).iter_errors()] == []
    assert [error.message for error in OpenAPIV31SpecValidator(described).iter_errors()] == []


def test_nothing_that_importers_cannot_read(document: dict[str, Any]) -> None:
    """No choices, no null types, no constants, nothing beside a reference."""
    unread = {"anyOf", "oneOf", "allOf", "not", "const", "propertyNames", "prefixItems", "examples", "$defs"}
    for place, node in nodes(document["components"]["schemas"]):
        if not place.endswith("/properties"):
            assert not unread & node.keys(), place
    for place, node in nodes(document):
        assert "$ref" not in node or len(node) == 1, place
    for place, schema in schemas(document):
        assert schema.get("type") in {"string", "number", "integer", "boolean", "array", "object", None}, place
        assert "type" in schema or "$ref" in schema, place
        assert isinstance(schema.get("exclusiveMinimum", True), bool), place


def test_no_free_form_map(document: dict[str, Any]) -> None:
    """Each object says which fields it has; the one map that cannot be said is left out, and is known here."""
    for place, schema in schemas(document):
        if schema.get("type") == "object":
            assert schema.get("properties"), place
            assert schema.get("additionalProperties", False) is False, place
    assert "deployment_limits" not in document["components"]["schemas"]["SubscriptionView"]["properties"]


def test_what_is_left_out_is_known(document: dict[str, Any], described: dict[str, Any]) -> None:
    """Limits by deployment, whose keys are names, are all that importers do not see of a body."""
    schemas = described["components"]["schemas"]
    found = ImportableSchemas(schemas)
    for name in document["components"]["schemas"].keys() & schemas.keys():
        found.named(name)
    assert {each.split(".")[-1] for each in found.left_out} <= {"deployment_limits"}


def test_operations_have_names_that_last(document: dict[str, Any]) -> None:
    """Ids are unique, lower case with dashes and short enough to be kept whole; summaries are short."""
    found = list(operations(document))
    ids = [operation["operationId"] for operation in found]
    assert len(ids) == len(set(ids))
    for operation in found:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", operation["operationId"])
        assert len(operation["operationId"]) <= 76
        assert 0 < len(operation["summary"]) < 300
    assert {"summarize-ticket", "get-statement", "create-subscription", "azure-chat-completions"} <= set(ids)


def test_bodies_are_components(document: dict[str, Any]) -> None:
    """The schema of an object in a body is a component, since API Management does not take one inline."""
    for operation in operations(document):
        bodies = [*operation["responses"].values(), operation.get("requestBody", {})]
        for kind, body in [each for holder in bodies for each in holder.get("content", {}).items()]:
            assert "$ref" in body["schema"] or body["schema"]["type"] != "object", f"{operation['operationId']} {kind}"


def test_names_of_a_path_are_its_own(document: dict[str, Any]) -> None:
    """No name stands in the path and in the query, whatever its case; each name of the path is described."""
    for path, item in document["paths"].items():
        for operation in item.values():
            parameters = operation.get("parameters", [])
            names = [each["name"].lower() for each in parameters if each["in"] in {"path", "query"}]
            assert len(names) == len(set(names))
            assert set(re.findall(r"{(\w+)}", path)) == {each["name"] for each in parameters if each["in"] == "path"}


def test_components_are_used_and_end(document: dict[str, Any]) -> None:
    """No component is there for nothing, and none leads back to itself."""
    components = document["components"]["schemas"]
    refers = {
        name: set(re.findall(r"#/components/schemas/([^\"]+)\"", json.dumps(components[name]))) for name in components
    }
    used = set(re.findall(r"#/components/schemas/([^\"]+)\"", json.dumps(document)))
    assert used == components.keys()
    for name in components:
        reached, wanted = set[str](), set(refers[name])
        while wanted:
            reached |= wanted
            wanted = set().union(*(refers[each] for each in wanted)) - reached
        assert name not in reached


def test_every_error_has_the_one_shape(document: dict[str, Any]) -> None:
    """Errors of every route are described in OpenAI's shape."""
    for operation in operations(document):
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorBody"}


def test_it_follows_the_routes(document: dict[str, Any], described: dict[str, Any]) -> None:
    """Every described path is there, but for other shapes of the same and for what probes ask."""
    wanted = {path for path in described["paths"] if not path.startswith(LEFT_OUT)}
    assert document["paths"].keys() == wanted
    assert document["security"] == [{"api-key": []}, {"subscription-key": []}, {"bearer": []}]


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({}, "https://tollgate.contoso.example"),
        ({"x-forwarded-proto": "https", "x-forwarded-host": "api.contoso.com, inner"}, "https://api.contoso.com"),
    ],
)
async def test_the_server_is_this_one(http: httpx2.AsyncClient, headers: dict[str, str], address: str) -> None:
    """Its one server is the address that was asked, also where TLS ends before the app; no cache keeps that."""
    answer = await http.get("/openapi-3.0.json", headers=headers)
    assert answer.json()["servers"] == [{"url": address}]
    assert answer.headers["cache-control"] == "no-store"
    assert [error.message for error in OpenAPIV30SpecValidator(answer.json()).iter_errors()] == []


async def test_real_answers_fit(document: dict[str, Any], http: httpx2.AsyncClient) -> None:
    """What the app answers has the fields that the document says, null only where it may be."""
    fields = {"name": "desk", "quota": {"tokens": 5, "per": "day"}}
    made = await http.post("/manage/subscriptions", json=fields, headers={"api-key": OPERATOR_KEY})
    assert made.status_code == 201
    schema = document["components"]["schemas"]["CreatedSubscription"]
    assert made.json().keys() - {"deployment_limits"} <= schema["properties"].keys()
    for name, value in made.json().items():
        if value is None:
            assert schema["properties"][name]["nullable"], name
    assert schema["properties"]["keys"]["properties"].keys() == {"primary", "secondary"}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "object"}, "free-form map"),
        ({"type": "array", "items": {"type": "object", "additionalProperties": True}}, "free-form map"),
        ({"$ref": "#/components/schemas/Tree"}, "refers to itself"),
        ({"allOf": [{"type": "string"}, {"type": "string"}]}, "allOf"),
    ],
)
def test_what_cannot_be_said_is_refused(schema: dict[str, Any], reason: str) -> None:
    """A schema that no importer reads stops the description, naming the place."""
    tree = {"type": "object", "properties": {"under": {"$ref": "#/components/schemas/Tree"}}}
    with pytest.raises(NotImportable, match=f"^body.*{reason}"):
        ImportableSchemas({"Tree": tree}).of(schema, "body")


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"anyOf": [{"type": "integer"}, {"type": "string"}], "default": 5}, {"type": "string"}),
        ({"type": ["string", "null"], "const": "x"}, {"type": "string", "nullable": True, "enum": ["x"]}),
        ({"$ref": "#/components/schemas/Name", "default": None}, {"type": "string", "maxLength": 5}),
        ({"type": "number", "exclusiveMaximum": 2}, {"type": "number", "maximum": 2, "exclusiveMaximum": True}),
        (
            {"type": "object", "propertyNames": {"enum": ["a"]}, "additionalProperties": {"type": "string"}},
            {"type": "object", "properties": {"a": {"type": "string"}}},
        ),
        (
            {"type": "object", "properties": {"m": {"type": "object"}, "n": {"type": "string"}}, "required": ["m"]},
            {"type": "object", "properties": {"n": {"type": "string"}}},
        ),
    ],
)
def test_what_is_said_in_another_way(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    """Choices, null, constants, bounds and maps of known keys have their form of 3.0.3; other maps are left out."""
    assert ImportableSchemas({"Name": {"type": "string", "maxLength": 5}}).of(schema, "body") == expected


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        ({"operationId": "Get_It", "summary": "Get it"}, "operation id 'Get_It'"),
        ({"operationId": "a" * 77, "summary": "Get it"}, "must be its own"),
        ({"operationId": "get-it"}, "needs a summary"),
        ({"operationId": "get-it", "summary": "x" * 300}, "less than 300"),
    ],
)
def test_operations_that_importers_would_mangle(operation: dict[str, Any], reason: str) -> None:
    """An operation without an id or a summary that importers keep stops the description."""
    described = {"paths": {"/it": {"get": {"responses": {}} | operation}}, "components": {"schemas": {}}}
    with pytest.raises(NotImportable, match=reason):
        importable(described)
