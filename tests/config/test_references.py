"""References to the environment and to secrets."""

from pathlib import Path

import pytest

from fastgate.config import ConfigError, GatewayConfig
from fastgate.config.read.references import expand
from fastgate.config.syntax.templates import Variable, parse_template

ROUTE = {"name": "a", "path": "/a", "upstream": "b"}
UPSTREAMS = {"b": {"targets": ["b:80"]}}


def header(value: object, environ: dict[str, str], **keys: object) -> str:
    route = {**ROUTE, "request_headers": {"set": {"x": value}}}
    config = GatewayConfig.from_dict({"routes": [route], "upstreams": UPSTREAMS, **keys}, environ=environ)
    assert config.routes[0].request_headers is not None
    return config.routes[0].request_headers.set["x"]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}", "1"), ("x${A}y${A}", "x1y1"), ("${NO:-d}", "d"), ("${EMPTY:-d}", "d"), ("${EMPTY}", ""),
        ("${A:-d}", "1"),
        ("${NO:-}", ""), ("$${A}", "${A}"), ("$A", "$A"), ("a$", "a$"), ("${NO:-a:-b}", "a:-b"),
        ("${NO:-http://x:1}", "http://x:1"),
    ],
)  # fmt: skip
def test_expand(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "EMPTY": ""}) == expanded


@pytest.mark.parametrize("text", ["${NO}", "${}", "${a b}", "${1A}", "${A", "x${A"])
def test_what_cannot_be_expanded(text: str) -> None:
    with pytest.raises(ValueError, match="variable|brace"):
        expand(text, {"A": "1"})


def test_one_reference_stands_for_a_number_a_boolean_or_text() -> None:
    environ = {
        "PORT": "81",
        "VIA": "true",
        "WORKERS": "auto",
        "SAMPLE": "0.5",
        "SIZE": "1MB",
        "T": "2m",
        "N": "5",
        "M": "0600",
    }
    data = {
        "port": "${PORT}", "via": "${VIA}", "forwarded": "${NO:-0}", "workers": "${WORKERS}", "max_body": "${SIZE}",
        "keepalive": "${T}", "max_headers": "${N}", "socket_mode": "${M}", "access_log": {"sample": "${SAMPLE}"},
        "body_timeout": "${N}s", "host": "${HOST:-::1}",
    }  # fmt: skip
    gateway = GatewayConfig.from_dict({"gateway": data}, environ=environ).gateway
    assert (gateway.port, gateway.via, gateway.forwarded, gateway.workers) == (81, True, False, "auto")
    assert (gateway.max_body, gateway.keepalive, gateway.max_headers, gateway.socket_mode) == (1024**2, 120.0, 5, 0o600)
    assert (gateway.access_log.sample, gateway.body_timeout, gateway.host) == (0.5, 5.0, "::1")
    assert GatewayConfig.from_dict({"gateway": {"workers": "${W}"}}, environ={"W": "3"}).gateway.workers == 3


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGATE_TEST_PORT", "81")
    assert GatewayConfig.from_dict({"gateway": {"port": "${FASTGATE_TEST_PORT}"}}).gateway.port == 81


def test_what_comes_from_outside_is_never_a_template() -> None:
    environ = {"A": "{client_ip}"}
    text = header("${A}-{host}", environ)
    assert parse_template(text) == ("{client_ip}-", Variable("host"))
    assert parse_template(header({"env": "A"}, environ)) == ("{client_ip}",)


def test_a_secret_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "gate.toml").write_text(
        '[[routes]]\nname = "a"\npath = "/a"\nupstream = "b"\n[routes.request_headers.add]\n'
        'x = [{ env = "TOKEN" }, { file = "token" }, "Bearer ${TOKEN}"]\n[upstreams.b]\ntargets = ["b:80"]\n'
    )
    config = GatewayConfig.from_file(tmp_path / "gate.toml", environ={"TOKEN": "t"})
    assert config.routes[0].request_headers is not None
    assert config.routes[0].request_headers.add == {"x": ["t", "s3cret", "Bearer t"]}


def test_an_error_never_repeats_a_secret() -> None:
    for value in ({"env": "TOKEN"}, "${TOKEN}"):
        with pytest.raises(ConfigError) as caught:
            header(value, {"TOKEN": "hush\n\x01"})
        assert "hush" not in str(caught.value)


def test_plugin_options_are_passed_on_with_their_references_replaced() -> None:
    options = {"a": ["${A}", 1, None, {"b": "${A}x"}], "c": True, "d": 1.5}
    data = {"plugins": [{"name": "p", "use": "m:P", "options": options}]}
    config = GatewayConfig.from_dict(data, environ={"A": "1"})
    assert config.plugins[0].options == {"a": ["1", 1, None, {"b": "1x"}], "c": True, "d": 1.5}
    with pytest.raises(ConfigError, match=r"plugins\[0\].options.a\[0\]: environment variable A is not set"):
        GatewayConfig.from_dict(data, environ={})
