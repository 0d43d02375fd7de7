"""Calls into an ASGI app of this process."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import httpx2
import pytest
from starlette.types import Message, Receive, Scope, Send

from hosting.inprocess import InProcessTransport

type App = Callable[[Scope, Receive, Send], Awaitable[None]]

PATIENCE_SECONDS = 5.0
START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1"), (b"x-a", b"2")]}


def piece(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def client(
    app: App, *, timeout: float = PATIENCE_SECONDS, finish_seconds: float = PATIENCE_SECONDS
) -> httpx2.AsyncClient:
    transport = InProcessTransport(app, caller="someone", finish_seconds=finish_seconds, state={"pool": "shared"})
    return httpx2.AsyncClient(transport=transport, base_url="http://gateway.internal", timeout=timeout)


async def test_the_scope_is_a_servers() -> None:
    """The app sees what a real server would show it, the caller and the lifespan's state beside it."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        assert await receive() == {"type": "http.request", "body": b"{}", "more_body": False}
        await send(START)
        await send(piece(b"", more=False))

    async with client(app) as calling:
        answer = await calling.post("/a%2Fb/ü?q=%20x", content=b"{}", headers={"X-Mixed": "Case"})
    assert answer.headers.get_list("x-a") == ["1", "2"]
    [scope] = seen
    assert dict(scope["headers"])[b"x-mixed"] == b"Case"
    scope.pop("headers")
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/a/b/ü",
        "raw_path": b"/a%2Fb/%C3%BC",
        "query_string": b"q=%20x",
        "root_path": "",
        "client": ("127.0.0.1", 0),
        "server": ("gateway.internal", 80),
        "state": {"pool": "shared"},
        "tollgate.caller": "someone",
    }


async def test_a_caller_in_a_header_is_not_the_caller() -> None:
    """What a request says about itself changes nothing about whose call it is."""

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        await send(START)
        await send(piece(str(scope["tollgate.caller"]).encode(), more=False))

    async with client(app) as calling:
        assert (await calling.get("/", headers={"tollgate.caller": "other"})).text == "someone"


async def test_head_and_pieces_come_when_they_are_sent() -> None:
    """The head is there before any body, each piece before the next, and the app ends after its last byte."""
    log: list[str] = []
    go = asyncio.Semaphore(0)

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        for number in range(3):
            await go.acquire()
            log.append(f"sent {number}")
            await send(piece(str(number).encode()))
        await go.acquire()
        await send(piece(b"", more=False))
        log.append("published")

    async with client(app) as calling, calling.stream("GET", "/") as answer:
        log.append(f"head {answer.status_code}")
        go.release()
        async for got in answer.aiter_raw():
            log.append(f"read {got.decode()}")
            go.release()
    assert log == ["head 200", "sent 0", "read 0", "sent 1", "read 1", "sent 2", "read 2", "published"]


async def test_an_app_waits_for_its_reader() -> None:
    """An app that sends faster than it is read is held at a few pieces, not buffered."""
    sent = 0

    async def app(_: Scope, __: Receive, send: Send) -> None:
        nonlocal sent
        await send(START)
        for _number in range(100):
            await send(piece(b"x"))
            sent += 1
        await send(piece(b"", more=False))

    async with client(app) as calling, calling.stream("GET", "/") as answer:
        reading = answer.aiter_raw()
        await anext(reading)
        for _ in range(50):
            await asyncio.sleep(0)
        assert sent <= 3
        assert len(b"".join([got async for got in reading])) == 99
    assert sent == 100


async def test_leaving_early_is_a_disconnect() -> None:
    """A response that is closed before its end is a disconnect to the app, whose last work is waited for."""
    log: list[str] = []

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(piece(b"x"))
        log.append((await receive())["type"])
        await send(piece(b"dropped"))
        await asyncio.sleep(0.01)
        log.append("billed")

    async with client(app) as calling:
        async with calling.stream("GET", "/") as answer:
            await anext(answer.aiter_raw())
        assert log == []
    assert log == ["http.disconnect", "billed"]


async def test_leaving_frees_an_app_that_is_held() -> None:
    """An app that waits for its reader goes on when there is no reader any more."""
    ended = asyncio.Event()

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        for _number in range(10):
            await send(piece(b"x"))
        ended.set()

    async with client(app) as calling, calling.stream("GET", "/") as answer:
        assert answer.status_code == 200
    assert ended.is_set()


