"""What is billed by other units than tokens: pictures, and text that is spoken.

Audio that is transcribed reports its seconds or its tokens in the answer, see `gateway.answers.reports`.
"""

import re

import msgspec

from gateway.usage import Meters

IMAGES = "images/"
SPEECH = "audio/speech"

_PICTURE = re.compile(rb'"(?:b64_json|url)"\s*:\s*"')


class _Speech(msgspec.Struct):
    input: str = ""


_speech = msgspec.json.Decoder(_Speech).decode


def with_units(operation: str, meters: Meters, request: bytes, answer: bytes) -> Meters:
    """Return the meters with the pictures of an answer, or the characters of a text that was spoken.

    `answer` is empty where it was passed on as it came.
    """
    if operation.startswith(IMAGES):
        return msgspec.structs.replace(meters, images=len(_PICTURE.findall(answer)))
    if operation == SPEECH:
        return msgspec.structs.replace(meters, characters=_characters(request))
    return meters


def _characters(request: bytes) -> int:
    try:
        return len(_speech(request).input)
    except msgspec.DecodeError:
        return 0
