"""Whose request it is, as enrichment needs to know it."""

from dataclasses import dataclass

import openai


@dataclass(frozen=True, slots=True)
class TicketCaller:
    """A subscription and its way to models.

    `models` calls the gateway as this subscription, which is charged. `placeholders` says that personal data is hidden
    from models.
    """

    subscription: str
    models: openai.AsyncOpenAI
    placeholders: bool = True
