"""What is made from the schema: the JSON Schema and the reference page."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from fastgate.cli.init import STARTER
from fastgate.config import ConfigError, GatewayConfig
from fastgate.config.publish.json_schema import make_schema
from fastgate.config.publish.reference import render_reference
from fastgate.config.read.unknown import tables
from fastgate.config.schema.described import marks, struct_fields
from fastgate.policies.chain import render_policies

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", render_reference(), re.MULTILINE | re.DOTALL)
CASES = Path(__file__).parent / "cases"


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(json.dumps(make_schema()))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_page_in_the_repository_is_current() -> None:
    assert PAGE.read_text() == render_reference(render_policies()), "make docs"


@pytest.mark.parametrize("block", [*BLOCKS, STARTER.format(file="fastgate.toml")])
def test_every_block_is_a_configuration(block: str, validator: Any) -> None:
    data = tomllib.loads(block)
    GatewayConfig.from_dict(data)
    validator.validate(data)


def test_every_key_has_a_meaning_and_is_on_the_page() -> None:
    page = render_reference()
    for _, cls in tables(GatewayConfig):
        for field in struct_fields(cls):
            assert getattr(field.type, "extra_json_schema", {}).get("description"), f"{cls.__name__}.{field.name}"
            if cls is not GatewayConfig and not marks(field.type).get("internal"):
                assert f"`{field.encode_name}`" in page


@pytest.mark.parametrize(
    "data",
    [
        {"gateway": {"port": "${PORT}", "workers": "auto", "keepalive": "1m30s", "max_body": 10, "via": "${VIA}"}},
        {"gateway": {"host": ["a", "b"], "socket_mode": "0600", "log": {"level": "${LEVEL:-info}"}}},
        {"defaults": {"timeouts": False, "max_body": "1MB", "request_headers": {"set": {"a": {"env": "A"}}}}},
        {"upstreams": {"a": {"targets": ["a:1", {"host": "a", "port": 2}], "tls": {}}}},
        {"defaults": {"security_headers": True, "cors": {"origins": "https://a.example", "max_age": "5m"}}},
        {"defaults": {"security_headers": False, "cors": False, "cache": False}},
        {"defaults": {"cache": True}},
        {"defaults": {"cache": {"ttl": {"200": "1m", "5xx": 1}, "honor": "response", "key": "client_ip"}}},
        {"defaults": {"cache": {"ttl": "1m", "honor": "${VIA}", "query": {"except": ["a"]}, "bypass": ["cookie:a"]}}},
        {"defaults": {"security_headers": {"frame_options": False, "referrer_policy": "origin", "override": True}}},
        {
            "defaults": {
                "rate_limit": [{"rate": 1, "key": ["route"]}, {"rate": "${PORT}", "key": "route"}],
                "retry": False,
            }
        },
        {"defaults": {"rate_limit": {"rate": 1.5, "per": "1m"}, "retry": {"on": ["503"], "hedge": {"delay": "1s"}}}},
        {"routes": [{"name": "a", "path": "/a", "redirect": {"to": "/b", "status": 301}}], "state": {}},
        {"routes": [{"name": "a", "path": "/a", "respond": {}, "rate_limit": False, "concurrency": False}]},
        {
            "routes": [{"name": "a", "path": "/a", "split": [{"upstream": "a", "sticky": "client_ip"}]}],
            "upstreams": {
                "a": {
                    "targets": ["srv:_a._tcp.b"],
                    "balancer": "ip_hash",
                    "hash_key": "route",
                    "health": {"active": {"headers": {"a": {"env": "A"}}}, "passive": {}},
                    "breaker": {"ratio": 0},
                }
            },
        },
    ],
)
def test_the_schema_takes_what_the_gateway_takes(validator: Any, data: dict[str, Any]) -> None:
    GatewayConfig.from_dict(data, environ={"PORT": "1", "VIA": "1", "A": "1"})
    validator.validate(data)


@pytest.mark.parametrize(
    "route",
    [
        {},
        {"upstream": "a", "respond": {}},
        {"respond": {"status": 103}},
        {"redirect": {"to": "/b", "status": 304}},
        {"respond": {}, "rate_limit": []},
        {"respond": {}, "rate_limit": {"rate": 0}},
        {"respond": {}, "rate_limit": 3},
        {"respond": {}, "rate_limit": [{"rate": 1}] * 9},
        {"respond": {}, "concurrency": {}},
        {"respond": {}, "retry": {"attempts": 11}},
    ],
)
def test_the_schema_refuses_a_wrong_route(validator: Any, route: dict[str, Any]) -> None:
    data = {"routes": [{"name": "a", "path": "/a", **route}], "upstreams": {"a": {"targets": ["a:1"]}}}
    with pytest.raises(ConfigError):
        GatewayConfig.from_dict(data)
    assert not validator.is_valid(data)


@pytest.mark.parametrize("name", ["mistyped_keys", "wrong_types", "out_of_range", "tls"])
def test_the_schema_refuses_what_the_gateway_refuses(validator: Any, name: str) -> None:
    data = tomllib.loads((CASES / f"{name}.toml").read_text())
    wrong: dict[str, Any] = {}
    for table, keys in data.items():
        for key, value in keys.items() if isinstance(keys, dict) else ():
            wrong[f"{table}.{key}"] = {table: {key: value}}
    assert wrong
    # bounds of text such as "100ms", infinity and what one key says about another are beyond a JSON Schema
    beyond = {"gateway.socket_mode", "gateway.tls", "gateway.drain_timeout", "gateway.worker_timeout"}
    beyond.add("gateway.max_header_bytes")
    for part, value in wrong.items():
        try:
            GatewayConfig.from_dict(value)
        except ConfigError:
            if part not in beyond:
                assert not validator.is_valid(value), part
