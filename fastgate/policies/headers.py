"""Header transforms: ``request_headers`` and ``response_headers``, compiled into edits that the core applies."""

from fastgate._core.exchange.route import Edits, Template
from fastgate.config import HeaderEdits
from fastgate.gateway.templates import compile_value


def compile_edits(edits: HeaderEdits | None, request_id: str = "") -> Edits | None:
    """None for no edits at all. ``set`` replaces, ``remove`` takes away, ``add`` appends; in this order.

    ``request_id`` is the name of the field in which the gateway sends the id itself.
    """
    if edits is None or not (edits.set or edits.add or edits.remove):
        return None
    added: list[tuple[str, bytes | Template]] = [(name, compile_value(value)) for name, value in edits.set.items()]
    for name, values in edits.add.items():
        added.extend((name, compile_value(value)) for value in ([values] if isinstance(values, str) else values))
    return Edits(removed=[*edits.set, *edits.remove], added=added, request_id=request_id)
