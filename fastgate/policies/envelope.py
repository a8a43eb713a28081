"""The envelope around JSON answers, compiled."""

from typing import TypeVar

from msgspec.structs import replace

from fastgate._core.policies.envelope import Envelope
from fastgate.config import HeaderEdits, Route
from fastgate.config.bodies import Envelope as EnvelopeConfig

T = TypeVar("T")


def compile_envelope(envelope: EnvelopeConfig) -> Envelope:
    """What the core puts around the bodies of a route."""
    return Envelope(data=envelope.data, meta=envelope.meta, max_size=envelope.max_size)


def with_plain_answers(route: Route) -> HeaderEdits | None:
    """The edits of a route's requests.

    Under an envelope the upstream is asked for bodies in no coding, which alone can be wrapped.
    """
    edits = route.request_headers
    if route.envelope is None:
        return edits
    edits = edits or HeaderEdits()
    return replace(edits, set={**_others(edits.set), "accept-encoding": "identity"}, add=_others(edits.add))


def _others(fields: dict[str, T]) -> dict[str, T]:
    return {name: value for name, value in fields.items() if name.lower() != "accept-encoding"}
