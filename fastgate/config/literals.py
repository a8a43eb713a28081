"""The choices of a key in the order in which the schema writes them, which `msgspec.inspect` does not keep."""

import functools
from typing import Any, Literal, get_args, get_origin, get_type_hints

from fastgate.config.unknown import tables


def in_written_order(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same choices as the schema orders them."""
    return _orders().get(frozenset(values), values)


@functools.cache
def _orders() -> dict[frozenset[Any], tuple[Any, ...]]:
    orders: dict[frozenset[Any], tuple[Any, ...]] = {}

    def collect(hint: Any) -> None:
        if get_origin(hint) is Literal:
            orders[frozenset(get_args(hint))] = get_args(hint)
            return
        for inner in get_args(hint):
            collect(inner)

    for _, cls in tables():
        for hint in get_type_hints(cls, include_extras=True).values():
            collect(hint)
    return orders
