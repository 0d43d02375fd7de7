"""Plain text of what ServiceNow keeps as HTML, in fields and between the `[code]` marks of a journal.

ServiceNow shows what stands between `[code]` and `[/code]` as HTML (product documentation, "Journal fields"). Only the
names of HTML's own elements count as tags, since tickets are full of `<server>`, `x < 5` and `<0x80070005>`,
which are text.
Every step is linear in the text, whatever the text is.
"""

import html
import re
from typing import Final

_BLOCKS: Final = """
address article blockquote br dd div dl dt figure footer h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section
table tbody td tfoot th thead tr ul
"""
_INLINE: Final = """
a abbr b big body center cite code del em font head html i img ins kbd link mark meta o:p q s samp script small
span strike strong style sub sup svg title tt u var
"""
_BREAKING: Final = frozenset(_BLOCKS.split())
_UNREAD: Final = ("script", "style")
_NAMES: Final = "|".join(sorted((_BLOCKS + _INLINE).split(), key=len, reverse=True))
_TAG: Final = re.compile(rf"<(/?)({_NAMES})(?:[\s/][^<>]*)?>|<!--|\[/?code\]", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"&(?:[a-zA-Z]{2,8}|#\d{1,7}|#[xX][0-9a-fA-F]{1,6});")


def plain(text: str) -> str:
    """Return the text without tags, comments, scripts and `[code]` marks, character references resolved once."""
    if "<" in text or "[" in text:
        text = _without_tags(text)
    return html.unescape(text) if _REFERENCE.search(text) else text


def _without_tags(text: str) -> str:
    lowered = text.lower()
    ends = {name: lowered.rfind(f"</{name}") for name in _UNREAD} | {"!--": text.rfind("-->")}
    kept: list[str] = []
    place = 0
    for tag in _TAG.finditer(text):
        if tag.start() < place:
            continue
        kept.append(text[place : tag.start()])
        name = "!--" if tag[0] == "<!--" else (tag[2] or "").lower()
        place = tag.end()
        if name in ends and not tag[1] and ends[name] >= place:
            place = _end_of(lowered, name, place)
        elif name in _BREAKING:
            kept.append("\n")
    kept.append(text[place:])
    return "".join(kept)


def _end_of(lowered: str, name: str, place: int) -> int:
    """Return where a comment's or script's content ends; its end is known to exist beyond `place`."""
    if name == "!--":
        return lowered.find("-->", place) + 3
    # The closing tag itself is found and dropped by the tags' own search.
    return lowered.find(f"</{name}", place)
