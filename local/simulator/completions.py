"""Legacy completions: a prompt in, a text out. `prompt` is one text or several, each with `n` choices."""

from collections.abc import Iterator
from typing import Any

import msgspec

from local.simulator import errors, replies
from local.simulator.answers import DONE, PROMPT_FILTER_RESULTS, SAFE, Answer, Event, chat_usage, event
from local.simulator.backend import Backend
from local.simulator.calls import Call, decoded
from local.simulator.chat import StreamOptions
from local.simulator.replies import Reply, Wish
from local.simulator.tokens import Message, PlainPrompt, Usage


class CompletionRequest(msgspec.Struct, frozen=True):
    """The fields of a request that change the answer."""

    prompt: str | list[str] = ""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None


_decoder = msgspec.json.Decoder(CompletionRequest)


def answer(call: Call, backend: Backend) -> Answer:
    """Return the answer to a legacy completion. Raises AzureError."""
    request = decoded(_decoder, call.body)
    if request.stream_options is not None and not call.takes_stream_options():
        raise errors.invalid_request(
            "Unknown parameter: 'stream_options'.", param="stream_options", code="unknown_parameter"
        )
    prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
    copies = request.n or 1
    wanted = request.max_tokens and request.max_tokens * copies * len(prompts)
    usage = backend.admit(call, PlainPrompt(prompts), wanted)
    stop = request.stop or ()
    wishes = (
        Wish([Message("user", text)], stop=(stop,) if isinstance(stop, str) else stop, max_tokens=request.max_tokens)
        for text in prompts
    )
    chosen = [replies.compose(wish, call.model, call.tokenizer) for wish in wishes for _ in range(copies)]
    completion = sum(reply.completion_tokens(call.tokenizer) for reply in chosen)
    backend.settle(call, wanted, completion)
    usage = Usage(usage.prompt, usage.cached, completion, sum(reply.reasoning for reply in chosen))
    if request.stream:
        included = request.stream_options is not None and request.stream_options.include_usage
        return Answer(usage, events=_events(call, chosen, usage if included else None))
    document = _head(call, [_choice(reply.text, reply, index) for index, reply in enumerate(chosen)])
    document["prompt_filter_results"] = PROMPT_FILTER_RESULTS
    if call.report != "missing":
        document["usage"] = chat_usage(usage, call)
    return Answer(usage, body=msgspec.json.encode(document))


def _head(call: Call, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "choices": choices,
        "created": call.created,
        "id": f"cmpl-{call.hex_id}",
        "model": call.model,
        "object": "text_completion",
    }


def _choice(text: str, reply: Reply | None, index: int) -> dict[str, Any]:
    return {
        "content_filter_results": SAFE,
        "finish_reason": reply and reply.finish,
        "index": index,
        "logprobs": None,
        "text": text,
    }


def _events(call: Call, chosen: list[Reply], usage: Usage | None) -> Iterator[Event]:
    tail: dict[str, Any] = {"usage": None} if usage is not None else {}
    for index, reply in enumerate(chosen):
        for piece in replies.pieces(reply.text):
            yield Event(event({**_head(call, [_choice(piece, None, index)]), **tail}), piece, index)
        yield Event(event({**_head(call, [_choice("", reply, index)]), **tail}))
    if usage is not None and call.report != "missing":
        yield Event(event({**_head(call, []), "usage": chat_usage(usage, call)}))
    yield Event(DONE)
