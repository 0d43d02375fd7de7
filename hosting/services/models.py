"""Models for the capabilities: the openai SDK as a client of our own gateway, in this process, for one caller.

So enrichment is balanced, limited and charged like any other call of the caller's subscription.
"""

from dataclasses import dataclass

import httpx2
import openai
from starlette.types import ASGIApp

from hosting.inprocess import InProcessTransport

BASE_URL = "http://gateway.internal/openai/v1/"
"""A name that is never resolved: the transport goes to the app by reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Makes clients of `gateway`.

    `timeout_seconds` bounds the wait for an answer's head and for each further piece; the gateway's own time-outs are
    shorter. `finish_seconds` bounds what the gateway does after the last byte: it has its usage event acknowledged.
    """

    gateway: ASGIApp
    timeout_seconds: float = 240.0
    finish_seconds: float = 30.0

    def for_caller(self, caller: object) -> openai.AsyncOpenAI:
        """Return a client whose calls are `caller`'s; use it with `async with`, around the whole of the answer.

        Leaving the block waits for the usage events of its calls. One per request: making it costs 50 microseconds and
        5 kB, and a kept one would outlive its caller's rights.
        """
        transport = InProcessTransport(self.gateway, caller=caller, finish_seconds=self.finish_seconds)
        return openai.AsyncOpenAI(
            base_url=BASE_URL,
            api_key="in-process",  # the SDK asks for one; the gateway goes by the scope's caller
            max_retries=0,  # the gateway retries
            timeout=httpx2.Timeout(self.timeout_seconds),
            http_client=httpx2.AsyncClient(transport=transport, trust_env=False),
        )
