"""Personal data gives way to marks and returns, whatever a model does to the marks."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrichment.privacy.names import MOST_NAMES
from enrichment.privacy.placeholders import KINDS, Placeholders

PERSONAL = [
    ("Mail jane.doe+vpn@mail.contoso.co.uk today", "Mail [EMAIL-1] today"),
    ("<o'brien@contoso.com>, jane@contoso.com", "<[EMAIL-1]>, [EMAIL-2]"),
    ("+49 (0) 89 1234-5678 or +1-425-555-0100", "[PHONE-1] or [PHONE-2]"),
    ("call 0049 89 12345678 now", "call [PHONE-1] now"),
    ("tel 089/1234567, Telefon: 2345678", "tel [PHONE-1], Telefon: [PHONE-2]"),
    ("(425) 555-0100 and 425-555-0101", "[PHONE-1] and [PHONE-2]"),
    ("au 01 23 45 67 89 ou 020 7946 0958", "au [PHONE-1] ou [PHONE-2]"),
    ("Please call me at 5550100 before noon", "Please call me at [PHONE-1] before noon"),
    ("Durchwahl 4711, ext. 222", "Durchwahl [PHONE-1], ext. [PHONE-2]"),
    ("+49 89 12345678 2026-11-20 07:15", "[PHONE-1] 2026-11-20 07:15"),
    ("06.12.34.56.78 or +33 6 12 34 56 78", "[PHONE-1] or [PHONE-2]"),
    ("1-800-555-0199, +91 98765 43210, 01234 567890", "[PHONE-1], [PHONE-2], [PHONE-3]"),
    ("Handynummer: 01711234567 / Telefonnummer 600 123 456", "Handynummer: [PHONE-1] / Telefonnummer [PHONE-2]"),
    ("+49\u00a089\u00a0123456 and 4111\u00a01111\u00a01111\u00a01111", "[PHONE-1] and [CARD-1]"),
    ("gateway vpn-lis-02 at 00:1A:2B:3C:4D:5E", "gateway [HOST-1] at [HOST-2]"),
    ("[2001:db8::1]:443 and 10.0.0.0/24", "[[IP-1]]:443 and [IP-2]/24"),
    ("User name: jdoe7, Benutzerkennung=weber.j.", "User name: [USER-1], Benutzerkennung=[USER-2]."),
    ("Card 4111 1111 1111 1111 exp 12/27", "Card [CARD-1] exp 12/27"),
    ("cards 12 5500-0000-0000-0004 378282246310005", "cards 12 [CARD-1] [CARD-2]"),
    ("to DE89 3704 0044 0532 0130 00 for rent", "to [IBAN-1] for rent"),
    ("GB29NWBK60161331926819.", "[IBAN-1]."),
    ("from 192.168.10.254 and 10.0.0.1:443", "from [IP-1] and [IP-2]:443"),
    ("at 2001:db8:85a3::8a2e:370:7334 or ::1", "at [IP-1] or [IP-2]"),
    ("ping srv01.corp.contoso.com.", "ping [HOST-1]."),
    ("https://portal.contoso.com:8443/a?b=c", "https://[HOST-1]:8443/a?b=c"),
    ("http://intranet/wiki on LAPTOP-7F3K2L9Q", "http://[HOST-1]/wiki on [HOST-2]"),
    (r"\\fileserver\finance is gone; so is SRV-DB01", r"\\[HOST-1]\finance is gone; so is [HOST-2]"),
    (r"CONTOSO\jdoe sees C:\Users\jdoe\Desktop", r"CONTOSO\[USER-1] sees C:\Users\[USER-1]\Desktop"),
]

NOBODYS = [
    "Order 4111 1111 1111 1112 has shipped.",
    "It is 12:30:45 on 2026-11-21, or 21.11.2026 07:15, or 11/21/2026 12:30.",
    "2023-10-02 16:13:23 - Work notes",
    "Version 10.0.19045.3570, build 20261121, Python 3.13.0 and v1.2.3.4.",
    "INC0010023, CHG0030001, KB5031234, RITM0012345 and sys_id 9d385017c611228701d22104cc95c371",
    "Error 0x80070005 in std::vector at line 1234567; see a::b.",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16",
    "The amount of 1,234,567.89 for PO 0045001234 and serial 5550100123",
    "function_app.py, backup.tar.gz, Node.js, ASP.NET, outlook.exe, e.g. this, i.e. that.",
    "It stopped.It has restarted.In the end it works. See report.pdf/page 3",
    r"HKLM\Software\Contoso and C:\Windows\System32 on Windows 11",
    "We call 2 times a day, on 2026-11-21; extension .docx",
    "IMEI 490154203237518 of the phone",
    "Rooms 101 102 103, tickets 4711 and 4712",
    "A follow-up of step-2, covid-19, utf-8 and gpt-4o-mini; 3-5 people, 06.12.34 at noon",
    "The user name is missing",
]

ANYTHING = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from([*(text for text, _ in PERSONAL), *NOBODYS]),
        st.sampled_from(
            ["[EMAIL-1]", "EMAIL-1", r"\[USER-2\]", "[ phone 1 ]", "Jane", "Doe", "[", "]", "\\", "-1", "."]
        ),
    ),
    max_size=6,
).map("".join)


@pytest.mark.parametrize(("text", "expected"), PERSONAL)
def test_personal_data_is_hidden(text: str, expected: str) -> None:
    """Each kind of address, number, machine and account gives way to its mark, and the words around it stay."""
    placeholders = Placeholders()
    assert placeholders.hide(text) == expected
    assert placeholders.restore(expected) == text


@pytest.mark.parametrize("text", NOBODYS)
def test_what_tells_of_nobody_stays(text: str) -> None:
    """Dates, versions, numbers of tickets, files and numbers that fail their own check are left as they are."""
    assert Placeholders().hide(text) == text


def test_names_are_hidden_whole_and_in_part() -> None:
    """A name that came with the ticket is hidden in any case and spacing, its words where they are written as names."""
    placeholders = Placeholders(["Jane van Doe", "beth.anglin", "王小明", "System Administrator", "ITIL"])
    hidden = placeholders.hide("jane VAN\n doe and Jane asked Doe, Beth.Anglin's 王小明 and the System Administrator.")
    assert hidden == "[USER-1] and [USER-2] asked [USER-3], [USER-4]'s [USER-5] and the System Administrator."
    assert placeholders.hide("John Doedoe asked the administrator") == "John Doedoe asked the administrator"


def test_what_is_no_name() -> None:
    """A letter, a row of digits and a text of many words are nobody's name; and there is an end to names."""
    placeholders = Placeholders(
        ["J", "4711", "Jo", "word " * 40, *(f"Person{number}" for number in range(MOST_NAMES + 1))]
    )
    text = f"J and Jo have {'word ' * 40}4711"
    assert placeholders.hide(text) == text
    assert placeholders.hide(f"Person1 and Person{MOST_NAMES}") == f"[USER-1] and Person{MOST_NAMES}"


