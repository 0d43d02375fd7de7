"""The API reference at /docs: Swagger UI from this repository, so that the page needs nobody else's server.

FastAPI's own page loads its scripts from a CDN: blank on a closed network, and a third party's code beside our keys.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

STATIC: Final = Path(__file__).parent / "static"
VENDORED: Final = STATIC / "vendor" / "swagger-ui"

_MEDIA_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".png": "image/png"}

# Swagger UI draws its icons as data: images; it sets no inline style that the policy would have to allow.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS: Final = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
_PAGE_HEADERS: Final = _HEADERS | {"content-security-policy": _POLICY, "cache-control": "no-cache"}
_ASSET_HEADERS: Final = _HEADERS | {"cache-control": "public, max-age=31536000, immutable"}


@dataclass(frozen=True, slots=True)
class _Reference:
    page: str
    revision: str
    assets: dict[str, bytes]


def mount(app: FastAPI, path: str = "/docs") -> None:
    """Serve the reference of `app` at `path`, from files that are read now, once.

    `app` must have been made with docs_url=None. The assets' path holds their revision, so they may be cached for good.
    Raises OSError where a file is missing.
    """
    reference = _read(path, app.openapi_url or "/openapi.json")

    async def page(_: Request) -> Response:
        return HTMLResponse(reference.page, headers=_PAGE_HEADERS)

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        content = reference.assets.get(name)
        if content is None:
            return Response(status_code=404, headers=_HEADERS)
        return Response(content, media_type=_MEDIA_TYPES[Path(name).suffix], headers=_ASSET_HEADERS)

    app.add_route(path, page, include_in_schema=False)
    app.add_route(f"{path}/{reference.revision}/{{name}}", asset, include_in_schema=False)


def _read(path: str, description: str) -> _Reference:
    manifest = json.loads((VENDORED / "manifest.json").read_text("utf-8"))
    assets = {name: (VENDORED / name).read_bytes() for name in manifest["files"] if Path(name).suffix in _MEDIA_TYPES}
    assets["reference.js"] = (STATIC / "reference" / "reference.js").read_bytes()
    digest = hashlib.sha256(b"".join(assets.values())).hexdigest()
    revision = f"{manifest['name']}-{manifest['version']}-{digest[:8]}"
    page = (STATIC / "reference" / "index.html").read_text("utf-8")
    return _Reference(page.format(assets=f"{path}/{revision}", description=description), revision, assets)
