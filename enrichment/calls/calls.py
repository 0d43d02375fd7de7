"""Calls of models about one ticket: the question, the answer in its schema, and what was used, whatever came of it."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol

import openai
from openai.types.create_embedding_response import Usage as EmbeddingUsage
from pydantic import BaseModel, ValidationError

from enrichment.answers.answers import Usage
from enrichment.calls.completions import Used, completed
from enrichment.calls.fence import datamarked, fenced, unfenced, unmarked, visible
from enrichment.calls.schemas import Schema
from enrichment.errors import AnswerUnusable
from enrichment.prompts.prompt import Prompt
from enrichment.tickets.material import Part

_DEEPEST: Final = 12


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One answered call: who answered, and what it used.

    `backend` is the catalog's name of the backend. `replayed`: the gateway's cache gave an earlier answer again.
    """

    request_id: str
    deployment: str
    model: str
    backend: str
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    replayed: bool = False

    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            total_tokens=self.prompt_tokens + self.completion_tokens,
        )


class CallPrices(Protocol):
    def cost(self, call: ModelCall) -> Decimal | None:
        """Return what a call costs in US dollars at our prices; None where there is no price."""
        ...


class Hiding(Protocol):
    """Hides personal data from models and puts it back into what they say."""

    def hide(self, text: str) -> str: ...

    def restore(self, text: str) -> str: ...

    def apart(self) -> "Hiding":
        """Return what hides the same, and whose marks mean nothing to this one."""
        ...


@dataclass(frozen=True, slots=True)
class Way:
    """How models are reached for one ticket: with which client, by how many calls at once, behind which fence."""

    models: openai.AsyncOpenAI
    deployment: str
    slots: asyncio.Semaphore
    mark: Callable[[], str]
    hiding: Hiding
    hiding_rule: str = ""


@dataclass(slots=True)
class Asker:
    """Asks for one task; `calls` are those that were answered, in order."""

    way: Way
    calls: list[ModelCall] = field(default_factory=list)

    async def ask[T: BaseModel](self, prompt: Prompt, material: str, into: type[T], schema: Schema, **fills: str) -> T:
        """Return the model's answer about what `shown` made of a ticket, as `into`.

        Raises NoAnswer, AnswerUnusable, GatewayRefused, GatewayFailed, GatewayTimeout.
        """
        mark = self.way.mark()
        text = fenced(material, mark)
        rules = prompt.filled(mark=mark, hiding=self.way.hiding_rule, **fills)
        async with self.way.slots:
            content = await self._content(prompt, rules, text, schema)
        return self._read(unfenced(content, mark), into)

    def record(self, call: ModelCall) -> None:
        self.calls.append(call)

    async def _content(self, prompt: Prompt, rules: str, text: str, schema: Schema) -> str:
        way = self.way
        headers, completion = await completed(
            way.models, way.deployment, prompt, rules, text, response_format=_response_format(prompt.name, schema)
        )
        self.record(answered(headers, way.deployment, completion.model, completion.usage))
        return completion.text()

    def _read[T: BaseModel](self, content: str, into: type[T]) -> T:
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as garbage:
            raise AnswerUnusable("The model's answer is not JSON.", code="not_json") from garbage
        try:
            return into.model_validate(_mapped(value, self._put_back, _DEEPEST))
        except ValidationError as wrong:
            first = wrong.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise AnswerUnusable(
                f"The model's answer does not keep to its schema at {place or 'its root'}.", code="wrong_schema"
            ) from wrong

    def _put_back(self, text: str) -> str:
        return visible(self.way.hiding.restore(unmarked(visible(text)))).strip()


def _response_format(name: str, schema: Schema) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


def shown(parts: tuple[Part, ...], hiding: Hiding) -> str:
    """Return parts of a ticket as a model sees them: each under its name, hidden and datamarked."""
    return "\n\n".join(
        f"[{part.name}]{f' {datamarked(hiding.hide(part.about))}' if part.about else ''}\n"
        f"{datamarked(hiding.hide(part.text))}"
        for part in parts
    )


def answered(
    headers: Mapping[str, str],
    deployment: str,
    model: str | None,
    usage: Used | EmbeddingUsage | None,
) -> ModelCall:
    """Return the record of a call by the gateway's headers and the answer's usage."""
    details = usage.prompt_tokens_details if isinstance(usage, Used) else None
    return ModelCall(
        request_id=headers.get("x-request-id", ""),
        deployment=deployment,
        model=model or "",
        backend=headers.get("x-gateway-backend", ""),
        prompt_tokens=(usage.prompt_tokens or 0) if usage else 0,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
        completion_tokens=(usage.completion_tokens or 0) if isinstance(usage, Used) else 0,
        replayed=headers.get("x-gateway-cache", "").startswith("hit"),
    )


def _mapped(value: Any, change: Callable[[str], str], depth: int) -> Any:
    match value:
        case str():
            return change(value)
        case list() if depth:
            return [_mapped(each, change, depth - 1) for each in value]
        case dict() if depth:
            return {name: _mapped(each, change, depth - 1) for name, each in value.items()}
        case list() | dict():
            return None
        case _:
            return value
