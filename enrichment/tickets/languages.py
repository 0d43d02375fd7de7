"""Which language a text is in: by its script, else by its commonest words. A hint for models, not a verdict.

The words are those that a language has nearly to itself among the ones listed; a text with too few of them is `und`.
"""

import re
from collections import Counter
from typing import Final

UNKNOWN: Final = "und"

_NAMES: Final = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "pt": "Portuguese", "it": "Italian",
    "nl": "Dutch", "pl": "Polish", "sv": "Swedish", "da": "Danish", "fi": "Finnish", "cs": "Czech", "tr": "Turkish",
    "ja": "Japanese", "ko": "Korean", "zh": "Chinese", "ru": "Russian", "uk": "Ukrainian", "el": "Greek",
    "ar": "Arabic", "he": "Hebrew", "hi": "Hindi", "th": "Thai",
}  # fmt: skip

_WORDS: Final = {
    "en": "the and is to of i my it not was has have with this that from can been when you are we on for be but at",
    "de": "der die das und ist nicht ich mit auf ein eine seit wir bitte den dem zu auch kann wird nach bei keine",
    "fr": "le les des et est une je ne pas pour dans que sur avec mon depuis nous vous du au ce plus mais été",
    "es": "el los las y es una no que por con mi desde para se en del al pero hay como más está puedo cuando",
    "pt": "o os não um uma com meu desde para em do da ao mas está são quando meu minha nós você já e",
    "it": "il gli che non è una con mio dal per sono del della nel si alla ma anche più quando ho questo di",
    "nl": "het een en is niet ik mijn met op van sinds wij zijn maar ook kan wordt naar geen bij te dat aan",
    "pl": "nie się jest na do mam od że to w z i po przez ale jak może proszę dla są już",
    "sv": "och att det är inte jag med på en ett min sedan vi för som kan har men till från när",
    "da": "og at det er ikke jeg med på en et min siden vi for som kan har men til fra når af",
    "fi": "ja on ei se en että mutta myös kun olen minun sen tai ovat voi joka",
    "cs": "a je se na že to nejde není jsem do po od ale jak při jsou mi už pro",
    "tr": "ve bir bu için değil da de ile çok ama olarak var yok daha ben lütfen",
}
_SETS: Final = {code: frozenset(words.split()) for code, words in _WORDS.items()}
_WORD: Final = re.compile(r"[^\W\d_]+")
_SAMPLE: Final = 5_000
"""Characters that are looked at."""
_FEWEST: Final = 2
_SCRIPTS: Final = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af]")),
    ("zh", re.compile("[\u4e00-\u9fff]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
)
_SCRIPT_SHARE: Final = 0.15
_UKRAINIAN: Final = frozenset("\u0404\u0406\u0407\u0454\u0456\u0457\u0490\u0491")


def language_of(text: str) -> str:
    """Return the BCP 47 tag of the language that a text is most likely in, or `und`."""
    sample = text[:_SAMPLE]
    letters = sum(map(str.isalpha, sample)) or 1
    for code, script in _SCRIPTS:
        if len(script.findall(sample)) / letters > _SCRIPT_SHARE:
            return "uk" if code == "ru" and not _UKRAINIAN.isdisjoint(sample) else code
    words = Counter(_WORD.findall(sample.lower()))
    scores = {code: sum(words[word] for word in known) for code, known in _SETS.items()}
    best = max(scores, key=lambda code: scores[code])
    return best if scores[best] >= _FEWEST else UNKNOWN


def named(tag: str) -> str:
    """Return how models are told of a language: `German (de-AT)`, or what they have to find out themselves."""
    if tag == UNKNOWN:
        return "the language of the ticket"
    name = _NAMES.get(tag.partition("-")[0].lower())
    return f"{name} ({tag})" if name else f"the language with the BCP 47 tag {tag}"