async def test_a_finished_answer_is_a_disconnect_too() -> None:
    """After the whole body `receive` gives a disconnect, as servers do."""
    after: list[str] = []

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(piece(b"x", more=False))
        after.append((await receive())["type"])

    async with client(app) as calling:
        assert (await calling.get("/")).content == b"x"
    assert after == ["http.disconnect"]


@pytest.mark.parametrize("messages", [[], [START], [START, piece(b"x")]])
async def test_an_app_that_fails(messages: list[Message]) -> None:
    """An exception before or inside the answer is a ReadError whose cause is the exception."""

    async def app(_: Scope, __: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        raise LookupError("inside")

    async with client(app) as calling:
        with pytest.raises(httpx2.ReadError, match="LookupError") as told:
            await calling.get("/")
    assert isinstance(told.value.__cause__, LookupError)


@pytest.mark.parametrize("messages", [[], [START], [START, piece(b"x")]])
async def test_an_app_that_stops_short(messages: list[Message]) -> None:
    """An app that returns without the end of its answer broke the protocol."""

    async def app(_: Scope, __: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    async with client(app) as calling:
        with pytest.raises(httpx2.RemoteProtocolError):
            await calling.get("/")


@pytest.mark.parametrize(
    "messages",
    [
        [piece(b"x")],
        [START, START],
        [START, piece(b"x", more=False), piece(b"y")],
        [{"type": "http.response.trailers"}],
    ],
)
async def test_messages_out_of_order_are_refused(messages: list[Message]) -> None:
    """The app hears of messages that no server takes."""
    refused = asyncio.Event()

    async def app(_: Scope, __: Receive, send: Send) -> None:
        try:
            for message in messages:
                await send(message)
        except RuntimeError:
            refused.set()

    async with client(app) as calling:
        with contextlib.suppress(httpx2.RemoteProtocolError):
            await calling.get("/")
    assert refused.is_set()


async def test_a_failure_after_the_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The caller has its answer; what fails afterwards is not lost in silence."""

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        await send(piece(b"x", more=False))
        raise LookupError("publishing")

    async with client(app) as calling:
        assert (await calling.get("/")).content == b"x"
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["publishing"]


@pytest.mark.parametrize("messages", [[], [START], [START, piece(b"x")]])
async def test_silence_is_a_time_out_and_a_disconnect(messages: list[Message]) -> None:
    """The client's read time-out bounds the wait for the head and for each piece; the app then sees a disconnect."""
    seen: list[str] = []

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for message in messages:
            await send(message)
        seen.append((await receive())["type"])

    async with client(app, timeout=0.05) as calling:
        with pytest.raises(httpx2.ReadTimeout):
            await calling.get("/")
    assert seen == ["http.disconnect"]


async def test_a_cancelled_call_is_a_disconnect() -> None:
    """A call that is cancelled while it waits for its answer lets go of the app."""
    waiting = asyncio.Event()
    seen: list[str] = []

    async def app(_: Scope, receive: Receive, __: Send) -> None:
        await receive()
        waiting.set()
        seen.append((await receive())["type"])

    async with client(app) as calling:
        call = asyncio.create_task(calling.get("/"))
        await waiting.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert seen == ["http.disconnect"]


async def test_an_app_that_does_not_end_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """Closing waits no longer than its bound, and says so."""
    cancelled = asyncio.Event()

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        await send(piece(b"x", more=False))
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with caplog.at_level(logging.ERROR):
        async with client(app, finish_seconds=0.02) as calling:
            assert (await calling.get("/")).content == b"x"
    assert cancelled.is_set()
    assert "did not end in 0.02 s" in caplog.text


async def test_calls_run_side_by_side() -> None:
    """Two calls of one transport do not wait for each other."""
    both = asyncio.Barrier(2)

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await both.wait()
        await send(START)
        await send(piece(scope["raw_path"], more=False))

    async with client(app) as calling:
        answers = await asyncio.gather(calling.get("/1"), calling.get("/2"))
    assert [answer.text for answer in answers] == ["/1", "/2"]
