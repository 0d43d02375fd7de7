"""The API reference without anybody else's server."""

import asyncio
import hashlib
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from hosting.web import reference
from tests.served import served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_SECONDS = 60


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI(title="Referred to", docs_url=None, redoc_url=None)

    @app.get("/answers", operation_id="list-answers", summary="List every answer")
    async def answers() -> list[str]:
        return []

    reference.mount(app)
    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


def test_vendored_files_are_what_their_makers_published() -> None:
    """Each file has the SHA-256 of the manifest, there is no other file, and licence and notice are among them."""
    manifest = json.loads((reference.VENDORED / "manifest.json").read_text())
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in reference.VENDORED.iterdir()
        if path.name != "manifest.json"
    }
    assert manifest.keys() == {"name", "version", "licence", "files"}
    assert manifest["files"] == files
    assert files.keys() >= {"LICENSE", "NOTICE", "swagger-ui-bundle.js", "swagger-ui.css"}


async def test_the_page_is_of_this_server_alone(client: httpx2.AsyncClient) -> None:
    """All that the page refers to is a path of our own that answers, under a policy that allows nothing else."""
    page = await client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "://" not in page.text
    links = set(re.findall(r'(?:href|src|data-description)="([^"]+)"', page.text))
    assert "/openapi.json" in links
    assert len(links) == 5
    for link in links:
        assert (await client.get(link)).status_code == 200


async def test_assets_are_kept_by_browsers(client: httpx2.AsyncClient) -> None:
    """An asset, whose path names its version, is cached for good; the page that names it is not."""
    page = await client.get("/docs")
    assert page.headers["cache-control"] == "no-cache"
    found = re.search(r'src="(/docs/swagger-ui-dist-[\d.]+-[0-9a-f]{8}/)swagger-ui-bundle.js"', page.text)
    assert found is not None
    for name, kind in {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}.items():
        asset = await client.get(found[1] + name)
        assert asset.headers["content-type"] == f"{kind}; charset=utf-8"
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert asset.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["manifest.json", "LICENSE", "..%2f..%2findex.html", "nothing.js"])
async def test_nothing_else_is_served(client: httpx2.AsyncClient, name: str) -> None:
    """What the page does not need is not there."""
    page = await client.get("/docs")
    found = re.search(r'src="(/docs/[^/]+/)', page.text)
    assert found is not None
    assert (await client.get(found[1] + name)).status_code == 404


def test_the_reference_does_not_describe_itself(app: FastAPI) -> None:
    """The page and its assets are no operations."""
    assert list(app.openapi()["paths"]) == ["/answers"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
async def test_a_browser_shows_the_operations(app: FastAPI, tmp_path: Path) -> None:
    """Chromium runs the page under its policy, lists the operations and reports no violation."""
    assert CHROMIUM is not None
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    async with served(app) as base_url:
        browser = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *switches,
            f"--user-data-dir={tmp_path}",
            "--enable-logging=stderr",
            "--virtual-time-budget=10000",
            "--dump-dom",
            f"{base_url}/docs",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(CHROMIUM_SECONDS):
                document, log = await browser.communicate()
        finally:
            if browser.returncode is None:
                browser.kill()
                await browser.wait()
    assert b"List every answer" in document
    assert b"CONSOLE" not in log
