"""Names of fields under which the gateway says something of the configuration's choice."""

from typing import Any

import pytest

from fastgate.config import ConfigError, GatewayConfig

TAKEN = [
    "Host", "host", "Proxy", "X-Forwarded-For", "x_forwarded_for", "X-Forwarded-Proto", "X-Forwarded-Host",
    "X-Forwarded-Port", "X-Real-IP", "Forwarded", "Via", "Date", "Server", "Content-Type", "Content-Length",
    "Transfer-Encoding", "Connection", "TE", "Trailer", "Upgrade", "Expect",
]  # fmt: skip


def faults(**tables: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_dict({"upstreams": {"b": {"targets": ["b:80"]}}, **tables})
    return str(caught.value)


def jwt(header: str) -> dict[str, Any]:
    return {"jwt": {"algorithms": ["HS256"], "secret": "s" * 32, "claims_to_headers": {"sub": header}}}


def forward(header: str) -> dict[str, Any]:
    return {"forward": {"url": "http://127.0.0.1:1/", "response_headers": [header]}}


@pytest.mark.parametrize("name", [*TAKEN, "Authorization", "Cookie", "Set-Cookie"])
def test_the_request_id_has_a_field_of_its_own(name: str) -> None:
    assert f"gateway.request_id: {name} " in faults(gateway={"request_id": name})


@pytest.mark.parametrize("name", TAKEN)
def test_so_has_who_asks(name: str) -> None:
    assert f"auth.jwt.claims_to_headers.sub: {name} " in faults(auth=jwt(name))
    assert f"auth.forward.response_headers[0]: {name.lower()} " in faults(auth=forward(name))


def test_one_field_does_not_say_both() -> None:
    gateway = {"request_id": "X-Trace"}
    said = "is the field of the request id"
    assert f"auth.jwt.claims_to_headers.sub: x_trace {said}" in faults(gateway=gateway, auth=jwt("x_trace"))
    assert f"auth.forward.response_headers[0]: x-trace {said}" in faults(gateway=gateway, auth=forward("X-Trace"))
    assert f"auth.jwt.claims_to_headers.sub: X-Request-Id {said}" in faults(auth=jwt("X-Request-Id"))


@pytest.mark.parametrize("name", ["", "x-request-id", "X-Correlation-Id", "traceparent"])
def test_other_names_are_free(name: str) -> None:
    assert GatewayConfig.from_dict({"gateway": {"request_id": name}}).gateway.request_id == name


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("workers", 5000, "must be 1 to 1024, got 5000"),
        ("backlog", 100_000_000_000, "must be 1 to 1000000, got 100000000000"),
        ("keepalive", "100000000d", "366d"),
        ("header_timeout", "400d", "366d"),
    ],
)
def test_numbers_that_no_system_takes(key: str, value: Any, said: str) -> None:
    text = faults(gateway={key: value})
    assert text.startswith(f"gateway.{key}: ")
    assert said in text


def test_a_year_is_a_time_like_others() -> None:
    timeouts = {"connect": "366d", "read": "366d", "write": "366d", "idle": "366d", "total": "366d"}
    GatewayConfig.from_dict({"gateway": {"keepalive": "366d"}, "defaults": {"timeouts": timeouts}})
