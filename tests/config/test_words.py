"""The small languages inside strings."""

import pytest

from fastgate.config.syntax.addresses import check_resolver, parse_target
from fastgate.config.syntax.words import (
    check_cause,
    check_limit_key,
    check_media_range,
    check_status,
    check_sticky_key,
    parse_limit_key,
    parse_statuses,
)


def test_statuses() -> None:
    assert parse_statuses(["2xx", "304"]) == {*range(200, 300), 304}


@pytest.mark.parametrize("word", ["connect", "reset", "timeout", "4xx", "5xx", "400", "599"])
def test_what_is_a_cause(word: str) -> None:
    assert check_cause(word) == word


@pytest.mark.parametrize("word", ["", "CONNECT", "3xx", "2xx", "200", "600", "50", "5000", "5XX", "502 ", "²00"])
def test_what_is_no_cause(word: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        check_cause(word)


@pytest.mark.parametrize(("word", "good"), [("1xx", True), ("204", True), ("0xx", False), ("6xx", False), ("x", False)])
def test_what_is_a_status(word: str, good: bool) -> None:
    if good:
        assert check_status(word) == word
    else:
        with pytest.raises(ValueError, match="expected a status"):
            check_status(word)


@pytest.mark.parametrize(
    ("text", "key", "parts"),
    [
        ("client_ip", "client_ip", ("client_ip", "")),
        ("route", "route", ("route", "")),
        ("global", "global", ("global", "")),
        ("header:X-User", "header:x-user", ("header", "x-user")),
        ("cookie:SID", "cookie:SID", ("cookie", "SID")),
        ("param:user_id", "param:user_id", ("param", "user_id")),
    ],
)
def test_limit_keys(text: str, key: str, parts: tuple[str, str]) -> None:
    assert check_limit_key(text) == key
    assert parse_limit_key(key) == parts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("claim", "name is missing"), ("key:x", "expected"),
        ("client_ip:x", "expected"), ("", "expected"), ("headers:x", 'did you mean "header"'),
        ("header", "the name is missing"), ("param:", "the name is missing"),
        ("header:a b", "is not a valid header name"), ("cookie:a;b", "is not a valid cookie name"),
        ("param:a-b", "is not a valid parameter"),
    ],
)  # fmt: skip
def test_what_is_no_limit_key(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_limit_key(text)


def test_a_split_is_not_sticky_by_what_all_clients_share() -> None:
    assert [check_sticky_key(text) for text in ("client_ip", "cookie:a", "header:A")] == [
        "client_ip",
        "cookie:a",
        "header:a",
    ]
    for text in ("route", "global", "param:id", "key"):
        with pytest.raises(ValueError, match="expected"):
            check_sticky_key(text)


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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("text/*", "text/*"), ("Application/JSON", "application/json"), ("application/*+json", "application/*+json"),
        ("image/svg+xml", "image/svg+xml"), ("text", None), ("*/*", "*/*"), ("text/", None), ("/html", None),
        ("text/a/b", None), ("text/*-*", None), ("text/html;q=1", None), ("", None), ("a b/c", None),
    ],
)
def test_media_ranges(text: str, value: str | None) -> None:
    if value is not None:
        assert check_media_range(text) == value
    else:
        with pytest.raises(ValueError, match="media type"):
            check_media_range(text)
