import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import openai
import pytest
from jsonschema import validate
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageFunctionToolCall
from pydantic import BaseModel

from local.simulator.server import Simulator
from local.simulator.tokens import Tokenizer

KEY = "made-up-key"
CHAT = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
QUESTION = "What is the capital of France?"
ANSWER = "You asked: What is the capital of France?"
TICKET = (
    "Summarize this ticket:\n\nShort description: The printer on floor 2 is broken\n"
    "Description: The printer shows error 42 since Monday. Users cannot print. It rained."
)

type Post = Callable[..., Awaitable[Any]]


def weather_tool() -> ChatCompletionFunctionToolParam:
    return {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"location": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
                "required": ["location", "unit"],
                "additionalProperties": False,
            },
        },
    }


async def test_all_four_sdk_clients_get_the_same_answer(
    simulator: Simulator, azure: AsyncAzureOpenAI, v1: AsyncOpenAI
) -> None:
    """AzureOpenAI and OpenAI at /openai/v1, sync and async, parse the same text out of it."""

    def sync() -> list[str | None]:
        with (
            AzureOpenAI(azure_endpoint=simulator.url, api_key=KEY, api_version="2024-10-21") as first,
            OpenAI(base_url=f"{simulator.url}/openai/v1/", api_key=KEY) as second,
        ):
            return [
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": QUESTION}])
                .choices[0]
                .message.content
                for client in (first, second)
            ]

    said = await asyncio.to_thread(sync)
    for client in (azure, v1):
        answer = await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": QUESTION}])
        said.append(answer.choices[0].message.content)
    assert said == [ANSWER] * 4


async def test_a_summary_is_made_of_the_tickets_sentences(azure: AsyncAzureOpenAI) -> None:
    """Asked for a summary, it says what the ticket says, without the instruction and the labels."""
    answer = await azure.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": TICKET}])
    text = answer.choices[0].message.content or ""
    assert text.startswith("The printer on floor 2 is broken.")
    assert "error 42" in text
    assert "Summarize" not in text
    assert "rained" not in text


async def test_usage_follows_the_published_formula(azure: AsyncAzureOpenAI, tokenizer: Tokenizer) -> None:
    """A prompt costs 3 a message, its role, content and name, 1 a name, and 3; a completion its text's tokens."""
    answer = await azure.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": QUESTION, "name": "ann"}]
    )
    assert answer.usage is not None
    count = tokenizer.count
    assert answer.usage.prompt_tokens == 3 + count("user") + count(QUESTION) + count("ann") + 1 + 3
    assert answer.usage.completion_tokens == count(ANSWER)


async def test_a_stream_looks_like_azures(post: Post) -> None:
    """Prompt filter results, role, a word per chunk, finish, usage, [DONE]; usage null in all chunks but one."""
    reading = await post(
        CHAT,
        {
            "messages": [{"role": "user", "content": QUESTION}],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    )
    assert reading.events[-1] == b"data: [DONE]"
    first, role, *words, finish, usage = [json.loads(event[6:]) for event in reading.events[:-1]]
    assert (first["choices"], first["model"], first["id"], first["usage"]) == ([], "", "", None)
    assert first["prompt_filter_results"][0]["content_filter_results"]["hate"] == {
        "filtered": False,
        "severity": "safe",
    }
    assert role["choices"][0]["delta"]["role"] == "assistant"
    assert [chunk["choices"][0]["delta"]["content"] for chunk in words] == [
        "You", " asked:", " What", " is", " the", " capital", " of", " France?",
    ]  # fmt: skip
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert all(chunk["usage"] is None for chunk in (role, *words, finish))
    assert (usage["choices"], usage["usage"]["completion_tokens"] > 0) == ([], True)


async def test_a_stream_without_include_usage_never_names_usage(post: Post) -> None:
    """Where the caller did not ask for usage, no chunk has the field."""
    reading = await post(CHAT, {"messages": [{"role": "user", "content": QUESTION}], "stream": True})
    assert len(reading.events) > 5
    assert all(b'"usage"' not in event for event in reading.events)


@pytest.mark.parametrize(
    ("version", "status"), [("2024-06-01", 400), ("2024-08-01-preview", 200), ("2025-04-01-preview", 200)]
)
async def test_stream_options_need_an_api_version_that_has_them(post: Post, version: str, status: int) -> None:
    """Before 2024-08-01-preview stream_options is an unknown parameter."""
    reading = await post(
        f"/openai/deployments/gpt-4o/chat/completions?api-version={version}",
        {"messages": [{"role": "user", "content": "Hi"}], "stream": True, "stream_options": {"include_usage": True}},
    )
    assert reading.status == status
    assert (b'"unknown_parameter"' in reading.data) == (status == 400)


async def test_a_fitting_question_calls_the_tool(azure: AsyncAzureOpenAI) -> None:
    """A question that uses the tool's words gets a call whose arguments conform to the tool's schema."""
    tool = weather_tool()
    answer = await azure.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "How is the weather in Paris, in celsius?"}], tools=[tool]
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    call = (answer.choices[0].message.tool_calls or [])[0]
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert json.loads(call.function.arguments) == {"location": "Paris", "unit": "celsius"}


@pytest.mark.parametrize(("choice", "called"), [("auto", False), ("none", False), ("required", True)])
async def test_tool_choice_decides_where_the_question_does_not(
    azure: AsyncAzureOpenAI, choice: Literal["auto", "none", "required"], called: bool
) -> None:
    """A question about something else calls the tool only where the caller requires it."""
    answer = await azure.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": QUESTION}], tools=[weather_tool()], tool_choice=choice
    )
    assert bool(answer.choices[0].message.tool_calls) == called


