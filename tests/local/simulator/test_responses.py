import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI
from openai.types.responses import FunctionToolParam, ResponseFunctionToolCall
from pydantic import BaseModel

from local.simulator.server import Simulator, serve_all
from local.simulator.settings import BackendSettings, Deployment
from local.simulator.tokens import Tokenizer, Tokenizers

QUESTION = "What is the capital of France?"
ANSWER = "You asked: What is the capital of France?"
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string"}},
        "required": ["location"],
        "additionalProperties": False,
    },
}


async def test_a_response_is_made_kept_and_deleted(azure: AsyncAzureOpenAI, tokenizer: Tokenizer) -> None:
    """Create, retrieve, delete; after that it is 404; usage is counted as for chat."""
    made = await azure.responses.create(model="gpt-4o", input=QUESTION, instructions="Be brief.")
    assert (made.output_text, made.status) == (ANSWER, "completed")
    assert made.usage is not None
    count = tokenizer.count
    expected = 3 + count("system") + count("Be brief.") + 3 + count("user") + count(QUESTION) + 3
    assert (made.usage.input_tokens, made.usage.output_tokens) == (expected, count(ANSWER))
    assert (await azure.responses.retrieve(made.id)).output_text == ANSWER
    await azure.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await azure.responses.retrieve(made.id)


async def test_a_stream_has_the_real_sequence_of_events(v1: AsyncOpenAI) -> None:
    """The SDK's own accumulator accepts the stream, events are numbered, and usage comes with the last one."""
    async with v1.responses.stream(model="gpt-4o", input=QUESTION) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    kinds = [event.type for event in events]
    deltas = kinds.count("response.output_text.delta")
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * deltas,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert deltas == len(ANSWER.split())
    assert final.usage is not None


async def test_a_function_call_streams_its_arguments(v1: AsyncOpenAI) -> None:
    """A reasoning model thinks, then calls the function with conforming arguments."""
    async with v1.responses.stream(model="o4-mini", input="The weather in Paris?", tools=[WEATHER]) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert "response.function_call_arguments.delta" in kinds
    assert [item.type for item in final.output] == ["reasoning", "function_call"]
    call = final.output[1]
    assert isinstance(call, ResponseFunctionToolCall)
    assert call.arguments == '{"location":"Paris"}'
    assert final.usage is not None
    assert final.usage.output_tokens_details.reasoning_tokens > 0


class Ticket(BaseModel):
    summary: str
    urgent: bool


async def test_a_text_format_is_conformed_to(v1: AsyncOpenAI) -> None:
    """The SDK parses structured output into the caller's model."""
    answer = await v1.responses.parse(model="gpt-4o", input="The urgent printer is broken.", text_format=Ticket)
    assert answer.output_parsed == Ticket(summary="The urgent printer is broken.", urgent=True)


async def test_max_output_tokens_makes_it_incomplete(v1: AsyncOpenAI) -> None:
    """Too few tokens end with status incomplete and the reason, streamed as response.incomplete."""
    answer = await v1.responses.create(model="gpt-4o", input=QUESTION, max_output_tokens=2)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    stream = await v1.responses.create(model="gpt-4o", input=QUESTION, max_output_tokens=2, stream=True)
    assert [event.type async for event in stream][-1] == "response.incomplete"


async def test_a_conversation_goes_on_from_a_stored_response(v1: AsyncOpenAI) -> None:
    """previous_response_id adds the earlier turns to the prompt's price; store=False leaves nothing to go on from."""
    first = await v1.responses.create(model="gpt-4o", input=QUESTION)
    second = await v1.responses.create(model="gpt-4o", input="And Spain?", previous_response_id=first.id)
    alone = await v1.responses.create(model="gpt-4o", input="And Spain?", store=False)
    assert second.usage is not None
    assert alone.usage is not None
    assert second.usage.input_tokens > alone.usage.input_tokens
    with pytest.raises(openai.NotFoundError):
        await v1.responses.retrieve(alone.id)


async def test_a_response_belongs_to_the_backend_that_made_it(tokenizers: Tokenizers) -> None:
    """Elsewhere it cannot be fetched, and going on from it is refused with Azure's code."""
    deployments = {"gpt-4o": Deployment(model="gpt-4o-2024-11-20")}
    names = ("east", "west")
    settings = [BackendSettings(name=name, api_key="key", deployments=deployments) for name in names]
    async with serve_all(settings, tokenizers=tokenizers) as running:

        def client(simulator: Simulator) -> AsyncOpenAI:
            return AsyncOpenAI(base_url=f"{simulator.url}/openai/v1/", api_key="key", max_retries=0)

        async with client(running["east"]) as east, client(running["west"]) as west:
            made = await east.responses.create(model="gpt-4o", input=QUESTION)
            with pytest.raises(openai.NotFoundError):
                await west.responses.retrieve(made.id)
            with pytest.raises(openai.BadRequestError) as refused:
                await west.responses.create(model="gpt-4o", input="And?", previous_response_id=made.id)
            assert refused.value.code == "previous_response_not_found"


async def test_a_functions_output_is_answered_and_priced(v1: AsyncOpenAI, tokenizer: Tokenizer) -> None:
    """A call and its output in the input are counted, and the answer says what the output said."""
    answer = await v1.responses.create(
        model="gpt-4o",
        tools=[WEATHER],
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "Weather in Paris?"}]},
            {"type": "function_call", "call_id": "1", "name": "get_weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": "18 degrees and sunny"},
        ],
    )
    assert answer.output_text == "18 degrees and sunny"
    again = await v1.responses.create(model="gpt-4o", previous_response_id=answer.id, input="Weather in Rome?")
    assert again.usage is not None
    assert answer.usage is not None
    assert again.usage.input_tokens > answer.usage.output_tokens


async def test_a_called_function_can_be_forced_by_name_and_json_asked_for(v1: AsyncOpenAI) -> None:
    """tool_choice names the function; json_object gives an object; a filtered completion is incomplete."""
    forced = await v1.responses.create(
        model="gpt-4o", input=QUESTION, tools=[WEATHER], tool_choice={"type": "function", "name": "get_weather"}
    )
    assert forced.output[0].type == "function_call"
    after = await v1.responses.create(model="gpt-4o", input=QUESTION, previous_response_id=forced.id)
    assert after.output_text == ANSWER
    as_json = await v1.responses.create(model="gpt-4o", input=QUESTION, text={"format": {"type": "json_object"}})
    assert as_json.output_text == f'{{"answer":"{ANSWER}"}}'
    filtered = await v1.responses.create(model="gpt-4o", input="filter-my-completion about the broken printer")
    assert filtered.incomplete_details is not None
    assert filtered.incomplete_details.reason == "content_filter"
