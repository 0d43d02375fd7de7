"""What is asked for: four kinds of traffic that an Azure OpenAI gateway carries."""

import json
from dataclasses import dataclass
from typing import Final

CHUNKS: Final = 50
CHUNK_BYTES: Final = 300
PACED_CHUNKS: Final = 15
PACED_GAP_SECONDS: Final = 0.05
PACED_MARK: Final = "bench-paced"
"""The `user` of a paced stream's request, by which the look-alike knows it: bodies pass through gateways untouched."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`callers` ask one after another without a pause. `unit` is what CPU time is counted by: request or chunk."""

    name: str
    title: str
    callers: int
    streamed: bool = False
    paced: bool = False

    @property
    def units_per_request(self) -> int:
        if not self.streamed:
            return 1
        return PACED_CHUNKS if self.paced else CHUNKS

    @property
    def spread_seconds(self) -> float:
        """Paced callers begin evenly over one stream's length, so that first chunks do not come in one burst."""
        return PACED_CHUNKS * PACED_GAP_SECONDS if self.paced else 0.0

    @property
    def unit(self) -> str:
        return "chunk" if self.streamed else "request"

    @property
    def body(self) -> str:
        """A chat request of about 1.1 kB, as a service desk sends it."""
        content = "The VPN client drops the connection every day at noon; a restart helps for an hour. " * 10
        request: dict[str, object] = {"messages": [{"role": "user", "content": content}], "max_tokens": 400}
        if self.streamed:
            request |= {"stream": True, "stream_options": {"include_usage": True}}
        if self.paced:
            request |= {"user": PACED_MARK}
        return json.dumps(request)


SCENARIOS: Final = (
    Scenario("json-1", "JSON, 1 caller", 1),
    Scenario("json-16", "JSON, 16 callers", 16),
    Scenario("sse-16", "SSE, 16 callers", 16, streamed=True),
    Scenario("paced-256", "SSE paced, 256 callers", 256, streamed=True, paced=True),
)

OPEN_STREAMS: Final = Scenario("open-1000", "1,000 open streams", 1000, streamed=True, paced=True)
"""What their memory is taken from."""
