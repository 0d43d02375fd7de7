"""Which addresses a callback may be sent to: public ones, and none that leads back into a network of ours.

A name that anybody may register can resolve to anything: to the loopback, to a private network, to the metadata
service of the cloud (169.254.169.254, Azure's 168.63.129.16, which is publicly routed by its look). IPv6 carries IPv4
addresses in several forms; what they lead to is what counts.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

_AZURE_FABRIC: Final = IPv4Address("168.63.129.16")
"""Microsoft Learn, "What is IP address 168.63.129.16?": the platform's own DNS, DHCP and health service."""

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""RFC 6052 and RFC 8215: an IPv4 address in the last 32 bits."""

_IPV4_COMPATIBLE: Final = IPv6Network("::/96")
"""RFC 4291, 2.5.5.1, deprecated; some stacks still connect to the IPv4 address inside."""


def is_public(address: str) -> bool:
    """Tell whether an address in numbers, as a resolver gives it, is one of the public Internet."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return _is_public(parsed) and all(_is_public(inner) for inner in _carried(parsed))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_unspecified)
        and address != _AZURE_FABRIC
        and not (isinstance(address, IPv6Address) and address.is_site_local)
    )


def _carried(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    last = IPv4Address(int(address) & 0xFFFFFFFF)
    found = [each for each in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())) if each is not None]
    return [*found, last] if any(address in network for network in (*_NAT64, _IPV4_COMPATIBLE)) else found
