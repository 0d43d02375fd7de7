"""The model in a multipart body."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.forms import form_model, with_form_model

TYPE = "multipart/form-data; boundary=edge"


def part(head: str, value: bytes) -> bytes:
    return b"--edge\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--edge--\r\n"


FILE = part('name="file"; filename="a.wav"\r\nContent-Type: audio/wav', b"RIFF\r\n\r\nraw")


@pytest.mark.parametrize("name", ['name="model"', "name=model", 'name="model"\r\nContent-Type: text/plain'])
def test_model_is_found_and_replaced(name: str) -> None:
    """Quoted or not, before or after a file, the model is read and replaced, and nothing else changes."""
    for parts in ((part(name, b"whisper"), FILE), (FILE, part(name, b"whisper"))):
        body = form(*parts)
        assert form_model(TYPE, body) == "whisper"
        changed = with_form_model(TYPE, body, "whisper-eu")
        assert changed == body.replace(b"whisper\r\n", b"whisper-eu\r\n")


def test_a_file_cannot_name_a_model() -> None:
    """What looks like a part inside a file is bytes of the file, and other names are other fields."""
    fake = b'\r\n--other\r\nContent-Disposition: form-data; name="model"\r\n\r\nsecret\r\n--other--'
    named = part('name="file"; filename="model"', fake)
    assert form_model(TYPE, form(named, part('name="model"', b"mine"))) == "mine"
    assert form_model(TYPE, form(named, part('name="models"', b"x"), part('name="submodel"', b"x"))) is None


def test_two_models_are_refused() -> None:
    """Two models in one form would leave it to the backend which one counts."""
    with pytest.raises(InvalidRequest, match="more than one"):
        form_model(TYPE, form(part('name="model"', b"one"), part('name="model"', b"two")))


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_no_boundary(content_type: str) -> None:
    """A form without a boundary cannot be read, and that is said."""
    with pytest.raises(InvalidRequest, match="boundary"):
        form_model(content_type, b"x")


@given(st.binary(max_size=300))
def test_any_bytes(body: bytes) -> None:
    """Whatever a body holds, reading it ends in a name, in none or in a clear refusal."""
    try:
        found = form_model(TYPE, body)
    except InvalidRequest:
        return
    assert found is None or isinstance(found, str)
