"""Addresses that may be called, and those that lead inside."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrichment.jobs.addresses import is_public

PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "168.63.129.16", "100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "203.0.113.9",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:168.63.129.16", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:db8::1",
    "2001:0:7f00:1::", "fec0::1", "localhost", "", "1", "0x7f000001",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_inside(address: str) -> None:
    """Nothing of this machine, its networks and its cloud, in whatever form, and nothing that is no address."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["20.50.1.1", "8.8.8.8", "2603:1030::1", "2a00:1450:4001::1"])
def test_outside(address: str) -> None:
    """Addresses of the public Internet may be called."""
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_wrapping_helps_nobody(address: ipaddress.IPv4Address) -> None:
    """An IPv6 address that carries an IPv4 address is public only where that is."""
    for wrapped in (
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        f"2002:{int(address):08x}"[:9] + f":{int(address) & 0xFFFF:x}::1",
    ):
        if is_public(wrapped):
            assert is_public(str(address))