def test_apart_is_another_one() -> None:
    """What was hidden apart knows the same names, numbers by itself, and does not return here."""
    placeholders = Placeholders(["Jane Doe"])
    placeholders.hide("a@contoso.com")
    apart = placeholders.apart()
    assert apart.hide("b@contoso.com of Jane Doe") == "[EMAIL-1] of [USER-1]"
    assert placeholders.restore("[EMAIL-1] [USER-1]") == "a@contoso.com [USER-1]"


def test_one_value_has_one_mark() -> None:
    """The same value is the same mark in every text of a request; numbers follow the order of first sight."""
    placeholders = Placeholders()
    assert placeholders.hide("a@contoso.com b@contoso.com a@contoso.com") == "[EMAIL-1] [EMAIL-2] [EMAIL-1]"
    assert placeholders.hide("b@contoso.com c@contoso.com") == "[EMAIL-2] [EMAIL-3]"


@pytest.mark.parametrize(
    "written",
    [
        "[EMAIL-1]", "[email-1]", "[Email 1]", "[ EMAIL-1 ]", "[EMAIL_1]", "[EMAIL\u20111]", "[EMAIL \u2013 1]",
        r"\[EMAIL-1\]", "\uff3bEMAIL-1\uff3d", "EMAIL-1",
    ],
)  # fmt: skip
def test_a_mark_survives_rewriting(written: str) -> None:
    """A mark in another case, spacing, dash or bracket is still its value's."""
    placeholders = Placeholders()
    placeholders.hide("jane@contoso.com")
    assert (
        placeholders.restore(f"Ask **{written}**, then ({written}).")
        == "Ask **jane@contoso.com**, then (jane@contoso.com)."
    )


def test_a_mark_that_was_never_given_stays() -> None:
    """A number that the model made up is not replaced by anybody's data."""
    placeholders = Placeholders()
    placeholders.hide("jane@contoso.com")
    invented = "[EMAIL-2], [PHONE-1], EMAIL-17, [EMAIL-1"
    assert placeholders.restore(invented) == invented


