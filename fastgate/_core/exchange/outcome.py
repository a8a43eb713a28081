"""What a plugin is told of an exchange that is over."""

from msgspec import Struct


class Outcome(Struct, frozen=True):
    """How an exchange ended, for ``on_finish``: the fields of the access log, by the same words. Times are in seconds.

    A phase that the exchange did not get to has None for its time.
    """

    status: int
    """What the client was told, or would have been: 499 where it had left before."""
    cause: str
    """Why it ended: the word that the access log has as ``end``. ``"ok"``: the upstream's answer went out whole."""
    bytes_in: int = 0
    """Of the request's body, as far as it came."""
    bytes_out: int = 0
    """Of the response's body, as far as it was sent."""
    upstream: str | None = None
    """The target of the last try, as logs call it; None: none was asked."""
    attempts: int = 0
    """How many tries there were."""
    head_time: float | None = None
    """From the first byte of the request until its head was complete."""
    policies_time: float | None = None
    """From then until it was ready for the upstream."""
    connect_time: float | None = None
    """From then until there was a connection; 0 for one from the pool."""
    response_time: float | None = None
    """From then until the head of the upstream's answer was complete."""
    body_time: float | None = None
    """From then until the end of the answer, or of a tunnel."""
    total_time: float = 0.0
    """From the first byte of the request until the end."""
