"""The set of networks against the standard library's."""

from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.gateway.networks import Networks

v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6)
networks = st.one_of(
    st.builds(lambda address, prefix: f"{address}/{prefix}", v4, st.integers(0, 32)),
    st.builds(lambda address, prefix: f"{address}/{prefix}", v6, st.integers(0, 128)),
    st.one_of(v4, v6).map(str),
)


def in_one(address: str, of: list[str]) -> bool:
    """The naive model: IPv4 is compared in its IPv4-mapped form."""
    asked = mapped(address)
    for network in of:
        parsed = ip_network(network, strict=False)
        low, high = mapped(str(parsed[0])), mapped(str(parsed[-1]))
        if low <= asked <= high:
            return True
    return False


def mapped(address: str) -> int:
    parsed = ip_address(address)
    return int(parsed) if isinstance(parsed, IPv6Address) else int(IPv6Address(f"::ffff:{address}"))


@given(st.lists(networks, max_size=8), st.lists(st.one_of(v4, v6).map(str), max_size=8))
def test_an_address_is_in_the_set_when_it_is_in_one_of_the_networks(of: list[str], asked: list[str]) -> None:
    tested = Networks(of)
    parsed = [ip_network(network, strict=False) for network in of]
    edges = [str(edge) for network in parsed for edge in (network[0], network[-1])]
    for address in asked + edges:
        assert (address in tested) == in_one(address, of)


def test_both_spellings_of_an_ipv4_address_are_the_same() -> None:
    assert "::ffff:10.1.2.3" in Networks(["10.0.0.0/8"])
    assert "10.1.2.3" in Networks(["::ffff:10.0.0.0/104"])


def test_a_zone_is_ignored() -> None:
    assert "fe80::1%eth0" in Networks(["fe80::/10"])


@pytest.mark.parametrize("address", ["", "localhost", "10.0.0", "10.0.0.1.2", "::g", None, 7, "/run/x.sock"])
def test_what_is_no_address_is_in_no_set(address: object) -> None:
    assert address not in Networks(["0.0.0.0/0", "::/0"])


def test_the_empty_set_is_false() -> None:
    assert not Networks([])
    assert "127.0.0.1" not in Networks([])


@pytest.mark.parametrize("network", ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/x", "10.0.0.0/"])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match="is no network"):
        Networks([network])
