"""What only the real worker library shows: indexing, invocations' results, event batches, what is kept."""

import json

from tests.hosting.worker.hosts import RunningHost, Start


def _deliver(host: RunningHost, bodies: list[bytes], *, partition: str = "3", first: int = 7, retry: int = 0) -> bool:
    batch = {"bodies": [body.hex() for body in bodies], "partition": partition, "first": first, "retry": retry}
    _, answer = host.request("POST", "/test-host/deliver", json.dumps(batch).encode())
    return bool(json.loads(answer)["succeeded"])


def test_event_batch_is_byte_exact(start: Start) -> None:
    """Empty, binary and unparsable events arrive as they were sent, with partition, numbers and aware times."""
    bodies = [b"", bytes(range(256)), b'{"a": 1}', b"not json"]
    with start("worker-streamed") as host:
        assert _deliver(host, bodies)
        batch = host.get("/seen")["batches"][0]
    assert batch["bodies"] == [body.hex() for body in bodies]
    assert batch["partition"] == "3"
    assert batch["sequence_numbers"] == [7, 8, 9, 10]
    assert batch["times"][0] == "2026-01-02T03:04:05.678000+00:00"


def test_poison_batch_fails_its_invocation_alone(start: Start) -> None:
    """A batch that raises is a failed invocation; the host's retry is told to the function, and others go on."""
    with start("worker-buffered") as host:
        assert not _deliver(host, [b"fine", b"poison"])
        assert not _deliver(host, [b"fine", b"poison"], retry=1)
        assert _deliver(host, [b"fine"])
        assert [batch["retry"] for batch in host.get("/seen")["batches"]] == [0, 1, 0]


def test_app_error_fails_the_invocation(start: Start) -> None:
    """With streams an exception in the app is a failed invocation, although the caller has FastAPI's 500."""
    with start("worker-streamed") as host:
        host.get("/scope")
        host.request("GET", "/error")
        assert host.get("/test-host/invocations") == [True, False]


def test_nothing_is_kept_of_finished_requests(start: Start) -> None:
    """The worker's table of streamed requests does not grow, with errors among them or not."""
    with start("worker-streamed") as host:
        for number in range(60):
            host.request("GET", "/error" if number % 3 == 0 else "/empty")
        assert host.get("/test-host/references") <= 3


def test_indexing(start: Start) -> None:
    """The worker finds the triggers as function_app declares them, retries without end included."""
    with start("worker-streamed") as host:
        functions = host.ready["functions"]
    assert set(functions) == {"http_app", "collect_usage", "tick"}
    assert functions["http_app"]["bindings"][0]["route"] == "{*path}"
    assert functions["collect_usage"]["max_retries"] == 2
    assert functions["tick"]["bindings"][0]["schedule"] == "* * * * * *"
