"""A configuration in pieces: no process stops for longer than one piece takes, however many routes there are.

A thousand routes take 10 ms to decode, in one call that holds the interpreter. So lists and tables at the top of a
configuration are cut after `ENTRIES` entries or `PIECE` bytes; a piece then takes a fifth of a millisecond.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from msgspec import Raw, msgpack
from msgspec.structs import fields

from fastgate.config import GatewayConfig
from fastgate.server.messages import Piece

ENTRIES = 100
PIECE = 16384


def cut(config: GatewayConfig, generation: int) -> list[Piece]:
    """The pieces, in order."""
    encode = msgpack.Encoder().encode
    pieces = []
    for field in fields(GatewayConfig):
        value = getattr(config, field.name)
        if isinstance(value, list):
            parts: Iterator[Any] = (
                [raw for _, raw in group] for group in _groups((None, Raw(encode(each))) for each in value)
            )
        elif isinstance(value, dict):
            parts = (dict(group) for group in _groups((key, Raw(encode(each))) for key, each in value.items()))
        else:
            parts = iter([value])
        pieces += [Piece(generation, field.name, encode(part)) for part in parts]
    return pieces


def _groups(entries: Iterator[tuple[Any, Raw]]) -> Iterator[list[tuple[Any, Raw]]]:
    """At least one group, which may be empty."""
    group: list[tuple[Any, Raw]] = []
    size = 0
    for entry in entries:
        if group and (len(group) == ENTRIES or size + len(memoryview(entry[1])) > PIECE):
            yield group
            group, size = [], 0
        group.append(entry)
        size += len(memoryview(entry[1]))
    yield group


class Assembly:
    """Puts the pieces together again, in the order in which they were cut."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def add(self, piece: Piece) -> None:
        """Decodes one more piece."""
        value = _decoders()[piece.key].decode(piece.data)
        known = self._values.setdefault(piece.key, value)
        if known is value:
            return
        if isinstance(known, list):
            known.extend(value)
        else:
            known.update(value)

    def config(self) -> GatewayConfig:
        """The configuration, when every piece was added."""
        return GatewayConfig(**self._values)


@cache
def _decoders() -> dict[str, msgpack.Decoder[Any]]:
    return {field.name: msgpack.Decoder(field.type) for field in fields(GatewayConfig)}
