"""Requests to hosts that callers name, against real servers on loopback: TLS, resolution, redirects, silence."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from enrichment.jobs.outbound import LONGEST_ANSWER, AddressForbidden, Request, Unreachable
from hosting.outbound import AiohttpOutbound
from tests.certificates import write_certificate

NAME = "callback.example.com"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Told: yes\r\n\r\nok"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for NAME, signed by itself, and its key in one file."""
    return write_certificate(NAME, tmp_path_factory.mktemp("tls") / "both.pem")


class Server:
    """Says what it is told to every request, and remembers the requests' bytes."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            self.asked.append(head + await reader.readexactly(length))
            if self.answer is None:
                await reader.read()
            else:
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running(answer: bytes | None, certificate: Path | None = None) -> AsyncIterator[Server]:
    server = Server(answer)
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


@asynccontextmanager
async def outbound(
    *addresses: str, trusting: Path | None = None, allowed: Callable[[str], bool] | None = None, seconds: float = 10
) -> AsyncIterator[AiohttpOutbound]:
    """An Outbound whose resolver knows one answer to everything."""

    def lookup(_host: str, _port: int) -> Sequence[str]:
        return addresses

    trust = ssl.create_default_context(cafile=str(trusting)) if trusting else None
    rules = {"allowed": allowed} if allowed else {}
    opened = AiohttpOutbound(seconds=seconds, lookup=lookup, trust=trust, **rules)
    yield opened
    await opened.close()


def anywhere(_: str) -> bool:
    return True


async def test_the_name_is_resolved_once(certificate: Path) -> None:
    """The connection goes to the address that was checked, TLS and Host to the name; a second look-up never happens."""
    looked: list[str] = []

    def rebinding(host: str, _port: int) -> Sequence[str]:
        looked.append(host)
        return ["127.0.0.1"] if len(looked) == 1 else ["127.0.0.2"]

    async with running(OK, certificate) as server:
        trust = ssl.create_default_context(cafile=str(certificate))
        opened = AiohttpOutbound(allowed=anywhere, lookup=rebinding, trust=trust)
        answer = await opened.send(Request("POST", f"https://{NAME}:{server.port}/hook?a=%2F", {"x-one": "1"}, b"{}"))
        await opened.close()
    assert (answer.status, answer.headers["x-told"], answer.body) == (200, "yes", b"ok")
    assert looked == [NAME]
    [asked] = server.asked
    assert asked.startswith(b"POST /hook?a=%2F HTTP/1.1\r\n")
    assert f"host: {NAME}:{server.port}".encode() in asked.lower()
    assert asked.endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.1.2.3"], ["169.254.169.254"], ["::ffff:127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["fe80::1"]],
)
async def test_names_that_lead_inside(addresses: list[str]) -> None:
    """A name of which even one address is not public is refused, and nothing is connected to."""
    async with running(OK) as server, outbound(*addresses) as opened:
        with pytest.raises(AddressForbidden):
            await opened.send(Request("POST", f"https://{NAME}:{server.port}/", {}, b""))
        assert not server.asked


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:7f00:1]", "169.254.169.254", "2130706433", "0x7f000001"]
)
async def test_addresses_that_lead_inside(host: str) -> None:
    """An address in numbers in the URL itself is held to the same, although nothing is resolved."""
    async with outbound("8.8.8.8") as opened:
        with pytest.raises(AddressForbidden):
            await opened.send(Request("GET", f"https://{host}/", {}))


async def test_loopback_where_it_is_listed() -> None:
    """Where the operator's list names this machine, it and nothing else is reached by http."""
    async with running(OK) as server, outbound("127.0.0.1") as opened:
        request = Request("POST", f"http://127.0.0.1:{server.port}/", {}, b"x", loopback=True)
        assert (await opened.send(request)).status == 200
    async with outbound("8.8.8.8") as opened:
        with pytest.raises(AddressForbidden):
            await opened.send(Request("POST", "http://localhost:1/", {}, b"x", loopback=True))


async def test_redirects_are_not_followed() -> None:
    """A redirect is an answer like any other."""
    redirect = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    async with running(redirect) as server, outbound("127.0.0.1", allowed=anywhere) as opened:
        answer = await opened.send(Request("POST", f"http://{NAME}:{server.port}/", {}, b"x"))
    assert answer.status == 307
    assert len(server.asked) == 1


async def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would resolve names by itself."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with running(OK) as server, outbound("127.0.0.1", allowed=anywhere) as opened:
        assert (await opened.send(Request("GET", f"http://{NAME}:{server.port}/", {}))).status == 200


async def test_another_ones_certificate(certificate: Path) -> None:
    """A certificate that is not trusted, or is another name's, ends the request before anything is said."""
    async with running(OK, certificate) as server:
        async with outbound("127.0.0.1", allowed=anywhere) as opened:
            with pytest.raises(Unreachable):
                await opened.send(Request("POST", f"https://{NAME}:{server.port}/", {}, b"x"))
        async with outbound("127.0.0.1", allowed=anywhere, trusting=certificate) as opened:
            with pytest.raises(Unreachable):
                await opened.send(Request("POST", f"https://other.example.com:{server.port}/", {}, b"x"))
        assert not server.asked


async def test_silence_and_nonsense() -> None:
    """A host that says nothing, something else than HTTP, or is not there is unreachable, in bounded time."""
    async with running(None) as server, outbound("127.0.0.1", allowed=anywhere, seconds=0.2) as opened:
        with pytest.raises(Unreachable, match="did not answer"):
            await opened.send(Request("GET", f"http://{NAME}:{server.port}/", {}))
    async with running(b"SSH-2.0-x\r\n") as server, outbound("127.0.0.1", allowed=anywhere) as opened:
        with pytest.raises(Unreachable):
            await opened.send(Request("GET", f"http://{NAME}:{server.port}/", {}))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with outbound("127.0.0.1", allowed=anywhere) as opened:
            with pytest.raises(Unreachable):
                await opened.send(Request("GET", f"http://{NAME}:{taken.getsockname()[1]}/", {}))


async def test_a_name_that_nobody_has() -> None:
    """A name that cannot be resolved is unreachable."""

    def lookup(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    opened = AiohttpOutbound(lookup=lookup)
    with pytest.raises(Unreachable):
        await opened.send(Request("GET", f"https://{NAME}/", {}))
    await opened.close()


async def test_endless_answers() -> None:
    """Of an answer without end a bounded part is read."""
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * (4 * LONGEST_ANSWER)
    async with running(endless) as server, outbound("127.0.0.1", allowed=anywhere) as opened:
        answer = await opened.send(Request("GET", f"http://{NAME}:{server.port}/", {}))
    assert len(answer.body) == LONGEST_ANSWER
