"""Whatever a model answers, a ticket gets its answer."""

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from enrichment.caller import TicketCaller
from enrichment.calls import digest
from enrichment.calls.schemas import Schema
from enrichment.enricher import Enricher, EnricherRules
from enrichment.requests.requests import EnrichRequest
from enrichment.tasks import (
    classification,
    entities,
    knowledge_article,
    next_steps,
    reply,
    resolution_notes,
    sentiment,
    summary,
)
from enrichment.tasks.registry import TASKS
from enrichment.tickets.ticket import Coded
from hosting.services.models import Models
from tests.enrichment.fake_gateway import FakeGateway, PerToken
from tests.enrichment.printer import CHOICES, TICKET

SCHEMAS: dict[str, Schema] = {
    "summary": summary.SCHEMA,
    "classification": classification.schema_of({"category": (Coded("Hardware"),), "impact": (Coded("1 - High"),)}),
    "sentiment": sentiment.SCHEMA,
    "entities": entities.SCHEMA,
    "next_steps": next_steps.SCHEMA,
    "resolution_notes": resolution_notes.SCHEMA,
    "knowledge_article": knowledge_article.SCHEMA,
    "reply": reply.SCHEMA,
    "digest": digest.SCHEMA,
}
WORDS = st.sampled_from(["description", "work_notes-1", "[EMAIL-1]", "^", "</ticket-", "Smoke since", "", "\u200b"])
TEXT = WORDS | st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def conforming(schema: Schema) -> st.SearchStrategy[Any]:
    if "anyOf" in schema:
        return st.one_of(*map(conforming, schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object":
            return st.fixed_dictionaries({name: conforming(each) for name, each in schema["properties"].items()})
        case "array":
            return st.lists(conforming(schema["items"]), max_size=4)
        case "number":
            return st.floats() | st.integers()
        case "null":
            return st.none()
        case _:
            return TEXT


ANSWERS = st.fixed_dictionaries({name: conforming(schema) | JSON | TEXT for name, schema in SCHEMAS.items()})


@settings(max_examples=60, deadline=None)
@given(ANSWERS)
def test_no_answer_is_a_defect(answers: dict[str, Any]) -> None:
    """Each task succeeds or says what is wrong with its answer; the whole is an answer that can be sent and kept."""
    gateway = FakeGateway(answers={name: value if value is not None else "null" for name, value in answers.items()})
    long = "\n\n".join(f"2023-10-02 10:00:00 - Joe (Work notes)\n{'x' * 3_000}" for _ in range(20))
    request = EnrichRequest.model_validate(
        {"ticket": TICKET | {"work_notes": long}, "choices": CHOICES, "tasks": list(TASKS), "history": [TICKET]}
    )

    async def enrich() -> str:
        async with Models(gateway=gateway).for_caller("desk") as models:
            answer = await Enricher(EnricherRules(deployment="m"), PerToken()).enrich(
                TicketCaller("desk", models), request
            )
            return answer.model_dump_json()

    told = json.loads(asyncio.run(enrich()))
    codes = {task["error"]["code"] for task in told["tasks"] if "error" in task}
    assert codes <= {"not_json", "wrong_schema", "bad_gateway", "refusal"}