async def test_a_streamed_tool_call_joins_to_the_same_call_and_price(
    simulator: Simulator, azure: AsyncAzureOpenAI, tokenizer: Tokenizer
) -> None:
    """The SDK accumulates the argument deltas, and the invoice bills name and arguments."""
    async with azure.chat.completions.stream(
        model="gpt-4o", messages=[{"role": "user", "content": "Weather in New York City?"}], tools=[weather_tool()]
    ) as stream:
        answer = await stream.get_final_completion()
    call = (answer.choices[0].message.tool_calls or [])[0]
    arguments = call.function.arguments
    validate(json.loads(arguments), weather_tool()["function"]["parameters"])
    billed = tokenizer.count("get_weather") + tokenizer.count(arguments)
    assert simulator.invoice.usage().completion == billed


async def test_a_tools_result_is_answered_in_words(azure: AsyncAzureOpenAI) -> None:
    """After a tool message the model speaks, and says what the tool said."""
    answer = await azure.chat.completions.create(
        model="gpt-4o",
        tools=[weather_tool()],
        messages=[
            {"role": "user", "content": "Weather in Paris?"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": "18 degrees and sunny"},
        ],
    )
    assert answer.choices[0].message.content == "18 degrees and sunny"


class Triage(BaseModel):
    category: Literal["Hardware", "Software", "Printer"]
    summary: str
    steps: list[str]
    confidence: float
    users: int | None


async def test_structured_output_parses_into_the_callers_model(v1: AsyncOpenAI) -> None:
    """A pydantic model as response_format is filled from the ticket; the enum takes the value the ticket names."""
    answer = await v1.chat.completions.parse(
        model="gpt-4o", messages=[{"role": "user", "content": TICKET}], response_format=Triage
    )
    triage = answer.choices[0].message.parsed
    assert triage is not None
    assert triage.category == "Printer"
    assert "broken" in triage.summary


async def test_json_mode_answers_an_object(azure: AsyncAzureOpenAI) -> None:
    """json_object gives JSON that parses to an object."""
    answer = await azure.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": QUESTION}], response_format={"type": "json_object"}
    )
    assert json.loads(answer.choices[0].message.content or "") == {"answer": ANSWER}


async def test_n_stop_and_max_tokens_shape_the_choices(azure: AsyncAzureOpenAI) -> None:
    """N repeats the choice and its price, stop cuts before its mark, max_tokens ends with finish_reason length."""
    two = await azure.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": QUESTION}], n=2)
    assert [choice.index for choice in two.choices] == [0, 1]
    stopped = await azure.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": QUESTION}], stop=" capital"
    )
    assert stopped.choices[0].message.content == "You asked: What is the"
    short = await azure.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": QUESTION}], max_tokens=3
    )
    assert short.choices[0].finish_reason == "length"
    assert two.usage is not None
    assert short.usage is not None
    assert short.usage.completion_tokens == 3
    one = await azure.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": QUESTION}])
    assert one.usage is not None
    assert two.usage.completion_tokens == 2 * one.usage.completion_tokens


async def test_reasoning_models_report_reasoning_inside_the_completion(azure: AsyncAzureOpenAI) -> None:
    """Reasoning tokens are a subset of completion tokens, and max_tokens is refused as Azure does."""
    answer = await azure.chat.completions.create(model="o4-mini", messages=[{"role": "user", "content": QUESTION}])
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    reasoning = answer.usage.completion_tokens_details.reasoning_tokens or 0
    assert 0 < reasoning < answer.usage.completion_tokens
    with pytest.raises(openai.BadRequestError, match="max_completion_tokens"):
        await azure.chat.completions.create(
            model="o4-mini", messages=[{"role": "user", "content": QUESTION}], max_tokens=5
        )


async def test_a_prompts_beginning_seen_before_is_reported_as_cached(azure: AsyncAzureOpenAI) -> None:
    """The second prompt with 1024 tokens in common reports them in steps of 128; a short one reports none."""
    beginning = "The printer is broken and nobody knows why. " * 150
    cached = []
    for question in ("one?", "two?"):
        answer = await azure.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "system", "content": beginning}, {"role": "user", "content": question}],
        )
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        cached.append(answer.usage.prompt_tokens_details.cached_tokens or 0)
    assert cached[0] == 0
    assert cached[1] >= 1024
    assert cached[1] % 128 == 0


async def test_the_content_filter_refuses_a_prompt_and_costs_nothing(
    simulator: Simulator, azure: AsyncAzureOpenAI
) -> None:
    """A marked prompt gets Azure's 400 with the inner error, and the invoice stays empty."""
    with pytest.raises(openai.BadRequestError) as refused:
        await azure.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "please content-filter-me"}]
        )
    assert refused.value.code == "content_filter"
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    assert not simulator.invoice.lines


async def test_a_filtered_completion_says_so(azure: AsyncAzureOpenAI) -> None:
    """The second marker ends the completion with finish_reason content_filter, streamed too."""
    messages: Any = [{"role": "user", "content": "filter-my-completion about the printer please"}]
    answer = await azure.chat.completions.create(model="gpt-4o", messages=messages)
    assert answer.choices[0].finish_reason == "content_filter"
    stream = await azure.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
    reasons = [chunk.choices[0].finish_reason async for chunk in stream if chunk.choices]
    assert reasons[-1] == "content_filter"


async def test_legacy_completions_answer_and_stream(v1: AsyncOpenAI, azure: AsyncAzureOpenAI) -> None:
    """The older operation gives the same text whole and in pieces."""
    whole = await azure.completions.create(model="gpt-4o", prompt=QUESTION)
    stream = await v1.completions.create(model="gpt-4o", prompt=QUESTION, stream=True)
    parts = [chunk.choices[0].text async for chunk in stream]
    assert whole.choices[0].text == "".join(parts) == ANSWER
    assert whole.usage is not None
