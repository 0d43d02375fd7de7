"""Extractive replies: the sentences of a text that carry the most weight, so that a summary can be read.

Weight is the classic one (Luhn, 1958): how often a sentence's content words occur in the whole text, over the root of
its length; the first sentence counts a little more.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from math import sqrt

_STOP_WORDS = """
a about after all also am an and any are as at be because been before but by can could did do does
for from had has have he her him his how i if in into is it its just me my no not of on only or our
out please she should so some than that the their them then there these they this to up us was we
were what when where which who why will with would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
LEAD_BONUS = 1.3
SUMMARY_SENTENCES = 3
ECHO_WORDS = 12
TAG_NAMES = 20
TICKET_FIELDS = ("short_description", "description", "work_notes", "comments", "close_notes", "text", "content")

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)|[\r\n]+")
_OPENING = re.compile(r"<([A-Za-z][\w-]*)[^<>\n]*>|<<<[^<>\n]*\n|```\w*\n")
_LABEL = re.compile(
    r"^\W*(?:short[ _]description|description|title|subject|work[ _]notes|comments|ticket)\s*:\s*", re.IGNORECASE
)
_JOURNAL_HEADER = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}[ T]\d.* - .*\([^()]*\)$")
_GREETING = re.compile(
    r"^\W*(?:hello|hi|hey|good (?:morning|afternoon|evening)|greetings)\b[\w\s,]{0,20}\W*$", re.IGNORECASE
)
# Text that was datamarked against injection has a private-use sign or a caret where its white space was.
_MARKED_SPACE = re.compile(r"[\ue000-\uf8ff\u2581]|\^(?=\S)")
_PART_HEADING = re.compile(r"^\[[a-z_]+(?:-\d+)?(?:, [a-z_]+(?:-\d+)?)*\](?:\s.*)?$")


def words(text: str) -> list[str]:
    """Return a text's content words, in lower case and in order."""
    return [word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


def sentences(text: str) -> list[str]:
    """Split a text; white space becomes single spaces, labels of fields and heads of journal entries go."""
    pieces = (" ".join(_LABEL.sub("", piece).split()) for piece in _SENTENCE_END.split(text))
    prose = (piece for piece in pieces if _WORD.search(piece) and not _is_heading(piece))
    return list(dict.fromkeys(prose))


def _is_heading(piece: str) -> bool:
    return bool(_JOURNAL_HEADER.match(piece) or _PART_HEADING.match(piece))


def subject(message: str) -> str:
    """Return the part of a message that it is about: its ticket where it holds one, else all of it."""
    text = _MARKED_SPACE.sub(" ", message)
    quoted = _quoted(text)
    marked = max(quoted, key=len, default="")
    # A short quotation in a long message is an aside, not what the message is about.
    block = quoted[marked] if len(marked) > len(text) / 3 else text
    return _ticket_text(block) or _without_instruction(block)


def _quoted(text: str) -> dict[str, str]:
    """Return each stretch from the first opening of a tag or fence to its last closing, and what is inside."""
    openings: dict[str, re.Match[str]] = {}
    for match in _OPENING.finditer(text):
        closing = f"</{match[1]}>" if match[1] else ">>>" if match[0].startswith("<") else "```"
        openings.setdefault(closing, match)
        if len(openings) == TAG_NAMES:
            break
    found: dict[str, str] = {}
    for closing, match in openings.items():
        end = text.rfind(closing)
        if end >= match.end():
            found[text[match.start() : end + len(closing)]] = text[match.end() : end]
    return found


def _ticket_text(block: str) -> str:
    """Return the prose of a ticket in JSON, or nothing where the block is no JSON object."""
    start, end = block.find("{"), block.rfind("}")
    if start < 0 or end < start:
        return ""
    try:
        ticket = json.loads(block[start : end + 1])
    except ValueError:
        return ""
    fields = ticket.get("ticket", ticket) if isinstance(ticket, dict) else None
    if not isinstance(fields, dict):
        return ""
    return "\n".join(str(fields[name]) for name in TICKET_FIELDS if fields.get(name))


def _without_instruction(block: str) -> str:
    first, colon, rest = block.partition(":\n")
    return rest if colon and rest.strip() and "\n" not in first.strip() and not _LABEL.match(first + ":") else block


def ranked(text: str) -> list[str]:
    """Return a text's sentences, the weightiest first."""
    parts = sentences(text)
    frequency = Counter(words(text))

    def weight(place: int) -> float:
        own = words(parts[place])
        total = sum(frequency[word] for word in own) / sqrt(len(own) or 1)
        return total * (LEAD_BONUS if place == 0 else 1.0)

    order = sorted(range(len(parts)), key=weight, reverse=True)
    return [parts[place] for place in order]


def gist(text: str, limit: int = SUMMARY_SENTENCES) -> str:
    """Return at most `limit` of the weightiest sentences, in the order in which the text has them."""
    chosen = set(ranked(text)[:limit])
    return " ".join(
        sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
        for sentence in sentences(text)
        if sentence in chosen
    )


def reply_to(message: str) -> str:
    """Return a plain answer to a message: a greeting for one, an echo of a short one, else its gist."""
    text = subject(message)
    if _GREETING.match(text):
        return "Hello! How can I help you today?"
    parts = sentences(text)
    if not parts:
        return "I did not receive any text."
    if len(parts) == 1 and len(parts[0].split()) <= ECHO_WORDS:
        return f"You asked: {parts[0]}" if parts[0].endswith("?") else parts[0]
    return gist(text)


def best_match(choices: Iterable[str], text: str) -> str | None:
    """Return the choice whose words occur most often in the text, the first where none does."""
    frequency = Counter(words(text))
    options = list(choices)
    return max(options, key=lambda option: sum(frequency[word] for word in set(words(option))), default=None)
