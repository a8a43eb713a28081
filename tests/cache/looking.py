"""What the tests of the cache's behaviour read from answers, and origins that answer in a few usual ways."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from cache.support import Fields, Handler

from fastgate.testing import RecordedRequest, RecordedResponse

FRESH = {"Cache-Control": "max-age=60"}
ETAG = '"v1"'
MODIFIED = "Sun, 06 Nov 1994 08:49:37 GMT"
MEMBER = re.compile(
    r"fastgate(?:; hit|; fwd=[a-z-]+(?:; fwd-status=\d{3})?)(?:; ttl=-?\d+)?(?:; stored)?(?:; collapsed)?"
    r"(?:; detail=[a-z-]+)?"
)


def date(offset: float = 0) -> str:
    """An HTTP date, so many seconds from now."""
    return formatdate(time.time() + offset, usegmt=True)


def answering(status: int = 200, fields: Fields | None = None, body: bytes | None = None) -> Handler:
    """Always the same answer; without ``body`` the n-th one has the body ``answer n``."""
    count = 0

    def handler(_: RecordedRequest) -> tuple[int, Fields, bytes]:
        nonlocal count
        count += 1
        return status, fields or {}, b"answer %d" % count if body is None else body

    return handler


def validating(fields: Fields, body: bytes = b"whole", changed: Fields | None = None) -> Handler:
    """200 with these fields; 304 with ``changed`` where the request has the ETag or Last-Modified of ``fields``."""

    def handler(request: RecordedRequest) -> tuple[int, Fields, bytes]:
        tag, since = request.fields.get("if-none-match"), request.fields.get("if-modified-since")
        if (tag is not None and tag == fields.get("ETag")) or (tag is None and since is not None):
            return 304, changed if changed is not None else {}, b""
        return 200, fields, body

    return handler


def status_of(response: RecordedResponse) -> dict[str, Any]:
    """The member of this gateway in Cache-Status, which is the last one, and well formed."""
    lines = response.fields.get_all("cache-status")
    assert lines, f"no Cache-Status in {response.head!r}"
    assert MEMBER.fullmatch(lines[-1]), lines[-1]
    said: dict[str, Any] = {}
    for part in lines[-1].split("; ")[1:]:
        name, equal, value = part.partition("=")
        said[name] = int(value) if name in ("ttl", "fwd-status") else value if equal else True
    return said


def is_hit(response: RecordedResponse) -> bool:
    return "hit" in status_of(response)


def age_of(response: RecordedResponse) -> int:
    value = response.fields["age"]
    assert value.isdigit(), value
    return int(value)


def near(value: int, wanted: int, late: int = 5) -> bool:
    """A time that has gone on for a few seconds at most."""
    return wanted - late <= value <= wanted


@dataclass
class Row:
    """An answer, a route and a request, and whether the same request is answered from the store afterwards."""

    stored: bool
    fields: Mapping[str, str] = field(default_factory=lambda: FRESH)
    status: int = 200
    cache: Mapping[str, Any] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"some body"
