"""What an app behind StreamingAsgiMiddleware may rely on, whichever host runs it."""

import asyncio
import contextlib
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hosting.worker.hosts import HOSTS, RunningHost, Start


def test_scope(host: RunningHost) -> None:
    """The app finds its lifespan's state, an invocation id of its own per request and no trace of the plumbing."""
    first, second = host.get("/scope"), host.get("/scope")
    assert first["starts"] == second["starts"] == 1
    assert first["pool"] == "POOL"
    assert first["root_path"] == ""
    assert first["asgi"].startswith("3")
    assert first["invocation_id"] != second["invocation_id"]
    assert "x-ms-invocation-id" not in first["headers"]


def test_encoded_slash_and_query(host: RunningHost) -> None:
    """`%2F` stays in raw_path, the decoded path and the query arrive as they were sent."""
    echoed = host.get("/echo/a%2Fb%20c/d?x=1&y=%20&x=2")
    assert echoed["raw_path"] == "/echo/a%2Fb%20c/d"
    assert echoed["rest"] == "a/b c/d"
    assert echoed["query"] == "x=1&y=%20&x=2"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_methods_and_bodies(host: RunningHost, method: str) -> None:
    """Every method reaches the app, with its body."""
    response, body = host.request(method, "/echo/x", b"a body")
    assert response.status == 200
    assert json.loads(body)["method"] == method
    assert json.loads(body)["body"] == "a body"


def test_head(host: RunningHost) -> None:
    """HEAD is answered with headers alone."""
    response, body = host.request("HEAD", "/echo/x")
    assert (response.status, body) == (200, b"")


def test_repeated_headers_and_cookies(host: RunningHost) -> None:
    """Two cookies and two links leave as two cookies and two links, or as links that are joined."""
    response, _ = host.request("GET", "/repeated")
    cookies = [cookie.split(";")[0] for cookie in response.headers.get_all("set-cookie", [])]
    assert cookies == ["a=1", "b=2"]
    assert ", ".join(response.headers.get_all("link", [])) == "<a>; rel=x, <b>; rel=y"


def test_app_error(host: RunningHost) -> None:
    """An exception in the app gives FastAPI's own 500, and the next request is served."""
    response, body = host.request("GET", "/error")
    assert (response.status, body) == (500, b"Internal Server Error")
    assert host.get("/scope")["starts"] == 1


def test_error_midway(host: RunningHost) -> None:
    """An answer that breaks off is never passed off as whole."""
    with contextlib.closing(host.connection()) as connection:
        connection.request("GET", "/error-midway")
        response = connection.getresponse()
        if host.streams:
            with pytest.raises(http.client.IncompleteRead):
                response.read()
        else:
            assert response.status == 500
            response.read()


def test_empty(host: RunningHost) -> None:
    """A 204 has no body."""
    response, body = host.request("GET", "/empty")
    assert (response.status, body) == (204, b"")


def test_work_behind_the_last_byte(host: RunningHost) -> None:
    """The invocation lasts until the app has ended; with streams the caller has its answer before that."""
    before = host.get("/seen")["finished"]
    began = time.monotonic()
    _, body = host.request("GET", "/after")
    took = time.monotonic() - began
    assert body == b"answered"
    assert (took < 0.25) == host.streams
    deadline = time.monotonic() + 5
    while host.get("/seen")["finished"] == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert host.get("/seen")["finished"] == before + 1


def test_fifty_at_once(host: RunningHost) -> None:
    """Slow answers are given side by side, each to whoever asked."""
    with ThreadPoolExecutor(50) as pool:
        began = time.monotonic()
        answers = list(pool.map(lambda n: host.request("GET", f"/stream?count={n % 3 + 1}&delay=0.1")[1], range(50)))
        took = time.monotonic() - began
    assert [answer.count(b"data:") for answer in answers] == [n % 3 + 1 for n in range(50)]
    assert took < 3


def test_unknown_path(host: RunningHost) -> None:
    """What the app does not know is the app's own 404."""
    response, body = host.request("GET", "/nowhere")
    assert (response.status, json.loads(body)) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_description_is_the_apps_own(host: RunningHost, path: str) -> None:
    """The pages that describe the API are the app's, not those of the worker's own server."""
    _, body = host.request("GET", path)
    assert b"The bridged app" in body


def test_each_chunk_arrives_when_it_is_made(host: RunningHost) -> None:
    """With streams no chunk waits for the next; without, the whole answer comes at the end."""
    lags = []
    with contextlib.closing(host.connection()) as connection:
        connection.request("GET", "/stream?count=4&delay=0.15")
        response = connection.getresponse()
        while line := response.readline():
            if line.startswith(b"data: "):
                lags.append(time.time() - float(line.split()[2]))
    assert len(lags) == 4
    if host.streams:
        assert max(lags) < 0.1
    else:
        assert lags[0] > 0.4


def test_disconnect_reaches_the_app(host: RunningHost) -> None:
    """With streams a caller who leaves ends the generator that was writing for him; without, it runs to its end."""
    before = len(host.get("/seen")["disconnects"])
    connection = host.connection()
    connection.request("GET", "/stream?count=20&delay=0.05")
    if host.streams:
        connection.getresponse().readline()
    connection.close()
    deadline = time.monotonic() + 5
    while host.streams and len(host.get("/seen")["disconnects"]) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(host.get("/seen")["disconnects"]) == before + host.streams


def test_upload_streams_in(host: RunningHost) -> None:
    """A chunked upload arrives whole; the app may read it while it is being sent."""
    if host.name == "worker-buffered":
        pytest.skip("the test's stand-in for the host reads uploads by their length")

    async def upload() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
        writer.write(b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for _ in range(3):
            writer.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.write(b"0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    chunks = 3 if host.streams else 1
    assert asyncio.run(upload()).endswith(b'{"bytes":3000,"chunks":%d}' % chunks)


def test_timer(host: RunningHost) -> None:
    """A timer's function is given what the worker makes of the host's message: no status for a schedule of seconds."""
    if host.name.startswith("worker"):
        assert host.get("/test-host/tick")
    deadline = time.monotonic() + 10
    while not host.get("/seen").get("ticks") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert host.get("/seen")["ticks"][0] == {"past_due": False, "status": {}, "schedule": {"AdjustForDST": True}}


@pytest.mark.parametrize("name", HOSTS)
def test_cold_start(name: str, start: Start) -> None:
    """A start-up that fails is told to those who waited; then, however many requests come, the app starts once."""
    with start(name, SLOW_START="0.3", FAILING_STARTS="1") as host, ThreadPoolExecutor(20) as pool:
        early = list(pool.map(lambda _: host.request("GET", "/scope")[0].status, range(5)))
        answers = list(pool.map(lambda _: host.get("/scope"), range(20)))
    assert early[0] == 500
    assert {answer["starts"] for answer in answers} == {2}
