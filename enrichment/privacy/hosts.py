"""Machines and accounts by the shape of their names. Pure, and linear in the text's length."""

import re
from collections.abc import Iterator
from typing import Final

from enrichment.privacy.numbers import Span

_EMAIL: Final = re.compile(r"(?<![\w.+%'-])[\w.+%'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_QUALIFIED: Final = re.compile(
    r"(?<![\w@.-])(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}(?P<top>[A-Za-z]{2,24})(?![\w-]|\.\w)"
)
_IN_URL: Final = re.compile(
    r"(?i)(?<![a-z0-9])(?:https?|ftps?|sftp|ssh|ldaps?|rdp|smb|wss?)://(?:[^\s/@]{1,64}@)?(?P<host>[\w.-]{1,253})"
)
_SHARE: Final = re.compile(r"(?<![\w\\:])\\\\(?P<host>[\w.-]{2,64})(?=\\)")
_MACHINE: Final = re.compile(
    r"(?<![\w.-])(?:(?:DESKTOP|LAPTOP|WIN)-[A-Z0-9]{6,12}"  # what Windows calls a machine by itself
    r"|(?i:srv|pc|nb|ws|vm|dc|nas|prn|wks|lap)-(?=[A-Za-z-]{0,30}\d)[A-Za-z0-9-]{2,40}"
    r"|(?i:srv|dc)[A-Za-z]{0,12}\d{2,4}"
    r"|[a-z]{2,10}(?:-[a-z0-9]{1,12}){1,4}-\d{2,3}"  # as administrators number them: vpn-lis-02
    r"|[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5})(?![\w:-]|\.\w)"  # the address of a network card
)
_ACCOUNT: Final = re.compile(r"(?<![\w\\/:.-])(?!HK)[A-Z][A-Z0-9-]{1,14}\\(?P<account>[\w.-]{2,40})(?![\w\\])")
_HOME: Final = re.compile(
    r"(?i)[\\/](?:users|benutzer|home)[\\/](?P<account>(?!public\b|default\b|all users\b)[\w.-]{2,40})"
)

_NAMED: Final = re.compile(
    r"(?i)\b(?:user ?(?:name|id)|benutzer(?:name|kennung)|identifiant|nombre de usuario)"
    r"\s{0,2}[:=]\s{0,2}[\"']?(?P<account>\w[\w.-]{0,38}\w)"
)

_TOPS: Final = frozenset({
    "com", "net", "org", "edu", "gov", "mil", "int", "info", "biz", "io", "cloud", "app", "dev", "online",
    "tech", "local", "lan", "internal", "corp", "intranet", "intra", "home", "localdomain", "test", "example",
    "invalid", "arpa", "eu", "de", "uk", "fr", "nl", "ch", "pl", "es", "pt", "jp", "cn", "kr", "br", "mx", "ru",
    "cz", "dk", "fi", "se", "ie", "hu", "ca", "au", "nz", "tr", "ua", "ro", "bg", "sk", "sg", "hk", "tw", "th",
    "vn", "ph", "za", "ke", "ng",
})  # fmt: skip
"""Ends of names that are rarely ends of files or beginnings of sentences."""

_NO_COUNTRIES: Final = frozenset({
    "am", "cc", "cs", "db", "ex", "go", "gz", "hs", "in", "js", "kt", "la", "md", "mk", "ml", "pl", "pm", "ps",
    "py", "rb", "rs", "sh", "so", "ts", "vb", "xz",
})  # fmt: skip
"""Two letters that are the end of a file or a word rather than of a host."""

_PRODUCTS: Final = frozenset({"asp.net", "vb.net", "ado.net", "ml.net"})


def emails(text: str) -> Iterator[Span]:
    for match in _EMAIL.finditer(text) if "@" in text else ():
        yield match.span()


def hosts(text: str) -> Iterator[Span]:
    """Yield qualified names, the hosts of URLs and of shares, and machines that are called by their kind."""
    for match in _QUALIFIED.finditer(text) if "." in text else ():
        if _is_host(match[0].lower(), match["top"].lower()):
            yield match.span()
    for pattern, sign in ((_IN_URL, "://"), (_SHARE, "\\\\")):
        for match in pattern.finditer(text) if sign in text else ():
            yield match.span("host")
    for match in _MACHINE.finditer(text):
        yield match.span()


def accounts(text: str) -> Iterator[Span]:
    r"""Yield the users of `DOMAIN\user`, of paths of home folders, and those that a text calls so."""
    for pattern, signs in ((_ACCOUNT, "\\"), (_HOME, "\\/"), (_NAMED, ":=")):
        for match in pattern.finditer(text) if any(sign in text for sign in signs) else ():
            yield match.span("account")


def _is_host(name: str, top: str) -> bool:
    if name in _PRODUCTS:
        return False
    if top in _TOPS or name.startswith("www."):
        return True
    labels = name.split(".")
    country = len(top) == 2 and top not in _NO_COUNTRIES
    return country and len(labels) > 2 and any(len(label) > 2 for label in labels)
