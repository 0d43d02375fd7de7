from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from local.simulator import extracts
from local.simulator.replies import Function, Wish, compose, pieces
from local.simulator.tokens import Message, Tokenizer, Tokenizers

JOURNAL = """Short description: Rain leaks on the main DNS server
Description: Puddles of water stand on the floor of the server room.
2023-07-11 16:41:33 - System Administrator (Additional comments)
Buckets were put out."""


@given(st.lists(st.text(st.characters(exclude_categories=["Zs", "Zl", "Zp", "Cc", "Cs"]), min_size=1), max_size=20))
def test_pieces_join_to_the_text_and_to_its_price(tokenizers: Tokenizers, parts: list[str]) -> None:
    """No piece boundary lies inside a token, so what was streamed so far costs what its pieces cost."""
    text = " ".join(parts)
    split = list(pieces(text))
    assert "".join(split) == text
    for model in ("gpt-4o", "gpt-35-turbo"):
        count = tokenizers.of(model).count
        assert sum(map(count, split)) == count(text)


@given(st.text(max_size=300), st.integers(0, 40))
def test_truncation_keeps_the_limit_and_a_beginning(tokenizers: Tokenizers, text: str, limit: int) -> None:
    """A truncated text is a beginning of the text and costs at most the limit."""
    tokenizer = tokenizers.of("gpt-4o")
    short = tokenizer.truncate(text, limit)
    assert text.startswith(short)
    assert tokenizer.count(short) <= limit


@given(st.text(max_size=300))
def test_any_message_is_answered(text: str) -> None:
    """No message is so odd that there is no reply."""
    assert extracts.reply_to(text)


def test_a_ticket_in_tags_or_json_is_found_in_its_prompt() -> None:
    """Instructions around a ticket are not what is summarised."""
    tagged = (
        "Say it short, cite nothing.\n<ticket-8f2a>The printer is broken on floor two. It smokes badly.</ticket-8f2a>"
    )
    assert extracts.reply_to(tagged) == "The printer is broken on floor two. It smokes badly."
    fenced = "<ticket-0123456789abcdef>\nShort description: VPN down\n</ticket-0123456789abcdef>"
    assert extracts.reply_to(fenced) == "VPN down"
    for opening, closing in (("<<<ticket\n", ">>>"), ("```text\n", "```")):
        assert extracts.reply_to(f"Sum up:\n{opening}VPN down in Berlin\n{closing}") == "VPN down in Berlin"
    aside = f"The printer <b>smokes</b> since Monday. {'It smokes on every floor of the house. ' * 3}"
    assert extracts.reply_to(aside).startswith("The printer")
    as_json = 'Summarize:\n{"ticket": {"number": "1", "short_description": "VPN down", "description": "Error 809."}}'
    assert extracts.reply_to(as_json) == "VPN down. Error 809."


def test_a_large_ticket_full_of_tags_is_answered_in_no_time() -> None:
    """Two megabytes of tags that never close cost seconds at most."""
    assert extracts.reply_to("<a>The printer is broken. " * 80_000)


def test_datamarked_text_is_read() -> None:
    """Signs that stand for white space are read as white space."""
    assert extracts.reply_to("The\ue000printer\ue000is\ue000broken") == "The printer is broken"


def test_a_summary_leaves_out_labels_and_journal_heads() -> None:
    """What is quoted is prose."""
    reply = extracts.reply_to(JOURNAL)
    assert reply.startswith("Rain leaks on the main DNS server. Puddles of water")
    assert "System Administrator" not in reply
    assert "description" not in reply


def test_greetings_questions_and_silence_have_their_answers() -> None:
    """Small talk is answered like small talk."""
    assert extracts.reply_to("Hello there!") == "Hello! How can I help you today?"
    assert extracts.reply_to("Why?") == "You asked: Why?"
    assert extracts.reply_to("Say this is a test") == "Say this is a test"
    assert extracts.reply_to(" \n ") == "I did not receive any text."


def test_without_a_user_the_instructions_are_answered(tokenizer: Tokenizer) -> None:
    """A prompt of a system message alone gets an answer to that."""
    wish = Wish([Message("system", "The printer is broken")])
    assert compose(wish, "gpt-4o", tokenizer).text == "The printer is broken"
    assert compose(Wish([]), "gpt-4o", tokenizer).text == "I did not receive any text."


def test_a_token_limit_shortens_calls_and_reasoning_too(tokenizer: Tokenizer) -> None:
    """Reasoning counts first, then a call's name, then its arguments."""
    function = Function("get_weather", parameters={"type": "object", "properties": {"location": {"type": "string"}}})
    whole = Wish([Message("user", "Weather in New York City?")], functions=[function], forced="get_weather")
    costs = compose(whole, "gpt-4o", tokenizer).completion_tokens(tokenizer)
    for limit in range(costs):
        reply = compose(replace(whole, max_tokens=limit), "gpt-4o", tokenizer)
        assert reply.finish == "length"
        assert reply.completion_tokens(tokenizer) <= limit
    thought = compose(replace(whole, max_tokens=10, effort="high"), "o4-mini", tokenizer)
    assert (thought.reasoning, thought.text, thought.call) == (10, "", None)
