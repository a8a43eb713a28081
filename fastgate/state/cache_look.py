"""What is stored in the response cache for an address, for operators: found by a walk over all that is stored.

A key is a row of parts (`_core/delivery/cache/key.pyx`): a tag of one byte, a length of four, a value. Answers are
found by the address that the upstream was asked for. What a request would get is another question, which only a request
can answer.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from fastgate.state.cache_purge import Address, parse_url

if TYPE_CHECKING:
    from fastgate._core.memory.cache.walk import StoredRecord
    from fastgate.state.cache_memory import CacheMemory

MOST_FOUND = 200
"""Answers that one look tells."""

_ROUTE, _UPSTREAM, _SCHEME, _HOST, _PATH, _QUERY, _NAME, _VALUE = 1, 2, 3, 4, 6, 7, 13, 14
_NOWHERE = 0xFFFFFFFF
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}[^\r\n]*)")
_PURGED = ("", "stale", "purged")


class StoredAnswer(Struct, frozen=True, kw_only=True):
    """One stored answer. ``state`` is ``"fresh"``, ``"stale"`` or ``"purged"``."""

    namespace: str  # hexadecimal digits: of the route and of all in its configuration that decides about the answer
    url: str
    upstream: str  # that a split has chosen; empty: there was no choice
    status: str  # the status line without the version; empty: a list of the fields that answers vary by
    state: str
    age: float  # seconds
    remaining: float  # seconds for which it is fresh; below 0: for how long it has been stale
    size: int  # bytes
    uses: int  # 3 stands for all that is more
    vary: dict[str, str | None]  # the values of the request's fields that it was chosen by; None: it had none


class Look(Struct, frozen=True):
    """What was found. ``complete`` False: there was more than is told."""

    answers: list[StoredAnswer]
    complete: bool


def look(
    memory: "CacheMemory", url: str, *, merge_slashes: bool = True, routes: Mapping[bytes, str] | None = None
) -> Iterator[Look | None]:
    """Looks for what is stored for a URL, in slices: None after each, and at last what was found.

    A URL with a query finds what is stored for exactly that one, a URL without finds all. ``routes`` are the names of
    routes by the digests that keys begin with. Raises PurgeError for what is not a URL.
    """
    address = parse_url(url, merge_slashes=merge_slashes)
    found: list[StoredAnswer] = []
    complete = True
    for some in memory.walk(address.path):
        for record in some:
            told = _told(memory, record, address, routes or {})
            if told is None:
                continue
            if len(found) == MOST_FOUND:
                complete = False
                break
            found.append(told)
        if not complete:
            break
        yield None
    found.sort(key=lambda each: (each.url, each.namespace, each.upstream, str(each.vary)))
    yield Look(found, complete)


def parts_of(key: bytes) -> Iterator[tuple[int, bytes | None]]:
    """The parts of a key: its tags and values, None for what is not there. Ends where it is not a key."""
    at = 0
    while at + 5 <= len(key):
        tag, length = key[at], int.from_bytes(key[at + 1 : at + 5], "little")
        at += 5
        if length == _NOWHERE:
            yield tag, None
        elif at + length > len(key):
            return
        else:
            yield tag, key[at : at + length]
            at += length


def _told(
    memory: "CacheMemory", record: "StoredRecord", address: Address, routes: Mapping[bytes, str]
) -> StoredAnswer | None:
    """What is told of a record; None: it is stored for another address."""
    from fastgate._core.delivery.cache.tags import tags_of
    from fastgate._core.delivery.cache.uri import origin_of
    from fastgate._core.memory.cache.cache_store import CacheStore
    from fastgate._core.memory.cache.walk import purged

    first: dict[int, bytes | None] = {}
    vary: dict[str, str | None] = {}
    name = ""
    for tag, value in parts_of(record.key):
        if tag == _NAME:
            name = (value or b"").decode("latin-1")
        elif tag == _VALUE:
            vary[name] = None if value is None else value.decode("latin-1")
        else:
            first.setdefault(tag, value)
    # The port that the upstream is told is that of the listener: an address has the one that the client named.
    origin = origin_of(first.get(_SCHEME) or b"", (first.get(_HOST) or b"").partition(b" ")[0])
    paths = (first.get(_PATH) or b"").split(b" ")
    if origin != address.origin or address.path not in paths:
        return None
    query = first.get(_QUERY)
    if address.query is not None and address.query != query:
        return None
    namespace = first.get(_ROUTE) or b""
    stored = address.with_query(query)
    purges = memory.purges
    tags = [purges.tag("uri", stored), purges.tag("uri", address.text), purges.tag("host", address.host)]
    for text, is_group in tags_of(record.head):
        tags.append(purges.tag("group", address.origin + b" " + text) if is_group else purges.tag("tag", text))
    if namespace in routes:
        tags.append(purges.tag("route", routes[namespace].encode()))
    now = CacheStore.now()
    fresh_for = (record.words[1] - now) / 1000
    said = _PURGED[purged(purges, record.purge, tags, stored, len(address.origin))]
    status = _STATUS.match(record.head)
    return StoredAnswer(
        namespace=namespace.hex(),
        url=stored.decode("latin-1"),
        upstream=(first.get(_UPSTREAM) or b"").decode("utf-8", "replace"),
        status=status[1].decode("latin-1") if status else "",
        state=said or ("fresh" if fresh_for > 0 else "stale"),
        age=round(max(now - record.words[0], 0) / 1000, 3),
        remaining=round(fresh_for, 3),
        size=record.size,
        uses=record.uses,
        vary=vary,
    )
