"""A ticket about a printer, and what a good model says of it."""

from typing import Any

import httpx2

from enrichment.answers.answers import Enrichment

TICKET = {
    "number": "INC7",
    "sys_id": "46b9490d",
    "correlation_id": "their-1",
    "short_description": "Printer is on fire",
    "description": "Smoke since nine o'clock. It says PC-LOAD.",
    "comments": "2023-10-02 16:13:23 - Joe (Additional comments)\nStill burning!\n\n",
    "work_notes": "2023-10-02 17:00:00 - Beth (Work notes)\nPulled the plug.\n\n",
    "impact": "3 - Low",
    "urgency": "3 - Low",
    "category": "Inquiry / Help",
}
CHOICES = {"category": ["Hardware", "Software"], "assignment_group": [{"display_value": "Hardware", "value": "8a50"}]}


def sentence(text: str, *entries: str) -> dict[str, Any]:
    return {"entries": list(entries), "sentence": text}


def verdict(value: str | None, evidence: str = "Smoke since nine", confidence: float = 0.9) -> dict[str, Any]:
    return {"evidence": evidence, "value": value, "confidence": confidence}


SUMMARY = {
    "issue": [sentence("The printer burns.", "short_description", "description")],
    "actions_taken": [sentence("The plug was pulled.", "work_notes-1")],
    "resolution": [],
}
CLASSIFICATION = {
    "category": verdict("Hardware"),
    "assignment_group": verdict("Hardware"),
    "impact": verdict("2 - Medium", confidence=0.85),
    "urgency": verdict("1 - High"),
}


async def enriched(caller: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await caller.post("/enrich", json={"ticket": TICKET, "choices": CHOICES} | body)
    assert answer.status_code == 200, answer.text
    Enrichment.model_validate_json(answer.text)
    told: dict[str, Any] = answer.json()
    return told
