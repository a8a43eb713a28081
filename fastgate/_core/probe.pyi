from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

Progress: TypeAlias = Literal["more", "complete", "broken"]

def read_head(
    pieces: Iterable[bytes],
    *,
    request: bool = True,
    max_bytes: int = 32768,
    limit: int = 100,
    underscores: Literal["drop", "pass", "reject"] = "drop",
) -> dict[str, Any]:
    """Feeds a head as a connection does: each time with everything that came so far.

    Always there: ``taken`` (bytes that had come when the verdict fell, or all of them), ``length`` of the head (0: not
    complete, or refused in the middle) and ``cause`` (why it is refused; None). A complete, accepted head has
    ``method``, ``target`` or ``status``, ``reason``; ``minor``, ``minor_sent``; ``fields`` as (name, value, dropped,
    ruled); ``content_length``, ``chunked``, ``close``, ``keep_alive``, ``host``, ``upgrade``, ``upgrades``,
    ``upgrade_named``, ``expect``, ``has_forwarded``, ``keep_alive_timeout``; None where nothing was said.
    """

def known_name(name: bytes) -> tuple[int, bool, bool]:
    """The number of a field name that the gateway knows, 0 for every other; whether such fields are dropped, ruled."""

def token(text: bytes) -> bool:
    """Whether a text is a token (RFC 9110 section 5.6.2)."""

def host(text: bytes) -> bool:
    """Whether a text can stand in a Host field (RFC 9110 section 7.2)."""

def in_list(value: bytes, lower: bytes) -> bool:
    """Whether a comma-separated list has this member, given in lower case."""

class Decoder:
    """The framing of one body."""

    def __init__(
        self, kind: Literal["chunked", "length", "until_close"], *, length: int = 0, trailer_limit: int = 32768
    ) -> None: ...
    @property
    def done(self) -> bool:
        """Whether the message is complete."""
    def feed(self, data: bytes) -> tuple[Progress, int, bytes]:
        """Reads on, span by span: progress, how many bytes were consumed, the body among them."""
    def take(self, data: bytes, offset: int = 0) -> tuple[Progress, int, bytes | None]:
        """The body of ``data`` from ``offset`` on as one object: progress, the new offset, the body or None."""
