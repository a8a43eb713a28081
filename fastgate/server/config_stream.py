"""A configuration in parts: no process stops for longer than one part takes, however many routes there are.

A thousand routes take 10 ms to decode, in one call that holds the interpreter. So lists and tables at the top of a
configuration are cut after `PART_ENTRIES` entries or `PART_BYTES` bytes; a part then takes a fifth of a millisecond.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from msgspec import Raw, msgpack
from msgspec.structs import fields

from fastgate.config import GatewayConfig
from fastgate.server.control_messages import ConfigPart

PART_ENTRIES = 100
PART_BYTES = 16384


def cut(config: GatewayConfig, generation: int) -> list[ConfigPart]:
    """The parts, in order."""
    encode = msgpack.Encoder().encode
    parts = []
    for field in fields(GatewayConfig):
        value = getattr(config, field.name)
        if isinstance(value, list):
            values: Iterator[Any] = (
                [raw for _, raw in group] for group in _groups((None, Raw(encode(each))) for each in value)
            )
        elif isinstance(value, dict):
            values = (dict(group) for group in _groups((key, Raw(encode(each))) for key, each in value.items()))
        else:
            values = iter([value])
        parts += [ConfigPart(generation, field.name, encode(each)) for each in values]
    return parts


def _groups(entries: Iterator[tuple[Any, Raw]]) -> Iterator[list[tuple[Any, Raw]]]:
    """At least one group, which may be empty."""
    group: list[tuple[Any, Raw]] = []
    size = 0
    for entry in entries:
        if group and (len(group) == PART_ENTRIES or size + len(memoryview(entry[1])) > PART_BYTES):
            yield group
            group, size = [], 0
        group.append(entry)
        size += len(memoryview(entry[1]))
    yield group


class Assembly:
    """Puts the parts together again, in the order in which they were cut."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def add(self, part: ConfigPart) -> None:
        """Decodes one more part."""
        value = _decoders()[part.key].decode(part.data)
        known = self._values.setdefault(part.key, value)
        if known is value:
            return
        if isinstance(known, list):
            known.extend(value)
        else:
            known.update(value)

    def config(self) -> GatewayConfig:
        """The configuration, when every part was added."""
        return GatewayConfig(**self._values)


@cache
def _decoders() -> dict[str, msgpack.Decoder[Any]]:
    return {field.name: msgpack.Decoder(field.type) for field in fields(GatewayConfig)}
