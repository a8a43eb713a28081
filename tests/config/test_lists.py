"""Lists whose values stand in one environment variable, and what is said of several values where one is wanted."""

import tomllib
from typing import Any

import jsonschema
import pytest
from config.test_load import ENVIRON, EVERYTHING

from fastgate.config import ConfigError, GatewayConfig
from fastgate.config.publish.json_schema import make_schema
from fastgate.policies.chain import find_warnings

NO_NETWORK = '"x" is not a valid address or network, such as "10.0.0.0/8" or "::1"'
SEVERAL = "has several values: write"


def listed(keys: dict[str, Any], **environ: str) -> GatewayConfig:
    route = {"name": "r", "path": "/*", "upstream": "b"}
    data = {"routes": [route], "upstreams": {"b": {"targets": ["b:1"]}}, **keys}
    return GatewayConfig.from_dict(data, environ=environ)


@pytest.mark.parametrize(
    ("separator", "text"),
    [
        (",", "10.0.0.0/8,192.168.0.0/16"),
        (",", " 10.0.0.0/8 , 192.168.0.0/16,\n"),
        (" ", "10.0.0.0/8  192.168.0.0/16 "),
        ("\n", "10.0.0.0/8\n192.168.0.0/16\n"),
        ("::", "10.0.0.0/8::192.168.0.0/16"),
    ],
)
def test_a_list_of_one_variable(separator: str, text: str) -> None:
    config = listed({"gateway": {"trusted_proxies": {"env": "TRUSTED", "split": separator}}}, TRUSTED=text)
    assert config.gateway.trusted_proxies == ["10.0.0.0/8", "192.168.0.0/16"]


def test_every_kind_of_list_of_text_can_be_of_one_variable() -> None:
    """Each list of strings of a full configuration, put into a variable in turn."""

    def lists(value: Any, path: tuple[Any, ...] = ()) -> Any:
        if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
            yield path, value
        inner = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
        for key, each in inner:
            yield from lists(each, (*path, key))

    expected = GatewayConfig.from_dict(tomllib.loads(EVERYTHING), environ=ENVIRON)
    found = list(lists(tomllib.loads(EVERYTHING)))
    assert len(found) > 10
    for path, values in found:
        if "options" in path or any("$" in each for each in values):
            continue
        data = tomllib.loads(EVERYTHING)
        table = data
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = {"env": "LIST", "split": "|"}
        environ = {**ENVIRON, "LIST": " | ".join(values)}
        assert GatewayConfig.from_dict(data, environ=environ) == expected, path
        assert find_warnings(GatewayConfig.from_dict(data, environ=environ), data) is not None


def test_what_a_variable_says_is_text_and_nothing_else() -> None:
    edits = {"add": {"x-a": {"env": "LIST", "split": ","}}}
    route = {"name": "r", "path": "/*", "upstream": "b", "request_headers": edits}
    config = listed({"routes": [route]}, LIST="{client_ip},${HOME},b}")
    assert config.routes[0].request_headers is not None
    assert config.routes[0].request_headers.add == {"x-a": ["{{client_ip}}", "${{HOME}}", "b}}"]}


@pytest.mark.parametrize(
    ("value", "text", "told"),
    [
        ({"env": "T", "split": ","}, None, "environment variable T is not set"),
        ({"env": "1", "split": ","}, "", '"1" is not a valid name of an environment variable'),
        ({"env": "T", "split": ""}, "a", "split must not be empty: it separates the values"),
        ({"env": "T"}, "a", 'expected a list, or { env = "T", split = "," } for several values of one variable'),
        ({"env": "T", "sep": ","}, "a", 'expected a list, or { env = "T", split = "," } for several'),
        ({"env": "T", "split": 1}, "a", 'expected a list, or { env = "T", split = "," } for several'),
        ({"file": "a", "split": ","}, "a", 'expected a list, or { env = "NAME", split = "," } for several'),
        ({"env": "T", "split": ","}, "::1,x", f"[1]: {NO_NETWORK} (from T)"),
        (["${T}"], "::1,::2", f'[0]: "::1,::2" (from ${{T}}) {SEVERAL} {{ env = "T", split = "," }} in place of'),
        (["::3", "${T}"], "::1;::2", f'[1]: "::1;::2" (from ${{T}}) {SEVERAL} {{ env = "T", split = ";" }} in place'),
        (["${T:-::1}"], "::1\n::2", f'[0]: "::1\\n::2" (from ${{T:-::1}}) {SEVERAL} {{ env = "T", split = "\\n" }}'),
        (["::1,::2"], "", '[0]: "::1,::2" has several values: write ["::1", "::2"]'),
        ("${T}", "::1,::2", 'expected a list, got the string "${T}": write { env = "T", split = "," }'),
        ("${T}", "::1", 'expected a list, got the string "${T}": write { env = "T", split = "," }'),
        ("::1, ::2", "", 'expected a list, got the string "::1, ::2": write ["::1", "::2"]'),
        ("::1", "", 'expected a list, got the string "::1": write ["::1"]'),
        (["::1,x"], "", "[0]: " + NO_NETWORK.replace("x", "::1,x")),
    ],
)
def test_several_values_where_one_is_wanted(value: Any, text: str | None, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        listed({"gateway": {"trusted_proxies": value}}, **({} if text is None else {"T": text}))
    assert str(caught.value).startswith(f"gateway.trusted_proxies{'' if told.startswith('[') else ': '}{told}")


@pytest.mark.parametrize(
    ("keys", "place", "mend"),
    [
        ({"gateway": {"host": "${T}"}}, "gateway.host", '{ env = "T", split = "," }'),
        ({"gateway": {"host": "a:1,b:2"}}, "gateway.host", '["a:1", "b:2"]'),
        ({"upstreams": {"b": {"targets": ["${T}"]}}}, "upstreams.b.targets[0]", '{ env = "T", split = "," } in place'),
        ({"upstreams": {"b": {"targets": ["a:1,b:2"]}}}, "upstreams.b.targets[0]", '["a:1", "b:2"]'),
    ],
)
def test_what_is_said_of_a_comma_says_what_is_meant(keys: dict[str, Any], place: str, mend: str) -> None:
    with pytest.raises(ConfigError) as caught:
        listed(keys, T="a:1,b:2")
    told = str(caught.value)
    assert told.startswith(f'{place}: "a:1,b:2"')
    assert f"has several values: write {mend}" in told


def test_the_schema_takes_lists_of_one_variable() -> None:
    validator = jsonschema.Draft202012Validator(make_schema())
    for value, valid in (
        ({"env": "T", "split": ","}, True),
        (["::1"], True),
        ({"env": "T"}, False),
        ({"env": "T", "split": ",", "more": 1}, False),
    ):
        data = {"gateway": {"trusted_proxies": value, "host": value}, "routes": []}
        assert validator.is_valid(data) == valid, value
    assert not validator.is_valid({"routes": {"env": "T", "split": ","}})
