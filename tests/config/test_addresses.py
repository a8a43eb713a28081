"""Where the gateway listens, and where targets are."""

from typing import Any

import pytest

from fastgate.config import Address, ConfigError, GatewayConfig, Target
from fastgate.config.syntax.addresses import check_resolver, parse_target


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("127.0.0.1", [Address("127.0.0.1", 8080)]),
        ("0.0.0.0:80", [Address("0.0.0.0", 80)]),
        ("localhost", [Address("localhost", 8080)]),
        ("::", [Address("::", 8080)]),
        ("[::1]", [Address("::1", 8080)]),
        ("[::1]:81", [Address("::1", 81)]),
        ("unix:/run/a.sock", [Address("", 0, "/run/a.sock")]),
        (["a", "b:1", "unix:/x"], [Address("a", 8080), Address("b", 1), Address("", 0, "/x")]),
    ],
)
def test_listen_addresses(host: Any, addresses: list[Address]) -> None:
    assert GatewayConfig.from_dict({"gateway": {"host": host}}).gateway.listen_addresses() == addresses


def test_an_ipv4_address_in_ipv6_clothes_is_written_as_what_it_is() -> None:
    with pytest.raises(ConfigError, match=r'is an IPv4 address: write "127\.0\.0\.3"'):
        GatewayConfig.from_dict({"gateway": {"host": "[::ffff:127.0.0.3]:80"}})


@pytest.mark.parametrize(
    ("address", "text"),
    [(Address("::1", 80), "[::1]:80"), (Address("a", 80), "a:80"), (Address("", 0, "/x"), "unix:/x")],
)
def test_an_address_as_text(address: Address, text: str) -> None:
    assert str(address) == text


def targets(*written: Any, **upstream: Any) -> list[Target]:
    return GatewayConfig.from_dict({"upstreams": {"a": {"targets": written, **upstream}}}).upstreams["a"].targets


def test_targets() -> None:
    assert targets(
        {"host": "127.0.0.1", "port": 5000}, "127.0.0.1:5001", "https://a.example", "https://a.example:8443/",
        "http://a.example", "unix:/run/app.sock", "[::1]:80", {"host": "::1", "port": 81}, "HTTP://b",
    ) == [
        Target(host="127.0.0.1", port=5000),
        Target(host="127.0.0.1", port=5001),
        Target(host="a.example", port=443, tls=True),
        Target(host="a.example", port=8443, tls=True),
        Target(host="a.example", port=80),
        Target(host="", port=0, unix="/run/app.sock"),
        Target(host="::1", port=80),
        Target(host="::1", port=81),
        Target(host="b", port=80),
    ]  # fmt: skip


def test_a_tls_table_decides_for_targets_without_a_scheme() -> None:
    made = targets("a:1", {"host": "b", "port": 1}, "http://c", "https://d", "unix:/e", tls={})
    assert [target.tls for target in made] == [True, True, False, True, True]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ""),
        ("10.0.0.2", "10.0.0.2:53"),
        ("10.0.0.2:5353", "10.0.0.2:5353"),
        ("::1", "[::1]:53"),
        ("[::1]:5", "[::1]:5"),
    ],
)
def test_name_servers(text: str, address: str) -> None:
    assert check_resolver(text) == address


def test_a_service_record_is_a_target() -> None:
    assert parse_target("srv:_http._tcp.example.com") == ("", 0, "", None, "_http._tcp.example.com")
    for text in (
        "srv:",
        "srv:_http._tcp",
        "srv:_http._tcp.",
        "srv:http._tcp.a",
        "srv:_http.tcp.a",
        "srv:_http._tcp.a b",
    ):
        with pytest.raises(ValueError, match="SRV record|host name"):
            parse_target(text)
