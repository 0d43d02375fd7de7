"""Which words of a ticket speak for which choice, so that a classification by the simulator can be read."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from local.simulator import extracts

_TOPICS: Final = {
    "network": "vpn wifi lan wlan dns dhcp router routing switch firewall proxy packet latency connection internet",
    "hardware": "printer toner laptop desktop monitor keyboard mouse headset headphone drive disk phone battery dock "
    "usb cpu server camera leaking fan",
    "software": "app application client install upgrade update hotfix launch crash freezes excel word visio sap portal "
    "spreadsheet browser outlook license version",
    "database": "db sql oracle query table schema backup",
    "inquiry": "how where request replacement hire order question",
    "email": "mail mailbox outlook exchange webmail attachment",
    "password": "login locked reset credentials mfa token",
    "desk": "request hire order question",
    "high": "down outage everyone everybody all nobody multiple users blocked completely production payroll unable",
    "medium": "slow several team intermittent sometimes lagging minutes",
    "low": "request need new replacement question please how where",
    "negative": "again still asap unacceptable frustrated angry disappointed blocked urgent third ridiculous",
    "positive": "thank thanks great perfect appreciate solved",
    "duplicate": "duplicate same",
    "workaround": "workaround buckets temporary",
    "change": "replaced upgraded installed reinstalled reverted",
    "user": "user customer",
    "device": "printer laptop phone headset drive",
    "place": "office floor building",
    "error": "error code",
    "version": "version release",
}
_RELATED: Final = {topic: frozenset(words.split()) for topic, words in _TOPICS.items()}
_RELATED_WEIGHT: Final = 1
_OWN_WEIGHT: Final = 3
_UNDECIDED: Final = frozenset({"neutral", "steady", "unknown", "low", "other", "inquiry"})
"""What a careful reader says where nothing speaks for anything else."""


def choice(options: Sequence[str], text: str) -> tuple[str, bool]:
    """Return the option that most words of the text speak for, and whether any did."""
    counted = Counter(extracts.words(text))

    def weight(option: str) -> int:
        named = _words(option)
        related = {word for name in named for word in _RELATED.get(name, ())} - named
        return _sum(counted, named) * _OWN_WEIGHT + _sum(counted, related) * _RELATED_WEIGHT

    best = max(options, key=weight)
    if weight(best):
        return best, True
    undecided = (option for option in options if not _UNDECIDED.isdisjoint(extracts.words(option)))
    return next(undecided, options[0]), False


def speaks_for(option: str, sentences: Iterable[str]) -> str:
    """Return the sentence that speaks most for an option, the first where none does."""
    named = _words(option)
    words = named | {word for name in named for word in _RELATED.get(name, ())}
    return max(sentences, key=lambda sentence: _sum(Counter(extracts.words(sentence)), words), default="")


def _words(option: str) -> set[str]:
    """Return an option's words; the number in `3 - Low` is none, or the third floor would speak for it."""
    return {word for word in extracts.words(option) if not word.isdigit()}


def _sum(counted: Counter[str], words: Iterable[str]) -> int:
    return sum(counted[word] for word in words)
