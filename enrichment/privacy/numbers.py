"""Numbers that tell of somebody: cards, bank accounts, telephones, addresses of the Internet Protocol. Pure.

Where a number carries its own check, the check decides: cards by issuer, length and Luhn (ISO/IEC 7812), IBANs by
mod 97 (ISO 13616), addresses by `ipaddress`. Telephone numbers carry none: a plain row of digits is one only behind a
word that says so, so that tickets, dates, versions and serial numbers stay what they are. Every pattern steps through a
text one way: no text takes more than linear time.
"""

import ipaddress
import re
import string
from collections.abc import Iterator
from typing import Final

type Span = tuple[int, int]

_GAP: Final = " \u00a0\u202f"
"""Spaces inside numbers: the plain one and two that do not break."""

_DIGITS: Final = re.compile(rf"(?<![\w.,])\d(?:[{_GAP}-]?\d){{12,}}(?!\w)")
_GROUP: Final = re.compile(r"\d+")
_CARD: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}"  # American Express, Diners Club, JCB
    r"|6(?:011|4[4-9]\d|5\d\d|2\d\d)\d{12,15}"  # Discover, UnionPay
)
_MOST_GROUPS: Final = 8
"""Groups of digits that one card number may be written in."""

_IBAN: Final = re.compile(rf"\b(?=([A-Za-z]{{2}}\d{{2}}(?:[{_GAP}-]?[A-Za-z0-9]){{11,30}}))")
_CLOSED: Final = str.maketrans("", "", f"{_GAP}-")
_LETTERS: Final = str.maketrans({letter: str(int(letter, 36)) for letter in string.ascii_uppercase})
_IPV4: Final = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)")
_IPV6: Final = re.compile(r"(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?:\.\d{1,3}){3})?(?![\w:])")
_VERSION: Final = re.compile(r"(?i)(?:\bv|version|release|build|ver|firmware|driver|treiber|revision)[.: ]{0,2}\Z")
_BEFORE: Final = 12
"""Characters before four numbers with dots that are searched for a word that makes them a version."""

# A separator never leads into a date or a time that follows the number.
_STEP: Final = rf"(?:(?![ ]\d{{4}}-\d\d-\d\d|[ ]\d{{1,2}}:\d\d)[{_GAP}()./-]{{0,3}}\d)"
_NUMBER: Final = rf"\+?\(?\d{_STEP}{{4,14}}(?![\w:])"
_PHONE: Final = re.compile(
    r"(?=[+(\d])(?:"  # most of a text is told by its character alone
    r"(?P<date>(?<!\w)(?:\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3\d{2,4})"
    r"(?![\d/-]|\.\d)(?:[ T]\d{1,2}:\d\d)?)"
    rf"|(?P<international>(?<![\w+])(?:\+[ ]?[1-9]{_STEP}{{6,14}}|00[1-9]\d{{0,2}}[ ./-]\(?\d{_STEP}{{5,11}})(?!\w))"
    r"|(?P<american>(?<![\w.,:/#+-])(?:1[ .-])?(?:\([2-9]\d\d\)[ ]?|[2-9]\d\d[ .-])\d{3}[ .-]\d{4}(?![\w:]|[.-]\d))"
    rf"|(?P<national>(?<![\w.,:/#+-])\(?0[1-9]{_STEP}{{7,10}}(?![\w:])))"
)
_WORDS: Final = (
    "tel", "phone", "call", "ring", "mobil", "móvil", "movil", "cell", "handy", "fax", "sms", "whatsapp", "tél", "ext",
    "durchwahl", "poste",
)  # fmt: skip
"""Each match of `_NAMED` has one of these in lower case."""
_NAMED: Final = re.compile(
    r"(?i:\b(?:(?:tele(?:ph|f)|t[eé]l|phone|mobil|m[oó]vil|handy|fax)\w{0,12}|call|ring|cell|sms|whatsapp)\b)"
    r"[ .:#-]{0,3}(?i:(?:number|nummer|no|nr|n[uú]mero|me|us|him|her|them|back|at|on|is|au|unter|al)[ .:]{1,2}){0,2}"
    rf"(?P<named>{_NUMBER})"
    r"|(?i:\b(?:ext|extension|durchwahl|poste|extensi[oó]n)\b)[ .:#]{0,3}(?P<extension>\d{3,6})(?![\w:]|[./-]\d)"
)
_ONE_DATE: Final = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}")
_SEPARATED: Final = re.compile(rf"\d[{_GAP}()./-]+\d")


def cards(text: str) -> Iterator[Span]:
    """Yield numbers of cards; of a row of groups all that pass, since a card behind another number is one of them."""
    for run in _DIGITS.finditer(text):
        groups = list(_GROUP.finditer(text, run.start(), run.end()))
        for first, group in enumerate(groups):
            if count := _card_groups(groups[first : first + _MOST_GROUPS]):
                yield group.start(), groups[first + count - 1].end()


def ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        start, end = match.span(1)
        # What follows an account number, a word or another number, has the shape of a further group.
        for stop in range(end, start + 14, -1):
            if (stop == len(text) or not text[stop].isalnum()) and _is_iban(text[start:stop]):
                yield start, stop
                break


def addresses(text: str) -> Iterator[Span]:
    """Yield IPv4 and IPv6 addresses, but no versions."""
    for match in _IPV4.finditer(text) if "." in text else ():
        version = _VERSION.search(text, max(0, match.start() - _BEFORE), match.start())
        if version is None and _is_address(match[0]):
            yield match.span()
    for match in _IPV6.finditer(text) if ":" in text else ():
        found = match[0]
        # A time has the shape, but neither all of the groups nor a gap.
        whole = found.count(":") >= 6 or "::" in found
        if whole and len(found) > 2 and any(each.isdigit() for each in found) and _is_address(found):
            yield match.span()


def phones(text: str) -> Iterator[Span]:
    for match in _PHONE.finditer(text):
        kind = match.lastgroup or "date"
        if kind != "date" and _is_phone(kind, match[kind]):
            yield match.span(kind)
    lowered = text.lower()
    if any(word in lowered for word in _WORDS):
        for match in _NAMED.finditer(text):
            kind = match.lastgroup or ""
            if kind == "extension" or _is_phone(kind, match[kind]):
                yield match.span(kind)


def _card_groups(groups: list[re.Match[str]]) -> int:
    """Return how many of the groups at most are a card's number; 0 where none are."""
    digits, found = "", 0
    for count, group in enumerate(groups, 1):
        digits += group[0]
        if len(digits) > 19:
            break
        if len(digits) >= 13 and _CARD.fullmatch(digits) and _luhn(digits):
            found = count
    return found


def _luhn(digits: str) -> bool:
    plain = sum(int(each) for each in digits[-1::-2])
    return (plain + sum(sum(divmod(2 * int(each), 10)) for each in digits[-2::-2])) % 10 == 0


def _is_iban(text: str) -> bool:
    plain = text.translate(_CLOSED).upper()
    return 15 <= len(plain) <= 34 and plain.isascii() and int((plain[4:] + plain[:4]).translate(_LETTERS)) % 97 == 1


def _is_address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return False


def _is_phone(kind: str, text: str) -> bool:
    digits = sum(each.isdigit() for each in text)
    match kind:
        case "international":
            return digits >= 8
        case "national":
            return 9 <= digits <= 12 and _SEPARATED.search(text) is not None
        case "named":
            return _ONE_DATE.match(text) is None
        case _:
            return True
