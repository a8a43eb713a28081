"""What the origins of a configuration match, against a plain reading of the rules."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.limits.gates import QuotaStamp
from fastgate._core.policies.cors import CrossOrigin
from fastgate._core.policies.security_headers import SecurityFields
from fastgate.config import CORS, Route
from fastgate.config.syntax.origins import check_origin, takes_any, wildcard_ends
from fastgate.policies.cors import cross_origin

LABELS = st.lists(st.sampled_from(["a", "b", "example", "xn--4ca", "x-1"]), min_size=1, max_size=4)
SCHEMES = st.sampled_from(["http", "https", "app"])
PORTS = st.sampled_from([None, 80, 443, 8080])


def written(scheme: str, labels: list[str], port: int | None) -> str:
    return f"{scheme}://{'.'.join(labels)}" + (f":{port}" if port is not None else "")


def sent(scheme: str, labels: list[str], port: int | None) -> str:
    """As a browser writes it."""
    return written(scheme, labels, None if (scheme, port) in (("http", 80), ("https", 443)) else port)


def suits(origin: str, asked: str) -> bool:
    """Whether a checked origin with a wildcard or an expression lets that one read."""
    cors = cross_origin(Route(name="r", path="/", cors=CORS(origins=[origin])))
    assert cors is not None
    return cors.suits(asked.encode("latin-1"))


@settings(max_examples=150, deadline=None)
@given(SCHEMES, LABELS, PORTS)
def test_an_origin_is_read_as_browsers_write_it(scheme: str, labels: list[str], port: int | None) -> None:
    for text in (written(scheme, labels, port), written(scheme, labels, port).upper()):
        assert check_origin(text) == sent(scheme, labels, port)
        assert wildcard_ends(check_origin(text)) is None


@settings(max_examples=300, deadline=None)
@given(SCHEMES, LABELS, PORTS, SCHEMES, LABELS, PORTS)
def test_a_wildcard_against_lists_of_labels(
    scheme: str, labels: list[str], port: int | None, other: str, others: list[str], other_port: int | None
) -> None:
    origin = check_origin(written(scheme, ["*", *labels], port))
    asked = sent(other, others, other_port)
    below = len(others) > len(labels) and others[-len(labels) :] == labels
    same = sent(other, ["x"], other_port) == sent(scheme, ["x"], port)
    assert suits(origin, asked) == bool(below and same)
    assert suits(origin, sent(scheme, ["deep", "er", *labels], port))
    assert not takes_any(origin)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("*", True),
        ("null", False),
        ("~.*", True),
        ("~https?://[^/]+", True),
        ("~https://.*", False),
        ("https://*.a.b", False),
    ],
)
def test_which_origins_are_everybody(origin: str, expected: bool) -> None:
    assert takes_any(check_origin(origin)) == expected


def test_what_is_compiled_can_be_read() -> None:
    cors = CrossOrigin(origins=["https://a.b"], wildcards=[("x://", ".y")], credentials=True)
    assert cors.allow(b"o") == b"Access-Control-Allow-Origin: o\r\nAccess-Control-Allow-Credentials: true\r\n"
    security = SecurityFields([("X-Frame-Options", "DENY")])
    # Only limits put fields that an answer of the gateway's own may have as well.
    assert (cors.own, security.own) == (0, 0)
    assert QuotaStamp().own.bit_count() == 5
