"""The prompt shield: what users and tools say is checked for attacks before a backend hears it.

A subscription that asks for it says what happens where the check cannot be made: `open` lets the call through, `closed`
refuses it. Instructions and the model's own earlier words are not checked: they are the application's.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Final, Protocol

from gateway.call import Call
from gateway.errors import PromptAttack, PromptUnchecked
from gateway.requests import operations
from gateway.safety.content_safety import (
    LONGEST_DOCUMENTS,
    LONGEST_PROMPT,
    MOST_DOCUMENTS,
    Question,
    SafetyUnavailable,
)
from gateway.safety.prompts import TOOL, USER, messages_in

OVERLAP = 500
"""Characters that two pieces of a long text share, so that an attack across their border is seen."""

MOST_QUESTIONS = 16
"""Requests to the service for one call, some 150,000 characters of users and as many of tools."""

UNSHIELDED = frozenset({operations.EMBEDDINGS})
"""Operations whose model follows no instructions."""

logger = logging.getLogger(__name__)


class Detector(Protocol):
    async def attack_in(self, question: Question) -> bool:
        """Tell whether there is an attack in it. Raises SafetyUnavailable after a bounded time."""
        ...


class PromptShield:
    """`detector` is None where no service is set: then nothing can be checked."""

    def __init__(self, detector: Detector | None) -> None:
        self._detector = detector

    async def check(self, call: Call) -> None:
        """Return where the call may go on. Raises PromptAttack and PromptUnchecked."""
        safety = call.subscription.safety
        if safety is None or not safety.prompt_shield or call.target.operation in UNSHIELDED:
            return
        try:
            attacked = await self._attacked(call)
        except SafetyUnavailable as error:
            if safety.fail == "closed":
                raise PromptUnchecked(f"The prompt could not be checked for attacks. Request id: {call.id}.") from error
            logger.warning("%s goes on unchecked for attacks: %s", call.id, error)
            return
        if attacked:
            raise PromptAttack("The prompt was refused: it reads as an attack on the model's instructions.")

    async def _attacked(self, call: Call) -> bool:
        if call.upload is not None and call.upload.length != 0 and not call.upload.is_form:
            raise SafetyUnavailable("a file cannot be checked")
        messages = messages_in(call.target.operation, call.body)
        prompt = "\n\n".join(message.text for message in messages if message.role == USER)
        asked = questions(prompt, [message.text for message in messages if message.role == TOOL])
        if not asked:
            return False
        if self._detector is None:
            raise SafetyUnavailable("CONTENT_SAFETY_ENDPOINT is not set")
        if len(asked) > MOST_QUESTIONS:
            raise SafetyUnavailable("the prompt is too long to be checked")
        verdicts = await asyncio.gather(*(map(self._detector.attack_in, asked)), return_exceptions=True)
        if True in verdicts:
            return True
        for verdict in verdicts:
            if isinstance(verdict, BaseException):
                raise verdict
        return False


NO_DETECTOR: Final = PromptShield(None)


def questions(prompt: str, documents: Iterable[str]) -> list[Question]:
    """Return what to ask about these texts, each question inside the service's limits; none for blank texts."""
    prompts = list(_pieces(prompt, LONGEST_PROMPT))
    return [Question(text, lot) for text, lot in zip_longest(prompts, _lots(documents), fillvalue="")]


def _pieces(text: str, longest: int) -> Iterator[str]:
    for start in range(0, max(len(text) - OVERLAP, 1), longest - OVERLAP):
        if (piece := text[start : start + longest]).strip():
            yield piece


def _lots(documents: Iterable[str]) -> Iterator[Sequence[str]]:
    lot: list[str] = []
    size = 0
    for document in documents:
        for piece in _pieces(document, LONGEST_DOCUMENTS):
            if len(lot) == MOST_DOCUMENTS or size + len(piece) > LONGEST_DOCUMENTS:
                yield lot
                lot, size = [], 0
            lot.append(piece)
            size += len(piece)
    if lot:
        yield lot
