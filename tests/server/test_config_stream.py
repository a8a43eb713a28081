"""A configuration in parts is the same configuration."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import msgpack

from fastgate.config import GatewayConfig
from fastgate.server.config_stream import PART_BYTES, PART_ENTRIES, Assembly, cut
from fastgate.server.control_messages import ConfigPart

FIELD = st.text("abcdefghij", min_size=1, max_size=4000)
ROUTES = st.lists(st.builds(lambda value: {"request_headers": {"set": {"x-a": value}}}, FIELD), max_size=250)


def made(routes: list[dict[str, Any]], upstreams: int, **gateway: Any) -> GatewayConfig:
    return GatewayConfig.from_dict(
        {
            "gateway": gateway,
            "routes": [
                {"name": f"r{n}", "path": f"/{n}", "upstream": f"u{n % upstreams}", **route}
                for n, route in enumerate(routes)
            ],
            "upstreams": {f"u{n}": {"targets": [f"h:{n + 1}"]} for n in range(upstreams)},
        }
    )


def together(parts: list[ConfigPart]) -> GatewayConfig:
    assembly = Assembly()
    for part in parts:
        assembly.add(part)
    return assembly.config()


@settings(deadline=None)
@given(ROUTES, st.integers(1, 250), st.integers(1, 1000))
def test_put_together_it_is_what_was_cut(routes: list[dict[str, Any]], upstreams: int, max_headers: int) -> None:
    config = made(routes, upstreams, max_headers=max_headers)
    parts = cut(config, 7)
    assert together(parts) == config
    assert {part.generation for part in parts} == {7}


@settings(deadline=None)
@given(ROUTES)
def test_no_part_is_large(routes: list[dict[str, Any]]) -> None:
    for part in cut(made(routes, 3), 1):
        if part.key == "routes":
            entries = msgpack.decode(part.data)
            assert len(entries) <= PART_ENTRIES
            assert len(entries) < 2 or len(part.data) <= PART_BYTES + 5


def test_one_entry_that_is_larger_is_a_part_of_its_own() -> None:
    config = made([{"request_headers": {"set": {"x-a": "v" * 2 * PART_BYTES}}}] * 3, 1)
    parts = cut(config, 1)
    assert sum(part.key == "routes" for part in parts) == 3
    assert together(parts) == config


def test_nothing_is_a_part_too() -> None:
    assert together(cut(GatewayConfig(), 1)) == GatewayConfig()
