"""The model in a multipart body, whatever pieces it comes in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.uploads.forms import LONGEST_MODEL, LONGEST_PART_HEAD, MOST_PARTS, FormReader

TYPE = "multipart/form-data; boundary=edge"


def read(body: bytes, size: int = 1_000_000) -> FormReader:
    """Return a reader that was given the body in pieces of so many bytes."""
    reader = FormReader(TYPE)
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
    return reader


def part(head: str, value: bytes) -> bytes:
    return b"--edge\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--edge--\r\n"


FILE = part('name="file"; filename="a.wav"\r\nContent-Type: audio/wav', b"RIFF\r\n\r\nraw")
MODEL = part('name="model"', b"whisper")


@pytest.mark.parametrize("name", ['name="model"', "name=model", 'name="model"\r\nContent-Type: text/plain'])
@pytest.mark.parametrize("size", [*range(1, 64), 1000])
def test_model_is_found(name: str, size: int) -> None:
    """Quoted or not, before or after a file, in pieces of any size, the model is read and its place told."""
    named = part(name, b"whisper")
    for body in (form(named, FILE), form(FILE, named), b"preamble\r\n" + form(FILE, named)):
        reader = read(body, size)
        assert reader.model == "whisper"
        assert reader.place == (body.index(b"whisper"), body.index(b"whisper") + 7)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_file_cannot_name_a_model(size: int) -> None:
    """What looks like a part inside a file is bytes of the file, and other names are other fields."""
    fake = b'\r\n--other\r\nContent-Disposition: form-data; name="model"\r\n\r\nsecret\r\n--other--'
    named = part('name="file"; filename="model"', fake)
    assert read(form(named, part('name="model"', b"mine")), size).model == "mine"
    assert read(form(named, part('name="models"', b"x"), part('name="submodel"', b"x")), size).model is None


@pytest.mark.parametrize(
    "body",
    [
        form(MODEL, part('name="model"', b"two")),
        form(MODEL, FILE, part('name="model"', b"two")),
        form(MODEL) + part('name="model"', b"two") + b"--edge--",
        b"--edge\r\nContent-Disposition: form-data; name=file\r\n\r\n" + form(MODEL, part("name=model", b"two")),
    ],
    ids=["beside", "behind a file", "behind the end", "behind a part without a value"],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_two_models_are_refused(body: bytes, size: int) -> None:
    """Two models in one form would leave it to the backend which one counts."""
    with pytest.raises(InvalidRequest, match="more than one"):
        read(body, size)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (part('name="model"', b"m" * (LONGEST_MODEL + 1)), "model is over"),
        (b"--edge\r\nx: " + b"a" * LONGEST_PART_HEAD + b'\r\ncontent-disposition: a; name="model"', "head over"),
        (part("name=a", b"") * (MOST_PARTS + 1), "parts"),
        (part("name=model", b"\xff") + b"--edge--", "not text"),
    ],
    ids=["model", "head", "parts", "text"],
)
@pytest.mark.parametrize("size", [50, 1_000_000])
def test_absurd_forms_are_refused(body: bytes, said: str, size: int) -> None:
    """A form that would have to be kept or searched at length to be understood is refused, however it comes."""
    with pytest.raises(InvalidRequest, match=said):
        read(body + b"\r\n--edge--", size)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Disposition: form-data; name*=utf-8''model",
        b'Content-Disposition: form-data; name="mo\\del"',
        b'Content-Disposition: form-data;\r\n name="model"',
        b'Content-Disposition : form-data; name="model"',
        b'Content-Disposition: form-data; name ="model"',
        b'Content-Disposition: form-data; name= "model"',
        b' Content-Disposition: form-data; name="model"',
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_heads_that_readers_differ_on(head: bytes, size: int) -> None:
    """A second model under a name that only some readers take for one does not get past."""
    with pytest.raises(InvalidRequest, match="more than one way"):
        read(form(MODEL, b"--edge\r\n" + head + b"\r\n\r\ntwo\r\n"), size)


def test_odd_file_names_are_nobodys_business() -> None:
    """What a file is called, with backslashes, blanks and encodings, tells nothing of the model."""
    head = 'name="file"; filename="C:\\a = b.wav"; filename*=utf-8\'\'a%20b.wav'
    assert read(form(MODEL, part(head, b"RIFF"))).model == "whisper"


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_no_boundary(content_type: str) -> None:
    """A form without a boundary cannot be read, and that is said."""
    with pytest.raises(InvalidRequest, match="boundary"):
        FormReader(content_type)


PIECES = st.lists(
    st.sampled_from(
        [b"\r\n", b"--edge", b"\r\n--edge\r\n", b"name=model", b"content-disposition: x; name=model", b"--"]
    )
    | st.binary(max_size=8),
    max_size=30,
)


@given(PIECES, st.integers(1, 40))
def test_pieces_change_nothing(pieces: list[bytes], size: int) -> None:
    """Whatever a body holds, it reads the same in pieces as in one; a clear refusal is the only error."""
    body = b"".join(pieces)

    def found(size: int) -> object:
        try:
            reader = read(body, size)
        except InvalidRequest as error:
            return error.message
        return reader.model, reader.place

    assert found(size) == found(1_000_000)