@pytest.mark.parametrize("look_alike", ["[EMAIL-1]", "EMAIL-1", r"\[EMAIL-1\]", "[email 1]", "[TEXT-1]"])
def test_a_look_alike_is_no_mark(look_alike: str) -> None:
    """A ticket that holds what looks like a mark gets it back as it was, and nobody's address in its place."""
    placeholders = Placeholders()
    text = f"{look_alike} wrote to jane@contoso.com"
    hidden = placeholders.hide(text)
    assert look_alike not in hidden.replace("[EMAIL-1]", "", 1) or look_alike == "[TEXT-1]"
    assert placeholders.restore(hidden) == text


@given(ANYTHING, ANYTHING)
def test_what_was_hidden_returns(first: str, second: str) -> None:
    """Every text comes back as it was, also when an earlier one has filled the numbers."""
    placeholders = Placeholders(["Jane Doe"])
    hidden = placeholders.hide(first), placeholders.hide(second)
    assert (placeholders.restore(hidden[0]), placeholders.restore(hidden[1])) == (first, second)


@given(
    st.text(max_size=40),
    st.sampled_from(["jane@contoso.com", "4111 1111 1111 1111", "10.20.30.40"]),
    st.text(max_size=40),
)
def test_no_company_protects_personal_data(before: str, value: str, after: str) -> None:
    """Whatever stands before and behind, an address between spaces is hidden."""
    assert value not in Placeholders().hide(f"{before} \n{value}\n {after}")


@given(ANYTHING, st.lists(st.integers(0, 400), max_size=8))
def test_pieces_restore_as_the_whole(text: str, cuts: list[int]) -> None:
    """However a text is parted, its pieces together are what the whole restores to."""
    placeholders = Placeholders(["Jane Doe"])
    hidden = placeholders.hide(f"jane@contoso.com {text}") + text
    places = sorted({min(cut, len(hidden)) for cut in cuts} | {0, len(hidden)})
    restoring = placeholders.restoring()
    told = [restoring.feed(hidden[start:end]) for start, end in pairwise(places)]
    assert "".join((*told, restoring.end())) == placeholders.restore(hidden)


@pytest.mark.parametrize(
    "text", ["See [EMAIL-1] and [1] a.b EMAIL-1. [\\", r"\[EMAIL-1\]EMAIL-1\[EMAIL-12]-EMAIL-1", "xEMAIL-1 IP-1"]
)
def test_every_cut_restores_alike(text: str) -> None:
    """A text cut in two at any place, or into single characters, restores as the whole does."""
    placeholders = Placeholders()
    placeholders.hide("jane@contoso.com 10.0.0.1")
    whole = placeholders.restore(text)
    for cut in range(len(text) + 1):
        restoring = placeholders.restoring()
        assert restoring.feed(text[:cut]) + restoring.feed(text[cut:]) + restoring.end() == whole
    restoring = placeholders.restoring()
    assert "".join(map(restoring.feed, text)) + restoring.end() == whole


def test_a_stream_is_told_at_once() -> None:
    """Text that cannot become a mark is not held back, and a mark is told when its bracket closes."""
    placeholders = Placeholders()
    placeholders.hide("jane@contoso.com")
    restoring = placeholders.restoring()
    assert [restoring.feed(piece) for piece in ("Ask ", "[EM", "AIL-", "1]", " now")] == [
        "Ask ",
        "",
        "",
        "jane@contoso.com",
        " now",
    ]


@pytest.mark.parametrize(
    "text",
    ["a", "1", "1 ", "a@", "a.", ":", "1.1", "(0", "+1-", "0 1", "tel 1 ", "DE89 ", "[", "[ EMAIL", "EMAIL-1", "\\",
     "Jane ", "4111 ", "srv-", "http://", "A\\", "/home/", "[EMAIL-1]", "tel ", "12/12/20 "],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    """A hundred thousand characters made to be slow take seconds, not minutes, to hide and to restore."""
    long = text * (100_000 // len(text))
    placeholders = Placeholders(["Jane Doe", *(f"Jane {'Doe ' * number}" for number in range(1, 20))])
    began = time.process_time()
    hidden = placeholders.hide(long)
    placeholders.restore(long)
    assert time.process_time() - began < 20
    assert placeholders.restore(hidden) == long


def test_kinds_are_few_and_known() -> None:
    """The kinds that marks carry are those that the documentation lists."""
    assert set(KINDS) == {"EMAIL", "PHONE", "CARD", "IBAN", "IP", "HOST", "USER", "TEXT"}
