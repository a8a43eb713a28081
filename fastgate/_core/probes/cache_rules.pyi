from collections.abc import Iterable
from typing import Any

from fastgate._core.delivery.cache.rules import CacheRules

def date(text: bytes, now: int) -> int | None:
    """The seconds since 1970 of an HTTP date; None: it is none."""

def line(text: bytes) -> dict[str, int]:
    """What one line of Cache-Control says: the names of directives with their seconds, or True."""

def dictionary(text: bytes) -> dict[str, int] | None:
    """What one line of a targeted field says; None: it is not a dictionary of Structured Fields."""

def directives(
    head: bytes, targeted: tuple[bytes, ...] = (), names: Iterable[bytes] = ()
) -> tuple[dict[str, int], str | bytes | None, list[bytes]]:
    """What the head of an answer says, from where, and which of ``names`` are not to be stored."""

def request_directives(head: bytes) -> tuple[dict[str, int], str | None]:
    """What the head of a request says, and from where."""

def age(head: bytes) -> int | None:
    """The seconds of Age in the head of an answer; None: there is none that counts."""

def judge(
    rules: CacheRules,
    request: bytes,
    answer: bytes,
    *,
    identity: bool = False,
    forwarded: bool = False,
    wall: int = 0,
    asked: int = 0,
    received: int = 0,
    update: bytes | None = None,
) -> dict[str, Any]:
    """What is said of an answer when it comes: ``obstacle``, ``audience``, ``rule``, ``lifetime``, ``born``,
    ``fresh_until``, ``swr_until``, ``sie_until`` (milliseconds) and ``flags``.

    ``wall`` is seconds since 1970; ``asked`` and ``received`` are milliseconds of another clock. ``update``: the 304
    that has updated the answer.
    """

def use(rules: CacheRules, judged: dict[str, Any], request: bytes, now: int) -> tuple[str, bool, bool, int]:
    """How a stored answer may be used for a request; whether it may after a failed validation; whether the client wants
    504 without it; its age in seconds.
    """

def method_kind(rules: CacheRules, request: bytes) -> int:
    """What the method of a request is for the cache: the number of a `MethodKind`."""

class Written:
    """What is written into a buffer, as bytes."""

def vary(rules: CacheRules, answer: bytes, record: bytes | None = None) -> bytes | None:
    """The record of the fields that select an answer, joined with those of another record; None: it fits no other
    request, or they are too many.
    """

def record(text: bytes) -> list[bytes] | None:
    """The names of a record; None: it is none."""

def selecting_value(request: bytes, name: bytes) -> bytes | None:
    """The value of a request field as it stands in a key; None: the request does not have the field."""

def key(
    rules: CacheRules,
    request: bytes,
    record: bytes = b"",
    *,
    route: bytes,
    parts: list[bytes | None] | None = None,
    **texts: bytes | None,
) -> bytes | None:
    """The bytes of a key: the primary one, and behind it the fields of a record; None: their values are too long.

    ``texts``: upstream, scheme, host, port, path, query, identity, credential, content_type, body; ``parts``: one for
    each of the rules' key. What is None is not there.
    """

def query(rules: CacheRules, text: bytes) -> bytes | None:
    """A query as it is forwarded; None: nothing is left of it."""

def select(
    request: bytes, stored: bytes, length: int, *, received: int = 0, now: int = 0
) -> tuple[int | tuple[int, int, int] | None, int]:
    """What a client gets of a stored answer: 200, 304, 206 with the first and the last byte, 416, or None: the request
    passes by. The second is what the request wishes, as bits.
    """

def not_modified_fields(stored: bytes) -> list[bytes]:
    """The names of the fields of a stored answer that belong in a 304."""

def stored_lines(rules: CacheRules, answer: bytes, request_id: bytes | None = None) -> bytes:
    """The lines of an answer that are stored."""

def merged_lines(
    rules: CacheRules, stored: bytes, update: bytes, request_id: bytes | None = None
) -> bytes | None:
    """The lines of a stored answer after a 304; None: the 304 is about another representation."""

def head_agrees(stored: bytes, answer: bytes, length: int) -> bool:
    """Whether the answer to a HEAD is about a stored answer with a body of this length."""

def validators(stored: bytes) -> bytes:
    """The conditions of a request that validates a stored answer, as lines."""

def age_line(seconds: int) -> bytes:
    """Age as the cache writes it."""

def cache_status(
    forwarded: int = 0,
    *,
    forward_status: int = 0,
    ttl: int | None = None,
    stored: bool = False,
    collapsed: bool = False,
    detail: bytes | None = None,
) -> bytes:
    """Cache-Status as the cache writes it; ``forwarded`` is the number of a `Forwarded`."""

def tags(answer: bytes) -> list[tuple[bytes, bool]] | None:
    """The tags of an answer, each with whether it is a group; None: they are too many."""

def invalidated_groups(answer: bytes) -> list[bytes] | None:
    """The groups of Cache-Group-Invalidation; None: they are too many."""
