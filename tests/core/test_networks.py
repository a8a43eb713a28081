"""The set of networks against the standard library's."""

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate._core.routing.networks import Networks

v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6)
networks = st.one_of(
    st.builds(lambda address, prefix: f"{address}/{prefix}", v4, st.integers(0, 32)),
    st.builds(lambda address, prefix: f"{address}/{prefix}", v6, st.integers(0, 128)),
    st.one_of(v4, v6).map(str),
)


def family(text: str) -> IPv4Network | IPv6Network:
    """A network, in IPv4 where it lies in the mapped range of IPv6."""
    parsed = ip_network(text, strict=False)
    if isinstance(parsed, IPv6Network) and parsed.prefixlen >= 96 and parsed.network_address.ipv4_mapped:
        return IPv4Network((parsed.network_address.ipv4_mapped, parsed.prefixlen - 96))
    return parsed


def longest(address: str, marks: dict[str, int]) -> int | None:
    """The naive model: of all networks with the address in them the longest; of the same ones the last."""
    asked = family(address).network_address
    found, mark = -1, None
    for network, each in marks.items():
        parsed = family(network)
        if parsed.version == asked.version and asked in parsed and parsed.prefixlen >= found:
            found, mark = parsed.prefixlen, each
    return mark


@given(st.dictionaries(networks, st.integers(0, 3), max_size=12), st.lists(st.one_of(v4, v6).map(str), max_size=8))
def test_the_longest_network_with_the_address_in_it_decides(marks: dict[str, int], asked: list[str]) -> None:
    tested = Networks(marks)
    edges = []
    for network in map(family, marks):
        edges += [str(network[0]), str(network[-1])]
        edges += [str(network[0] - 1)] if int(network[0]) else []
    edges += [f"::ffff:{edge}" for edge in edges if ":" not in edge]
    for address in asked + edges:
        assert tested.get(address) == longest(address, marks)
        assert (address in tested) == (longest(address, marks) is not None)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=24))
def test_many_networks_side_by_side(drawn: list[tuple[int, int]]) -> None:
    marks = {f"10.0.0.{last}/{prefix}": number for number, (last, prefix) in enumerate(drawn)}
    tested = Networks(marks)
    for last in range(0, 256, 3):
        assert tested.get(f"10.0.0.{last}") == longest(f"10.0.0.{last}", marks)


def test_a_wider_network_of_ipv6_has_no_ipv4_address_in_it() -> None:
    wide = Networks(["::/0"])
    assert "2001:db8::1" in wide
    assert "10.0.0.1" not in wide
    assert "::ffff:10.0.0.1" not in wide
    assert "10.0.0.1" in Networks(["::ffff:0.0.0.0/96"])


def test_both_spellings_of_an_ipv4_address_are_the_same() -> None:
    assert "::ffff:10.1.2.3" in Networks(["10.0.0.0/8"])
    assert "10.1.2.3" in Networks(["::ffff:10.0.0.0/104"])


def test_a_zone_is_ignored() -> None:
    assert "fe80::1%eth0" in Networks(["fe80::/10"])


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost",
        "10.0.0",
        "10.0.0.1.2",
        "::g",
        None,
        7,
        "/run/x.sock",
        "unix:",
        "10.0.0.1\0",
        "1" * 60,
        "%" + "e" * 60,
    ],
)
def test_what_is_no_address_is_in_no_set(address: object) -> None:
    assert address not in Networks(["0.0.0.0/0", "::/0"])


def test_the_empty_set_is_false() -> None:
    assert not Networks([])
    assert "127.0.0.1" not in Networks([])


@pytest.mark.parametrize(
    "network",
    ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/x", "10.0.0.0/", "10.0.0.0/²", "fe80::%eth0/10"],
)
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match="is not a valid network"):
        Networks([network])
