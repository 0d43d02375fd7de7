"""The described paths as OpenAPI, and as what the gateway answers."""

import json
import re

from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.description.described_bodies import SCHEMAS
from gateway.description.description import OPERATIONS, described_paths
from gateway.errors import GatewayError
from gateway.requests import operations
from gateway.requests.operations import target

DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Tollgate", "version": "1"},
    "paths": described_paths(),
    "components": {"schemas": SCHEMAS},
}


def test_valid_openapi() -> None:
    """Merged into a document the paths are valid OpenAPI, operation ids unique."""
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []
    ids = [operation["operationId"] for item in described_paths().values() for operation in item.values()]
    assert len(ids) == len(set(ids))


def test_every_body_is_described() -> None:
    """Each schema that a path or another schema refers to is there, and none is there for nothing."""
    used = set(re.findall(r'#/components/schemas/(\w+)"', json.dumps([described_paths(), SCHEMAS])))
    assert used == SCHEMAS.keys()


def test_every_path_is_served() -> None:
    """What is described is an operation of the gateway, and every metered one is described."""
    asked = set()
    for path, item in described_paths().items():
        assert path.startswith(operations.PREFIXES)
        found = target(path.replace("{deployment}", "gpt-4o"))
        asked.add(found.operation)
        parameters = [parameter["name"] for operation in item.values() for parameter in operation.get("parameters", [])]
        assert [name for name in parameters if f"{{{name}}}" in path] == re.findall(r"\{(\w+)\}", path)
    assert asked == {*OPERATIONS, operations.MODELS}
    assert asked > operations.METERED


def test_errors_are_the_gateways() -> None:
    """Every described error status is one that the gateway's errors have."""
    statuses = {str(kind.status) for kind in GatewayError.__subclasses__()} | {"429"}
    for item in described_paths().values():
        for operation in item.values():
            assert set(operation["responses"]) - {"200"} <= statuses


def test_each_call_gets_its_own() -> None:
    """A reader that changes the description changes it for nobody else."""
    before = json.dumps(described_paths())
    described_paths().clear()
    assert json.dumps(described_paths()) == before
