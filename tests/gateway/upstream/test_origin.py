"""URLs taken apart."""

import pytest

from gateway.upstream.origin import LONGEST_REMEMBERED, Origin, place_of


@pytest.mark.parametrize(
    ("url", "origin", "line"),
    [
        ("http://a.example/x?y=1", Origin("a.example", 80, tls=False), " /x?y=1 HTTP/1.1\r\nhost: a.example"),
        ("https://A.example:8443", Origin("a.example", 8443, tls=True), " / HTTP/1.1\r\nhost: A.example:8443"),
        ("https://[::1]/a%2Fb", Origin("::1", 443, tls=True), " /a%2Fb HTTP/1.1\r\nhost: [::1]"),
        ("http://a.example?y=%20", Origin("a.example", 80, tls=False), " /?y=%20 HTTP/1.1\r\nhost: a.example"),
    ],
)
def test_places(url: str, origin: Origin, line: str) -> None:
    """A URL says whom to connect to and what to ask for, both as they are written."""
    assert place_of(url) == (origin, line)


def test_a_long_url() -> None:
    """A URL that is too long to be remembered is taken apart all the same."""
    path = "/" + "x" * LONGEST_REMEMBERED
    assert place_of("http://a.example" + path).line.startswith(f" {path} HTTP/1.1")


@pytest.mark.parametrize(
    "url",
    ["http://a.example/x y", "http://a.example/\r\nx", "http://a.example/ü", "ftp://a.example/", "http:///x", "/x"],
)
def test_what_leads_nowhere(url: str) -> None:
    """A URL that would break the request line, or that names no host, is refused."""
    with pytest.raises(ValueError, match="a URL for a backend"):
        place_of(url)
