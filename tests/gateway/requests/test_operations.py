"""What a path asks for, and what no path can ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import OperationNotFound
from gateway.requests import operations
from gateway.requests.operations import LONGEST_PATH, Target, includes_usage, stored_response, target

CHAT_UPSTREAM = "/openai/deployments/{}/chat/completions"


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/openai/deployments/gpt-4o/chat/completions", Target("chat/completions", "gpt-4o", CHAT_UPSTREAM)),
        ("/deployments/gpt-4o/chat/completions", Target("chat/completions", "gpt-4o", CHAT_UPSTREAM)),
        ("/openai/v1/chat/completions", Target("chat/completions", None, "/openai/v1/chat/completions")),
        ("/v1/chat/completions", Target("chat/completions", None, "/openai/v1/chat/completions")),
        ("/openai/responses", Target("responses", None, "/openai/responses")),
        ("/v1/responses/resp_1/input_items", Target("responses/resp_1/input_items", None, "")),
        ("/openai/deployments/d/audio/speech", Target("audio/speech", "d", "/openai/deployments/{}/audio/speech")),
        ("/openai/deployments/a%20b/embeddings", Target("embeddings", "a b", "/openai/deployments/{}/embeddings")),
        ("/v1/models/gpt-4o", Target("models/gpt-4o", None, "/openai/v1/models/gpt-4o")),
    ],
)
def test_the_url_shapes(path: str, asked: Target) -> None:
    """Each of the shapes names its operation, its deployment and its path upstream."""
    found = target(path)
    assert (found.operation, found.deployment) == (asked.operation, asked.deployment)
    assert found.upstream == asked.upstream or not asked.upstream


@pytest.mark.parametrize("path", ["/openai/deployments/d/Chat/Completions", "/v1/CHAT/completions"])
def test_case_does_not_hide_an_operation(path: str) -> None:
    """Azure's routes do not heed case: an operation is metered however it is spelt."""
    assert target(path).operation == operations.CHAT
    assert target(path).upstream.endswith("chat/completions")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/openai",
        "/openai/",
        "/v1/",
        "/openai/deployments/",
        "/openai/deployments/d",
        "/openai/deployments/d/",
        "/openai/deployments//chat/completions",
        "/openai/deployments/d/chat//completions",
        "/openai/deployments/d/chat/completions/",
        "/openai/deployments/d/../../admin",
        "/openai/deployments/d/%2e%2e/%2e%2e/admin",
        "/openai/deployments/d/%252e%252e/admin",
        "/openai/deployments/d/chat%5ccompletions",
        "/openai/deployments/d/x%0d%0aHost:%20evil",
        "/openai/deployments/d/x%3fapi-version=1",
        "/openai/deployments/d/x%23",
        "/openai/deployments/d/{}",
        "/openai/deployments/d/x%00",
        "/v1/../admin",
        "/v1//etc",
        "/v1/{0.__class__}",
        "/elsewhere/chat/completions",
        "/v1/" + "x" * LONGEST_PATH,
        "/deployments/" + "d" * LONGEST_PATH + "/chat/completions",
    ],
)
def test_paths_that_ask_for_nothing(path: str) -> None:
    """A path that no backend has, or that would leave its place there, is an operation that does not exist."""
    with pytest.raises(OperationNotFound):
        target(path)


@given(st.sampled_from(["/openai/deployments/d/", "/deployments/", "/openai/v1/", "/v1/", "/openai/"]), st.text())
def test_what_goes_upstream_is_a_plain_path(prefix: str, rest: str) -> None:
    """Whatever a caller asks for, the path upstream has plain segments only, and a place for one deployment at most."""
    try:
        found = target(prefix + rest)
    except OperationNotFound:
        return
    path = found.upstream.format("gpt-4o")
    assert path.startswith("/openai/")
    assert path.isascii()
    assert path.isprintable()
    assert not set(path) & set(" ?#%\\{}\"'<>")
    assert all(segment not in {"", ".", ".."} for segment in path.split("/")[1:])
    assert (found.deployment is not None) == ("{}" in found.upstream)


def test_long_paths_are_not_remembered() -> None:
    """Callers cannot fill the memory with paths: long ones are refused before they are kept."""
    before = operations._target.cache_info().currsize
    for place in range(50):
        with pytest.raises(OperationNotFound):
            target("/v1/" + "x" * LONGEST_PATH + str(place))
    assert operations._target.cache_info().currsize == before


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("2024-08-01-preview", True),
        ("2024-10-21", True),
        ("2025-04-01-preview", True),
        ("preview", True),
        ("2024-07-01-preview", False),
        ("2023-05-15", False),
        ("", False),
    ],
)
def test_versions_that_know_the_usage_option(version: str, known: bool) -> None:
    """Usage in streams is asked for only where the api-version has the option; the v1 API always does."""
    assert includes_usage(CHAT_UPSTREAM, version) is known
    assert includes_usage("/openai/v1/chat/completions", version)


def test_stored_responses() -> None:
    """A path below responses is about one stored response; nothing else is."""
    assert stored_response(target("/v1/responses/resp_1")) == "resp_1"
    assert stored_response(target("/openai/responses/resp_1/cancel")) == "resp_1"
    assert stored_response(target("/v1/responses")) is None
    assert stored_response(target("/openai/deployments/d/responses/resp_1")) is None
