"""What a limit counts by, and what keeps a client at one part of a split."""

import pytest

from fastgate.config.syntax.request_key import check_limit_key, check_sticky_key, parse_limit_key


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
