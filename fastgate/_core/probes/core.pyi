from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

from fastgate._core.delivery.balancer import Balancer
from fastgate._core.exchange.timers import Timed, Wheel
from fastgate._core.exchange.worker import Engine
from fastgate._core.memory.targets import TargetRows

Progress: TypeAlias = Literal["more", "complete", "broken"]

def read_head(
    pieces: Iterable[bytes],
    *,
    request: bool = True,
    max_bytes: int = 32768,
    limit: int = 100,
    field_names: Literal["drop", "pass", "reject"] = "drop",
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

def sha_256(data: bytes) -> bytes:
    """The SHA-256 of these bytes."""

def token(text: bytes) -> bool:
    """Whether a text is a token (RFC 9110 section 5.6.2)."""

def host(text: bytes) -> bool:
    """Whether a text can stand in a Host field (RFC 9110 section 7.2)."""

def host_form(text: bytes) -> bytes | None:
    """The form in which a host is compared; None: it is too long, or no literal."""

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

def live_counts() -> dict[str, int]:
    """How many client connections, exchanges and upstream connections of this process are alive."""

def normalize_address(text: str) -> str | None:
    """The one form of an address that everything compares, counts and writes; None: it is none.

    ``::ffff:192.0.2.1`` is ``192.0.2.1``, and a zone (``fe80::1%eth0``) is no part of it.
    """

def read_address(hop: bytes) -> bytes | None:
    """The address in an element of X-Forwarded-For, in the one form that it has; None where there is none."""

def read_forwarded(value: bytes) -> list[tuple[bool, bytes | None, bytes | None, bytes | None]] | None:
    """The elements of a Forwarded field: whether there is a ``for``, its address, ``proto`` and ``host``.

    None: the field is malformed.
    """

def json_text(text: bytes) -> bytes:
    """The bytes of a head as a JSON string of the access log, quotes included."""

def quoted_text(text: bytes) -> bytes:
    """The bytes of a head as they stand between the quotes of the combined format."""

class Alarm(Timed):
    """A deadline that calls back."""

    def __init__(self, callback: Callable[[], object]) -> None: ...
    @property
    def is_set(self) -> bool:
        """Whether a deadline is set."""

def seed_random(engine: Engine, seed: int) -> None:
    """Makes what an engine chooses by chance the same each time."""

class HandWheel:
    """A timer wheel whose clock the caller moves: one of its own, or that of an engine which is not started.

    ``failed(error)`` is told what an alarm raised.
    """

    def __init__(
        self, failed: Callable[[BaseException], object] | None = None, wheel: Wheel | None = None
    ) -> None: ...
    @property
    def now(self) -> int:
        """Milliseconds."""
    def arm(self, alarm: Alarm, delay: int) -> None:
        """Sets the deadline so many milliseconds from now; 0 takes it away."""
    def turn(self, now: int) -> None:
        """Moves the clock to ``now``, in milliseconds, and fires what is due. It never goes back."""

class SharedCounts:
    """The counts of rows as a balancer reads them: its member i is the row ``numbers[i]``.

    To be kept until ``end()``.
    """

    def __init__(self, balancer: Balancer[Any], rows: TargetRows, numbers: Sequence[int]) -> None: ...
    def end(self) -> None:
        """The balancer counts for itself again."""

def use_members(balancer: Balancer[Any], weights: Sequence[float]) -> None:
    """Tells a balancer weights of members that may be more or less than its targets."""

def nanoseconds_per_pick(balancer: Balancer[Any], picks: int = 1000000, slots: int = 1, most: int = 8) -> float:
    """What a pick of this balancer takes here, each time with another key and other random bits.

    For the time of it every member has less than ``most`` requests in flight in each of ``slots`` worker slots.
    """

class Block:
    """A `Buffer`, empty at first. Each `put` makes room for itself; MemoryError where there is none."""

    @property
    def contents(self) -> bytes: ...
    def clear(self) -> None:
        """Forgets the contents and keeps the memory."""
    def reserve(self, more: int) -> None:
        """Makes room ahead for so many bytes."""
    def put(self, data: bytes) -> None: ...
    def put_number(self, number: int) -> None: ...
    def put_hex(self, number: int) -> None: ...
    def put_length(self, number: int) -> None: ...
    def fill(self, most: int, data: bytes) -> None:
        """Asks for room for ``most`` bytes and writes ``data`` there, which may be more: that ends the process."""
