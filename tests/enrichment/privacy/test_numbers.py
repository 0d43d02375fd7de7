"""Numbers that carry their own check are found whenever they pass it, and only then."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrichment.privacy import hosts, numbers
from enrichment.privacy.placeholders import Placeholders

DIGITS = st.integers(0, 10**20 - 1).map(lambda number: f"{number:020}")
WORDS = st.lists(
    st.sampled_from(["the", "order", "paid", "by", "at", "from", "4711", "2026", "12:30", "INC0010023", "v1.2", "AB12"])
)


def with_check_digit(digits: str) -> str:
    """Return the digits and the one that makes them pass Luhn's test."""
    doubled = sum(sum(divmod(2 * int(each), 10)) for each in digits[-1::-2])
    return digits + str(-(doubled + sum(map(int, digits[-2::-2]))) % 10)


def grouped(text: str, separator: str, size: int = 4) -> str:
    return separator.join(text[start : start + size] for start in range(0, len(text), size))


CARDS = st.tuples(st.sampled_from([("4", 16), ("51", 16), ("37", 15), ("6011", 16), ("3528", 16)]), DIGITS).map(
    lambda drawn: with_check_digit((drawn[0][0] + drawn[1])[: drawn[0][1] - 1])
)
IBANS = st.tuples(st.sampled_from(["DE", "FR", "NL", "PL"]), DIGITS.map(lambda digits: digits[:18])).map(
    lambda drawn: (
        f"{drawn[0]}{98 - int(drawn[1] + ''.join(str(int(each, 36)) for each in drawn[0]) + '00') % 97:02}{drawn[1]}"
    )
)
ADDRESSES = st.one_of(
    st.integers(1, 2**32 - 1).map(lambda number: str(ipaddress.IPv4Address(number))),
    st.integers(1, 2**128 - 1).map(lambda number: str(ipaddress.IPv6Address(number))),
).filter(lambda address: any(each.isdigit() for each in address))
PHONES = st.tuples(st.sampled_from(["+49", "+1", "+351", "0049 ", "+44 (0)"]), DIGITS, st.sampled_from(" -./")).map(
    lambda drawn: f"{drawn[0]}{drawn[2].join(('89', drawn[1][:4], drawn[1][4:8]))}".replace("0049 .", "0049 ")
)
EMAILS = st.tuples(
    st.text("abcxyzäß019.+-_", min_size=1, max_size=20).filter(lambda text: text.strip(".-") == text),
    st.sampled_from(["contoso.com", "mail.contoso.co.uk", "büro.example", "a-b.io"]),
).map("@".join)
PERSONAL = st.one_of(
    st.tuples(CARDS, st.sampled_from(["", " ", "-"])).map(lambda drawn: grouped(*drawn)),
    st.tuples(IBANS, st.sampled_from(["", " "])).map(lambda drawn: grouped(*drawn)),
    ADDRESSES,
    PHONES,
    EMAILS,
)


@given(WORDS, PERSONAL, WORDS)
def test_nothing_personal_is_left(before: list[str], value: str, after: list[str]) -> None:
    """Whatever words stand around it, no half of a value is left, and the text comes back as it was."""
    placeholders = Placeholders()
    text = " ".join((*before, value, *after))
    hidden = placeholders.hide(text)
    assert value not in hidden
    assert placeholders.restore(hidden) == text
    start = text.index(value)
    finders = (numbers.cards, numbers.ibans, numbers.addresses, numbers.phones, hosts.emails)
    spans = [span for finder in finders for span in finder(text)]
    covered = {place for begin, end in spans for place in range(begin, end)}
    assert all(place in covered for place in range(start, start + len(value)) if text[place].isalnum())


@given(CARDS, st.integers(1, 9))
def test_a_wrong_check_digit_is_no_card(card: str, change: int) -> None:
    """A number that fails Luhn's test is no card, in one group or in several."""
    wrong = card[:-1] + str((int(card[-1]) + change) % 10)
    assert list(numbers.cards(wrong)) == list(numbers.cards(grouped(wrong, " "))) == []


@given(IBANS, st.integers(1, 96))
def test_a_wrong_check_is_no_account(iban: str, change: int) -> None:
    """An account number whose remainder is not 1 is none."""
    wrong = f"{iban[:2]}{(int(iban[2:4]) + change) % 97 + 2:02}{iban[4:]}"
    if int(wrong[2:4]) % 97 != int(iban[2:4]) % 97:
        assert list(numbers.ibans(wrong)) == []


@pytest.mark.parametrize(
    "text", ["1.2.3.4.5", "256.1.1.1", "v1.2.3.4", "driver 10.0.1.2", "12:30:45", "a::b", "0.0.0.0"]
)
def test_no_addresses(text: str) -> None:
    """Versions, times and what is out of range are no addresses."""
    assert list(numbers.addresses(text)) == []
