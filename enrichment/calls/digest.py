"""Long tickets: the middle is condensed by models, piece by piece, before any task sees it.

Title, the beginning of the description, the first two and the last six entries of each journal stay as they are, up to
a length. What is between is cut into pieces; of each a model makes sentences that name the entries they rest on, so
that tasks can cite those. Where that is still too long, it is done again. What was made is kept in memory for the next
request about the same ticket, by subscription.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from pydantic import BaseModel

from enrichment.answers.answers import TaskWarning
from enrichment.calls.calls import Asker, shown
from enrichment.calls.schemas import strict
from enrichment.errors import EnrichmentError
from enrichment.prompts.digest import DIGEST
from enrichment.suggestions.grounding import Sentence, grounded
from enrichment.tickets.material import Part

LONGEST: Final = 24_000
"""Characters that are shown as they are: some 6,000 tokens of English, 11,000 with the signs of datamarking."""
FIRST_ENTRIES: Final = 2
LAST_ENTRIES: Final = 6
PART: Final = 3_000
"""Characters of a part that stays."""
PIECE: Final = 12_000
PIECES: Final = 20
"""More is cut off in the middle: a ticket costs no more than this many calls."""
FACTS: Final = 10_000
"""Characters of condensed sentences; more are condensed again."""
ROUNDS: Final = 3
KEPT_DIGESTS: Final = 256

_FIELDS: Final = frozenset({"short_description", "description", "cmdb_ci", "close_notes"})


class DigestAnswer(BaseModel):
    facts: list[Sentence]


SCHEMA: Final = strict(DigestAnswer)


class Digests:
    """Condenses tickets, and remembers the latest. Safe to share."""

    def __init__(self, kept: int = KEPT_DIGESTS) -> None:
        self._kept = kept
        self._facts: OrderedDict[bytes, tuple[Part, ...]] = OrderedDict()

    async def shortened(
        self, parts: Sequence[Part], subscription: str, asker: Asker
    ) -> tuple[tuple[Part, ...], tuple[TaskWarning, ...]]:
        """Return the parts with what is in the middle condensed, and what there is to know about that.

        Raises the first piece's error where none could be condensed.
        """
        staying, middle, place = _divided(parts)
        pieces = _pieces(middle)
        cut = len(pieces) > PIECES
        if cut:
            pieces = [*pieces[: PIECES // 2], *pieces[-PIECES // 2 :]]
        key = _key(subscription, asker.way.deployment, pieces)
        facts = self._facts.get(key)
        whole = True
        if facts is None:
            facts, whole = await _condensed(pieces, asker)
            if whole:
                self._keep(key, facts)
        else:
            self._facts.move_to_end(key)
        return (*staying[:place], *facts, *staying[place:]), _warnings(cut=cut, whole=whole)

    def _keep(self, key: bytes, facts: tuple[Part, ...]) -> None:
        self._facts[key] = facts
        if len(self._facts) > self._kept:
            self._facts.popitem(last=False)


def too_long(parts: Iterable[Part]) -> bool:
    return sum(len(part.text) + len(part.about) for part in parts) > LONGEST


def ends_of(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Return what stays as it is, without the middle."""
    return tuple(_divided(parts)[0])


def _divided(parts: Sequence[Part]) -> tuple[list[Part], list[Part], int]:
    """Return the parts that stay, those in the middle, and before which of the staying ones these belong."""
    ends = _ends(parts)
    staying: list[Part] = []
    middle: list[Part] = []
    place = 0
    for part in parts:
        if part.name not in _FIELDS and part.name not in ends:
            middle.append(part)
        else:
            reach = _reach(part.text, PART)
            staying.append(replace(part, text=part.text[:reach]))
            if part.text[reach:]:
                middle.append(replace(part, text=part.text[reach:]))
        place = len(staying) if not middle else place or len(staying)
    return staying, middle, place


def _ends(parts: Sequence[Part]) -> frozenset[str]:
    journals: dict[str, list[str]] = {}
    for part in parts:
        if part.name not in _FIELDS:
            journals.setdefault(part.name.partition("-")[0], []).append(part.name)
    return frozenset(name for names in journals.values() for name in (*names[:FIRST_ENTRIES], *names[-LAST_ENTRIES:]))


def _pieces(parts: Iterable[Part]) -> list[tuple[Part, ...]]:
    """Pack parts into pieces of at most PIECE characters; a longer part is cut."""
    pieces: list[tuple[Part, ...]] = []
    room = 0
    for part in _cut(parts):
        size = len(part.text) + len(part.about)
        if size > room or not pieces:
            pieces.append(())
            room = PIECE
        pieces[-1] = (*pieces[-1], part)
        room -= size
    return pieces


def _cut(parts: Iterable[Part]) -> Iterator[Part]:
    for part in parts:
        text = part.text
        while text:
            reach = _reach(text, PIECE)
            yield replace(part, text=text[:reach])
            text = text[reach:]


def _reach(text: str, longest: int) -> int:
    """Return where to cut: after a line, a sentence or a word, since half an address would not be hidden."""
    if len(text) <= longest:
        return len(text)
    places = (text.rfind(end, longest // 2, longest) + len(end) for end in ("\n", ". ", " "))
    return next((place for place in places if place > longest // 2), longest)


async def _condensed(pieces: Sequence[tuple[Part, ...]], asker: Asker) -> tuple[tuple[Part, ...], bool]:
    """Return sentences as parts named by what they rest on, and whether every piece could be condensed."""
    whole = True
    facts: tuple[Part, ...] = ()
    for _ in range(ROUNDS):
        made = await asyncio.gather(*(_facts(piece, asker) for piece in pieces), return_exceptions=True)
        errors = [each for each in made if isinstance(each, BaseException)]
        for error in errors:
            if not isinstance(error, EnrichmentError) or len(errors) == len(pieces):
                raise error
        whole = whole and not errors
        facts = tuple(fact for each in made if not isinstance(each, BaseException) for fact in each)
        if sum(len(fact.text) for fact in facts) <= FACTS:
            break
        pieces = _pieces(facts)
    return tuple(_first(facts, FACTS)), whole


async def _facts(piece: tuple[Part, ...], asker: Asker) -> tuple[Part, ...]:
    answer = await asker.ask(DIGEST, shown(piece, asker.way.hiding), DigestAnswer, SCHEMA)
    names = frozenset(name for part in piece for name in part.name.split(", "))
    kept, _ = grounded(answer.facts, names)
    return tuple(Part(", ".join(fact.entries), fact.sentence) for fact in kept)


def _first(facts: Iterable[Part], characters: int) -> Iterator[Part]:
    for fact in facts:
        characters -= len(fact.text)
        if characters < 0:
            return
        yield fact


def _key(subscription: str, deployment: str, pieces: Sequence[tuple[Part, ...]]) -> bytes:
    digest = hashlib.sha256()
    for text in (subscription, deployment, DIGEST.label, *(f"{part.name}\n{part.text}" for p in pieces for part in p)):
        digest.update(len(text).to_bytes(8))
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.digest()


def _warnings(*, cut: bool, whole: bool) -> tuple[TaskWarning, ...]:
    messages = []
    if cut:
        messages.append(f"The ticket is longer than {PIECES} pieces of {PIECE} characters: its middle was left out.")
    if not whole:
        messages.append("Some entries could not be condensed, and were left out.")
    return tuple(TaskWarning(code="ticket_shortened", message=message) for message in messages)
