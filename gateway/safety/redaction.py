"""Takes out of a text what tells who somebody is or opens a door: addresses, numbers of people and cards, keys. Pure.

Shapes decide; where a number carries its own check (cards: Luhn, ISO/IEC 7812; IBANs: mod 97, ISO 13616), the check
does, too. Every pattern is bounded, so that no text takes more than linear time.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Final

LONGEST_SECRET: Final = 4_096
"""Characters: the longest thing that is taken out as one; so much of a text after a cut must be looked at as well."""

_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{0,3900}(?:-----END [A-Z ]{0,40}-----)?")
_KEY: Final = re.compile(
    r"\beyJ[\w-]{8,3000}\.[\w-]{4,3000}(?:\.[\w-]{0,1000})?"
    r"|\b(?:sk|pk|rk|tg)-[\w-]{12,256}"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA|ASIA)[\w-]{10,256}"
    r"|\b[A-Za-z0-9_-]{1,3}~[\w.~-]{30,64}"
    r"|\b[0-9a-fA-F]{32,128}\b"
    r"|(?<![\w+/-])(?=[\w+/-]{0,199}\d)(?=[\w+/-]{0,199}[a-z])(?=[\w+/-]{0,199}[A-Z])[\w+/-]{32,200}={0,2}(?![\w+/-])"
)
_NAMED_KEY: Final = re.compile(
    r"(?i)\b((?:pass(?:word|wd)|pwd|secret|token|(?:api|access|account|sharedaccess|subscription)[_ -]?key|sig"
    r"|client[_ -]?secret|authorization)[\"']?\s{0,3}[:=]\s{0,3}[\"']?)"
    r"(?:bearer\s{1,3}|basic\s{1,3})?[^\s\"',;&]{3,512}"
)
_EMAIL: Final = re.compile(r"(?<![\w.+-])[\w.+%'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_IBAN: Final = re.compile(r"\b[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}\b")
_CARD: Final = re.compile(r"(?<![\d.,])\d(?:[ -]?\d){12,18}(?![\d])")
_IPV4: Final = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IPV6: Final = re.compile(r"(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?::\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])")
_PHONE: Final = re.compile(
    r"(?<![\w+.])(?:(?:\+|00)[1-9]\d{0,2}|\(\+?\d{1,5}\)|0[1-9]\d{0,4}|\d{3}(?=[ .-]\d{3}[ .-]\d{4}\b))"
    r"(?:[ ./()-]{0,3}\d{1,10}){1,8}(?![\w])"
)


def redact(text: str) -> str:
    """Return the text with `[key]`, `[email]`, `[iban]`, `[card]`, `[ip]` and `[phone]` in the place of such."""
    text = _PRIVATE_KEY.sub("[key]", text)
    text = _NAMED_KEY.sub(r"\1[key]", text)
    text = _EMAIL.sub("[email]", text)
    text = _where(_IBAN, _is_iban, "[iban]", text)
    text = _KEY.sub("[key]", text)
    text = _where(_IPV6, _is_ip, "[ip]", text)
    text = _where(_IPV4, _is_ip, "[ip]", text)
    text = _where(_CARD, _is_card, "[card]", text)
    return _where(_PHONE, _is_phone, "[phone]", text)


def _where(pattern: re.Pattern[str], holds: Callable[[str], bool], mark: str, text: str) -> str:
    """Put the mark in the place of what has the shape and holds, or begins with a part that does."""

    def marked(match: re.Match[str]) -> str:
        found = match[0]
        # Numbers and words that follow along have the shape, too.
        for end in range(len(found), 1, -1):
            whole = end == len(found) or not found[end].isalnum()
            if whole and found[end - 1].isalnum() and holds(found[:end]):
                return mark + found[end:]
        return found

    return pattern.sub(marked, text)


def _is_iban(text: str) -> bool:
    plain = text.replace(" ", "").replace("-", "").upper()
    return (
        15 <= len(plain) <= 34
        and plain.isascii()
        and int("".join(str(int(each, 36)) for each in plain[4:] + plain[:4])) % 97 == 1
    )


def _is_card(text: str) -> bool:
    digits = [int(each) for each in text if each.isdigit()]
    if not 13 <= len(digits) <= 19:
        return False
    doubled = [sum(divmod(2 * each, 10)) for each in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_ip(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return text != "::" and not address.is_unspecified


def _is_phone(text: str) -> bool:
    return 7 <= sum(each.isdigit() for each in text) <= 15
