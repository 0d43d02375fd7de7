"""What an instance holds of the cache stays within its bounds."""

from datetime import UTC, datetime

from gateway.cache.caching import LONGEST_ANSWER, Caching, KeptAnswer
from gateway.cache.kept_memory import FRESH_SECONDS, FRONT_BYTES, MOST_QUESTIONS, Front, Questions
from gateway.cache.kept_rows import MOST_ALIKE, Question
from gateway.usage import Meters

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def answer(size: int) -> KeptAnswer:
    return KeptAnswer(b"x" * size, b"application/json", False, NOW, NOW, Meters(), "", "", "first", "global", "")


def question(key: str) -> Question:
    return Question([1.0], "tokens", key, NOW)


def test_the_longest_unused_answer_goes_first() -> None:
    """Answers over the bound push out those that nobody asked for, and one put anew counts once."""
    front, size = Front(), FRONT_BYTES // 4
    for key in ("a", "b", "c", "c", "c"):
        front.put("team-a", key, answer(size))
    assert front.get("team-a", "a")
    front.put("team-a", "d", answer(size))
    assert [key for key in "abcd" if front.get("team-a", key)] == ["a", "c", "d"]
    assert front.get("team-b", "a") is None


def test_questions_are_bounded() -> None:
    """A context keeps the newest questions, all contexts together a number of them, and the unused go first."""
    kept = Questions()
    kept.put("team-a", "busy", 0, [])
    for number in range(MOST_ALIKE + 10):
        kept.add("team-a", "busy", question(str(number)))
        kept.add("team-a", "unread", question(str(number)))
    kept.add("team-a", "busy", question("5"))
    busy, _ = kept.get("team-a", "busy", 0)
    assert len(busy) == MOST_ALIKE
    assert [each.key for each in busy[:2]] == ["5", str(MOST_ALIKE + 9)]
    assert kept.get("team-a", "unread", 0) == ([], False)
    for number in range(MOST_QUESTIONS):
        kept.get("team-a", "busy", 0)
        kept.put("team-a", str(number), 0, [question("1")])
    assert kept.get("team-a", "busy", 0)[0]
    assert kept.get("team-a", "0", 0) == ([], False)


def test_questions_are_read_again() -> None:
    """After a while a context is to be read again, so that other instances' questions are found."""
    kept = Questions()
    kept.put("team-a", "context", 100, [question("1")])
    assert kept.get("team-a", "context", 100 + FRESH_SECONDS) == ([question("1")], True)
    assert kept.get("team-a", "context", 101 + FRESH_SECONDS) == ([question("1")], False)


def test_a_long_stream_is_not_recorded() -> None:
    """A stream over the bound is let go of while it goes on, and is not kept."""
    caching = Caching(b"miss", keeps=True)
    caching.record(b"x" * LONGEST_ANSWER)
    assert len(caching.recorded) == LONGEST_ANSWER
    caching.record(b"x")
    caching.record(b"x")
    assert caching.recorded == b""
    assert not caching.keeps
