"""New connections: names, addresses, time-outs and certificates."""

import asyncio
import socket
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.upstream.http11 import Http11Upstream
from gateway.upstream.upstream import Request, UpstreamUnreachable
from tests.certificates import write_certificate
from tests.gateway.upstream.backends import OK, always, backend, read

NAME = "backend.example.com"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(NAME, tmp_path_factory.mktemp("tls") / "both.pem")


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every name have these addresses, one after the other; a test fills them in."""
    addresses: list[str] = []

    async def look_up(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    return addresses


def at(name: str, request: Request) -> Request:
    return replace(request, url=request.url.replace("127.0.0.1", name))


def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def test_a_name_that_is_not_found_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for a connection has the look-up of the backend's name in it."""

    async def silence(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", silence)
    upstream = Http11Upstream(connect_timeout=0.05)
    async with asyncio.timeout(10):
        with pytest.raises(UpstreamUnreachable, match="no connection within"):
            await upstream.send(Request("POST", f"http://{NAME}/x", {}, b"{}"))
    await upstream.close()


async def test_an_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not exist is a backend that cannot be reached."""

    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    upstream = Http11Upstream(connect_timeout=5)
    with pytest.raises(UpstreamUnreachable, match="gaierror"):
        await upstream.send(Request("POST", f"http://{NAME}/x", {}, b"{}"))
    await upstream.close()


async def test_the_next_address_is_tried(names: list[str]) -> None:
    """Of a name's addresses the first that answers is taken."""
    upstream = Http11Upstream(connect_timeout=20)
    async with asyncio.timeout(30), backend(always(OK)) as request:
        names += ["127.0.0.2", "127.0.0.1"]
        assert await read(await upstream.send(at(NAME, request))) == b"hi"
        await upstream.close()


async def test_a_name_is_looked_up_once_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that begin at one moment share one look-up."""
    looked_up = 0

    async def look_up(_host: str, port: int, **_: object) -> list[object]:
        nonlocal looked_up
        looked_up += 1
        await asyncio.sleep(0.01)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    upstream = Http11Upstream(connect_timeout=20)
    async with asyncio.timeout(30), backend(always(OK)) as request:
        answers = await asyncio.gather(*(upstream.send(at(NAME, request)) for _ in range(20)))
        assert [await read(answer) for answer in answers] == [b"hi"] * 20
        await upstream.close()
    assert looked_up == 1


async def test_silence_in_the_handshake() -> None:
    """The time for a connection has TLS in it."""

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    upstream = Http11Upstream(connect_timeout=0.2, trust=ssl.create_default_context())
    async with asyncio.timeout(20), backend(silence) as request:
        with pytest.raises(UpstreamUnreachable, match=r"no connection within 0\.2 seconds"):
            await upstream.send(replace(request, url=request.url.replace("http:", "https:")))
        await upstream.close()


async def test_tls(certificate: Path, names: list[str]) -> None:
    """Over TLS a backend is asked whose certificate is trusted and has the backend's name; its connection is kept."""
    names.append("127.0.0.1")
    trust = ssl.create_default_context(cafile=str(certificate))
    upstream = Http11Upstream(connect_timeout=20, trust=trust)
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await always(OK)(reader, writer)

    async with asyncio.timeout(30), backend(handler, serving(certificate)) as request:
        for _ in range(3):
            assert await read(await upstream.send(at(NAME, request))) == b"hi"
        await upstream.close()
    assert connections == 1


@pytest.mark.parametrize(("name", "trusted"), [(NAME, False), ("other.example.com", True)])
async def test_a_certificate_that_proves_nothing(certificate: Path, names: list[str], name: str, trusted: bool) -> None:
    """A certificate that nobody trusted has signed, or that is another host's, is no connection."""
    names.append("127.0.0.1")
    upstream = Http11Upstream(20, ssl.create_default_context(cafile=str(certificate)) if trusted else None)
    async with asyncio.timeout(30), backend(always(OK), serving(certificate)) as request:
        with pytest.raises(UpstreamUnreachable, match="SSLCertVerificationError"):
            await upstream.send(at(name, request))
        await upstream.close()
