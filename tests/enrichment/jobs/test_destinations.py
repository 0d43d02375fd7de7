"""Which URLs callbacks may have, and which settings may be sent there."""

import pytest

from enrichment.jobs.destinations import DestinationRefused, Destinations, Place

LISTED = Destinations.of(
    "contoso.example.com, *.partner.example, desk.example.com:8443, http://127.0.0.1:9000",
    "team-a:SN@contoso.example.com, *:SHARED@desk.example.com:8443",
    {"SN": "user:password", "SHARED": "", "OTHER": "x"}.get,
)


@pytest.mark.parametrize(
    "url",
    [
        "https://contoso.example.com",
        "https://CONTOSO.example.com/api/now/table/incident?x=1",
        "https://contoso.example.com:443/hook",
        "https://a.partner.example/x",
        "https://a.b.partner.example/x",
        "https://desk.example.com:8443/x",
        "http://127.0.0.1:9000/x",
    ],
)
def test_allowed(url: str) -> None:
    """Hosts of the list are taken, in any case, with their port, and names below a wildcard."""
    LISTED.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.net/x",
        "http://contoso.example.com/x",
        "https://contoso.example.com:8443/x",
        "https://desk.example.com/x",
        "https://partner.example/x",
        "https://evilpartner.example/x",
        "https://contoso.example.com.evil.example.net/x",
        "https://contoso.example.com@evil.example.net/x",
        "https://evil.example.net@contoso.example.com/x",
        "https://contoso.example.com:443@evil.example.net/x",
        "https://evil.example.net#@contoso.example.com/x",
        "https://evil.example.net\\@contoso.example.com/x",
        "https://contoso.example.com\\.evil.example.net/x",
        "https://contoso.example.com%2eevil.example.net/x",
        "https://contoso.example.com./x",
        "https://contoso.example.com\t/x",
        " https://contoso.example.com/x",
        "https://contoso.example.com/x\r\nx-injected: 1",
        "https://contoso.example.com/\u00e4",
        "https://contoso.example\u3002com/x",
        "https://\uff43ontoso.example.com/x",
        "https:/contoso.example.com/x",
        "https:contoso.example.com/x",
        "//contoso.example.com/x",
        "https://",
        "https://:443/",
        "https://contoso.example.com:99999/",
        "https://contoso.example.com:0443/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/metadata",
        "http://127.0.0.1/x",
        "http://127.0.0.1:9001/x",
        "http://localhost:9000/x",
        "http://127.0.0.2:9000/x",
        "file:///etc/passwd",
        "gopher://contoso.example.com/",
        "https://contoso.example.com/" + "x" * 2000,
        "",
    ],
)
def test_refused(url: str) -> None:
    """Other hosts, ports and schemes are refused, and every spelling that two parsers could read in two ways."""
    with pytest.raises(DestinationRefused):
        LISTED.check(url)


def test_no_list_allows_nothing() -> None:
    """Without CALLBACK_HOSTS no callback is taken."""
    with pytest.raises(DestinationRefused, match="CALLBACK_HOSTS"):
        Destinations().check("https://contoso.example.com/")


@pytest.mark.parametrize(
    ("hosts", "secrets"),
    [
        ("http://contoso.example.com", ""),
        ("https://contoso.example.com/path", ""),
        ("user@contoso.example.com", ""),
        ("10.0.0.1", ""),
        ("0x7f000001", ""),
        ("*.*.example.com", ""),
        ("contoso.example.com:70000", ""),
        ("", "SN@contoso.example.com"),
        ("", "team-a:SN"),
        ("", "team a:SN@contoso.example.com"),
    ],
)
def test_lists_that_cannot_be_read(hosts: str, secrets: str) -> None:
    """A wrong entry of either setting is an error that names it."""
    with pytest.raises(ValueError, match=r"."):
        Destinations.of(hosts, secrets, dict[str, str]().get)


def test_secrets() -> None:
    """A setting goes only where the operator granted it, for the subscription that he granted it to, if it is set."""
    contoso, desk = Place.of("contoso.example.com"), Place.of("desk.example.com:8443")
    assert LISTED.secret("team-a", "setting:SN", contoso) == "user:password"
    for subscription, name, place in (
        ("team-b", "SN", contoso),
        ("team-a", "SN", desk),
        ("team-a", "OTHER", contoso),
        ("team-b", "SHARED", desk),
    ):
        with pytest.raises(DestinationRefused) as refused:
            LISTED.secret(subscription, f"setting:{name}", place)
        assert "password" not in str(refused.value)


def test_loopback_is_known() -> None:
    """Whether a list names this machine is known, so that Azure can refuse it."""
    assert LISTED.loopback
    assert not Destinations.of("contoso.example.com", "", dict[str, str]().get).loopback
