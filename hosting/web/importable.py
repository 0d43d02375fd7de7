"""`/openapi-3.0.json`: the API as API Management, ServiceNow and other importers read it, OpenAPI 3.0.3.

It is made of the 3.1 description, so that a new route is in both. Rules of the importers, from API Management's "API
import restrictions": a server with its whole address; unique operation ids, of which it keeps 76 characters; no
recursive schemas; schemas of bodies among the components, not inline; names that differ between path and query.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from hosting.web.importable_schemas import PREFIX, ImportableSchemas, NotImportable, Schema

PATH: Final = "/openapi-3.0.json"
LEFT_OUT: Final = ("/deployments/", "/v1/", "/openai/models", "/healthz", "/readyz", "/metrics")
"""Other shapes of paths that are described, and what probes ask."""

LONGEST_ID: Final = 76
LONGEST_SUMMARY: Final = 300
_ID: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch", "head", "options"})
_OPERATION: Final = ("tags", "summary", "description", "operationId", "deprecated", "security")
_PARAMETER: Final = ("name", "in", "required", "description", "example")


def mount(app: FastAPI) -> None:
    """Serve the description of `app` at PATH, with the address by which it was asked for."""

    @cache
    def document() -> dict[str, Any]:
        return importable(app.openapi())

    async def description(request: Request) -> Response:
        servers = [{"url": _address(request)}]
        # Never kept: a cache on the way would show others an address that one caller made up.
        return JSONResponse(document() | {"servers": servers}, headers={"cache-control": "no-store"})

    app.add_route(PATH, description, include_in_schema=False)


def importable(described: dict[str, Any]) -> dict[str, Any]:
    """Return the description in OpenAPI 3.0.3, without servers. Raises NotImportable where a rule cannot be kept."""
    document = _Document(described)
    paths = {
        path: {method: document.operation(path, operation) for method, operation in item.items() if method in _METHODS}
        for path, item in described["paths"].items()
        if not path.startswith(LEFT_OUT)
    }
    return {
        "openapi": "3.0.3",
        "info": {name: described["info"][name] for name in ("title", "version", "description")},
        "paths": paths,
        "components": {
            "schemas": document.components(paths),
            "securitySchemes": described["components"]["securitySchemes"],
        },
        "security": described["security"],
    }


class _Document:
    def __init__(self, described: dict[str, Any]) -> None:
        self._schemas = ImportableSchemas(described["components"]["schemas"])
        self._lifted: dict[str, Schema] = {}
        self._ids: set[str] = set()

    def operation(self, path: str, described: dict[str, Any]) -> dict[str, Any]:
        name = described.get("operationId", "")
        if not _ID.fullmatch(name) or len(name) > LONGEST_ID or name in self._ids:
            raise NotImportable(f"{path} has the operation id {name!r}: it must be its own, in lower case with dashes")
        if not 0 < len(described.get("summary", "")) < LONGEST_SUMMARY:
            raise NotImportable(f"{name} needs a summary of less than {LONGEST_SUMMARY} characters")
        self._ids.add(name)
        made: dict[str, Any] = {key: described[key] for key in _OPERATION if key in described}
        if described.get("parameters"):
            made["parameters"] = [self._parameter(each, name) for each in described["parameters"]]
        if "requestBody" in described:
            made["requestBody"] = {"required": True, **self._content(described["requestBody"], f"{name}-request")}
        made["responses"] = {
            str(status): self._response(answer, f"{name}-{status}")
            for status, answer in sorted(described["responses"].items(), key=lambda each: str(each[0]))
        }
        return made

    def components(self, paths: dict[str, Any]) -> dict[str, Schema]:
        """Return the schemas that the paths refer to, and those that these refer to."""
        found: dict[str, Schema] = {}
        wanted = set(_references(paths))
        while wanted:
            name = wanted.pop()
            found[name] = self._lifted.get(name) or self._schemas.named(name)
            wanted |= set(_references(found[name])) - found.keys()
        return dict(sorted(found.items()))

    def _parameter(self, described: dict[str, Any], name: str) -> dict[str, Any]:
        made = {key: described[key] for key in _PARAMETER if key in described}
        place = f"{name}: {described['name']}"
        # A parameter's schema is read where it stands; that it may be left out is said by `required`.
        schema = self._schemas.of(described["schema"], place, written_out=True)
        return made | {"schema": {key: value for key, value in schema.items() if key != "nullable"}}

    def _response(self, described: dict[str, Any], place: str) -> dict[str, Any]:
        made: dict[str, Any] = {"description": described["description"]}
        if "headers" in described:
            made["headers"] = described["headers"]
        return made | self._content(described, place)

    def _content(self, described: dict[str, Any], place: str) -> dict[str, Any]:
        content = described.get("content")
        if not content:
            return {}
        return {"content": {kind: self._body(body, place) for kind, body in content.items()}}

    def _body(self, body: dict[str, Any], place: str) -> dict[str, Any]:
        schema = self._schemas.of(body["schema"], place)
        if schema.keys() != {"$ref"} and schema.get("type") == "object":
            self._lifted[place] = schema
            schema = {"$ref": PREFIX + place}
        example = body.get("example")
        return {"schema": schema} if example is None else {"schema": schema, "example": example}


def _references(node: Any) -> Iterator[str]:
    match node:
        case {"$ref": str(reference)}:
            yield reference.removeprefix(PREFIX)
        case dict():
            for value in node.values():
                yield from _references(value)
        case list():
            for value in node:
                yield from _references(value)


def _address(request: Request) -> str:
    """Return the address that the caller used: on Azure TLS ends before the app, which hears of it in headers."""
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    host = request.headers.get("x-forwarded-host", request.url.netloc)
    return f"{scheme.split(',')[0].strip()}://{host.split(',')[0].strip()}"
