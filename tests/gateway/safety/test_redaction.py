"""What must not leave, and what may stay."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.safety.redaction import redact

TAKEN_OUT = [
    ("Mail jane.doe+vpn@mail.contoso.co.uk today", "Mail [email] today"),
    ("<o'brien@contoso.com>", "<[email]>"),
    ("+49 (0) 89 1234-5678 or +1-425-555-0100", "[phone] or [phone]"),
    ("call 0049 89 12345678 now", "call [phone] now"),
    ("tel 089/1234567", "tel [phone]"),
    ("(425) 555-0100", "[phone]"),
    ("425-555-0100", "[phone]"),
    ("Card 4111 1111 1111 1111 exp 12/27", "Card [card] exp 12/27"),
    ("5500-0000-0000-0004, 378282246310005", "[card], [card]"),
    ("4111111111111111 12", "[card] 12"),
    ("to DE89 3704 0044 0532 0130 00 for rent", "to [iban] for rent"),
    ("GB29NWBK60161331926819.", "[iban]."),
    ("from 192.168.10.254 and 10.0.0.1:443", "from [ip] and [ip]:443"),
    ("at 2001:db8:85a3::8a2e:370:7334 or ::1", "at [ip] or [ip]"),
    ("key sk-proj-abcDEF0123456789abcd", "key [key]"),
    ("Bearer eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiIxIn0.c2lnbmF0dXJl", "Bearer [key]"),
    ("AKIAIOSFODNN7EXAMPLE", "[key]"),
    ("ghp_abcdefghij0123456789", "[key]"),
    ("0123456789abcdef0123456789ABCDEF", "[key]"),
    ("AccountKey=abc/def+ghi==;EndpointSuffix=x", "AccountKey=[key];EndpointSuffix=x"),
    ("password: hunter2!", "password: [key]"),
    ("Authorization: Bearer abc.def", "Authorization: [key]"),
    ('"api_key": "s3cr3t"', '"api_key": "[key]"'),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----",
        "[key]",
    ),
]

STAYS = [
    "Order 4111 1111 1111 1112 has shipped.",
    "It is 12:30:45 on 2026-11-21.",
    "Version 3.13.0, build 20261121.",
    "The route is /openai/deployments/gpt-4o/chat/completions.",
    "Error 0x80070005 in std::vector at line 1234567.",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16",
    "What is the capital of France?",
]


@pytest.mark.parametrize(("text", "expected"), TAKEN_OUT)
def test_what_tells_of_somebody_is_taken_out(text: str, expected: str) -> None:
    """Each kind of address, number and key gives way to its mark, and the words around it stay."""
    assert redact(text) == expected


@pytest.mark.parametrize("text", STAYS)
def test_what_tells_of_nobody_stays(text: str) -> None:
    """Numbers that fail their own check, times, versions and paths are left as they are."""
    assert redact(text) == text


@given(st.text(), st.sampled_from([text for text, _ in TAKEN_OUT[:2]]), st.text())
def test_a_secret_is_found_in_any_company(before: str, secret: str, after: str) -> None:
    """Whatever stands before and behind a line, an address in it is taken out."""
    assert "contoso" not in redact(f"{before} \n{secret}\n {after}".replace("contoso ", ""))


@given(st.text(alphabet="0123456789 -+()./:@abcABC", max_size=400))
def test_it_settles(text: str) -> None:
    """Any text can be redacted, and marks are no new finds."""
    assert "[[" not in redact(redact(text.replace("[", "")))


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "1",
        "1 ",
        "a@",
        "a.",
        ":",
        "1.1",
        "aA1/",
        "(0",
        "eyJ",
        "+1-",
        "password=",
        "DE89 ",
        "-----BEGIN PRIVATE KEY-----",
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """A hundred thousand characters made to be slow take no more than a second."""
    long = text * (100_000 // len(text))
    began = time.monotonic()
    redact(long)
    assert time.monotonic() - began < 1
