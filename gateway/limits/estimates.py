"""What a request may come to, before anybody has counted: cheap enough for every request, and better with each answer.

Prompt tokens are bytes times a ratio, a quarter at first, then what the answers showed. Completion tokens are what the
caller allows, or what answers had on average where it names no bound. Nothing is tokenised here.
"""

from typing import Final, NamedTuple

from gateway.requests import operations
from gateway.requests.bodies import Peek
from gateway.usage import MOST_METERED

FIRST_RATIO: Final = 0.25
"""Tokens per byte of a body: English text has four characters a token."""

FIRST_COMPLETION: Final = 500
WEIGHT: Final = 0.2
"""Of the latest answer in the averages."""

ENCODED: Final = b";base64,"
ENCODED_TOKENS: Final = 1000
"""For an image or a file inside a body: an image of 1024 pixels square has 765 tokens in high detail (OpenAI)."""

LONGEST_PLAIN: Final = 16_384
"""Bytes; shorter bodies hold no image worth looking for."""


class Estimate(NamedTuple):
    """Tokens. `asked`: the completion is bounded by the caller, not estimated. `text` is the bytes of the prompt."""

    prompt: int = 0
    completion: int = 0
    asked: bool = False
    text: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion


NOTHING: Final = Estimate()


def prompt_tokens(operation: str, body: bytes) -> int:
    """Return what a prompt comes to where nothing was learned yet; 0 for operations that are not metered by tokens."""
    if operation not in operations.METERED:
        return 0
    return _prompt(*_size(body), FIRST_RATIO)


class Learned:
    """Moving averages of one subscription's answers from one deployment."""

    __slots__ = ("completion", "ratio")

    def __init__(self) -> None:
        self.ratio = FIRST_RATIO
        self.completion = float(FIRST_COMPLETION)

    def estimate(self, operation: str, asked: Peek, body: bytes) -> Estimate:
        """Return what a request may come to; nothing for operations that are not metered by tokens."""
        if operation not in operations.METERED:
            return NOTHING
        text, encoded = _size(body)
        prompt = _prompt(text, encoded, self.ratio)
        if operation == operations.EMBEDDINGS:
            return Estimate(prompt, text=text)
        most = asked.most_completion_tokens
        if most:
            return Estimate(prompt, min(most, MOST_METERED), asked=True, text=text)
        return Estimate(prompt, int(self.completion), text=text)

    def learn(self, estimate: Estimate, prompt: int, completion: int) -> None:
        """Take an answer's true counts into the averages."""
        if estimate.text and prompt:
            self.ratio += WEIGHT * (prompt / estimate.text - self.ratio)
        self.completion += WEIGHT * (completion - self.completion)


def _prompt(text: int, encoded: int, ratio: float) -> int:
    return int(text * ratio) + encoded * ENCODED_TOKENS


def _size(body: bytes) -> tuple[int, int]:
    """Return the bytes of text, and the number of encoded images and files."""
    if len(body) < LONGEST_PLAIN:
        return len(body), 0
    first, *encoded = body.split(ENCODED)
    return len(first) + sum(len(part) - max(part.find(b'"'), 0) for part in encoded), len(encoded)
