"""A configuration in pieces is the same configuration."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import msgpack

from fastgate.config import GatewayConfig
from fastgate.server.messages import Piece
from fastgate.server.pieces import ENTRIES, PIECE, Assembly, cut

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


def together(pieces: list[Piece]) -> GatewayConfig:
    assembly = Assembly()
    for piece in pieces:
        assembly.add(piece)
    return assembly.config()


@settings(deadline=None)
@given(ROUTES, st.integers(1, 250), st.integers(1, 1000))
def test_put_together_it_is_what_was_cut(routes: list[dict[str, Any]], upstreams: int, max_headers: int) -> None:
    config = made(routes, upstreams, max_headers=max_headers)
    pieces = cut(config, 7)
    assert together(pieces) == config
    assert {piece.generation for piece in pieces} == {7}


@settings(deadline=None)
@given(ROUTES)
def test_no_piece_is_large(routes: list[dict[str, Any]]) -> None:
    for piece in cut(made(routes, 3), 1):
        if piece.key == "routes":
            entries = msgpack.decode(piece.data)
            assert len(entries) <= ENTRIES
            assert len(entries) < 2 or len(piece.data) <= PIECE + 5


def test_one_entry_that_is_larger_is_a_piece_of_its_own() -> None:
    config = made([{"request_headers": {"set": {"x-a": "v" * 2 * PIECE}}}] * 3, 1)
    pieces = cut(config, 1)
    assert sum(piece.key == "routes" for piece in pieces) == 3
    assert together(pieces) == config


def test_nothing_is_a_piece_too() -> None:
    assert together(cut(GatewayConfig(), 1)) == GatewayConfig()
