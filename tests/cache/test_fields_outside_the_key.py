"""Every request field that the upstream sees and the key does not hold is on the page of the cache."""

import re
from pathlib import Path

import pytest
from cache.looking import FRESH, is_hit, status_of
from cache.support import Fields, ask, caching

from fastgate.testing import RecordedRequest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "policies" / "cache.md"
HEADING = "## What the upstream sees and the key does not hold"
OTHERS = "all other fields"
"""What the page calls those that nobody has heard of."""

ANY = [
    "Accept", "Accept-Charset", "Accept-Datetime", "Accept-Encoding", "Accept-Language",
    "Access-Control-Request-Headers", "Access-Control-Request-Method", "Available-Dictionary", "Baggage",
    "Cache-Control", "CF-Connecting-IP", "Content-Encoding", "Content-Language", "Content-Type", "Cookie",
    "Cookie2", "DNT", "Date", "Depth", "Destination", "Device-Memory", "Digest", "Downlink", "ECT",
    "Early-Data", "Expect", "From", "Front-End-Https", "HTTP2-Settings", "If", "If-Modified-Since",
    "If-None-Match", "If-Range", "Last-Event-ID", "Max-Forwards", "Origin", "Overwrite", "Pragma", "Prefer",
    "Priority", "Proxy", "Proxy-Authorization", "Range", "Referer", "RTT", "Save-Data", "Sec-CH-UA",
    "Sec-CH-UA-Mobile", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-GPC", "TE", "Timeout",
    "Traceparent", "Tracestate", "True-Client-IP", "Upgrade-Insecure-Requests", "User-Agent", "Via",
    "Viewport-Width", "Want-Repr-Digest", "Width", "X-Anything", "X-ATT-DeviceId", "X-Api-Key",
    "X-Cluster-Client-IP", "X-Correlation-ID", "X-CSRF-Token", "X-Debug", "X-Forwarded", "X-Forwarded-Prefix",
    "X-Forwarded-Server", "X-Forwarded-Ssl", "X-Host", "X-HTTP-Method", "X-HTTP-Method-Override",
    "X-Method-Override", "X-Original-Host", "X-Original-URL", "X-Request-ID", "X-Requested-With",
    "X-Rewrite-URL", "X-UIDH", "X-Wap-Profile",
]  # fmt: skip
"""Fields of clients: registered ones, and those that servers, frameworks and proxies read."""

OF_PROXIES = {
    "Forwarded": ("for=10.0.0.1;proto=http", "for=10.0.0.2;proto=http"),
    "X-Forwarded-For": ("10.0.0.1", "10.0.0.2"),
    "X-Forwarded-Host": ("a.com", "b.com"),
    "X-Forwarded-Port": ("1", "2"),
    "X-Forwarded-Proto": ("http", "https"),
    "X-Real-IP": ("10.0.0.1", "10.0.0.2"),
}
"""Fields that count only if a trusted proxy sends them."""

VALUES = {
    "Authorization": ("Bearer one", "Bearer two"),
    "Host": ("a.com", "b.com"),
    "TE": ("trailers", "trailers, gzip"),
    "If-None-Match": ('"one"', '"two"'),
    "If-Range": ('"one"', '"two"'),
    "If-Modified-Since": ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"),
    "Date": ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"),
    "Range": ("bytes=0-1", "bytes=0-2"),
    "Cache-Control": ("max-age=1000", "max-age=2000"),
    "Cookie": ("a=1", "a=2"),
    "Content-Type": ("text/plain", "text/html"),
    "Content-Encoding": ("gzip", "br"),
    "Expect": ("100-continue", "100-Continue"),
    "Max-Forwards": ("1", "2"),
    **OF_PROXIES,
}

GATEWAY = {"trusted_proxies": ["127.0.0.1"], "forwarded": True, "via": True}


def on_the_page() -> set[str]:
    """The names in the first column of the table, in lower case."""
    _, found, rest = PAGE.read_text(encoding="utf-8").partition(HEADING)
    assert found, "the page has lost its section"
    section = rest.partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]
    names = {name.lower() for row in rows for name in re.findall(r"`([A-Za-z0-9-]+)`", row)}
    return names | ({"x-anything"} if OTHERS in rows else set())


def handler(request: RecordedRequest) -> tuple[int, Fields, bytes]:
    """Stored for all, whatever the request had."""
    return 200, {**FRESH, "Cache-Control": "public, max-age=60", "ETag": '"mine"'}, b"0123456789"


def shown(request: RecordedRequest, name: str) -> str:
    return "\n".join(request.fields.get_all(name))


async def is_outside(name: str, **trust: object) -> bool:
    """Whether two values of a field reach the upstream as different ones, and yet share one stored answer."""
    one, two = VALUES.get(name, ("one", "two"))
    async with caching(handler, gateway={**GATEWAY, **trust}) as (origin, gateway):
        answers = [await ask(gateway.port, f"/apart-{n}", fields={name: value}) for n, value in enumerate((one, two))]
        if not all("stored" in status_of(answer) for answer in answers):
            # Ranges, for instance: such requests pass by.
            return False
        if shown(origin.asked[0], name) == shown(origin.asked[1], name):
            return False
        await ask(gateway.port, "/same", fields={name: one})
        return is_hit(await ask(gateway.port, "/same", fields={name: two}))


async def test_the_page_lists_what_the_upstream_sees_and_the_key_does_not_hold() -> None:
    found = {name.lower() for name in [*ANY, *OF_PROXIES, "Authorization", "Host"] if await is_outside(name)}
    named = on_the_page()
    assert named - found == set(), "the page names what the upstream does not get, or what is in the key"
    # "All other fields" stands for those of clients without a row of their own.
    assert "x-anything" in named
    assert found - named <= {name.lower() for name in ANY}
    told = {name for name in found if name.startswith(("x-forwarded-", "x-original", "x-host", "front-end"))}
    assert told | {"x-real-ip", "forwarded", "authorization", "cookie", "x-request-id"} <= named


KEPT_AWAY = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL", "Proxy"]


@pytest.mark.parametrize("name", [*KEPT_AWAY, "Host", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port"])
async def test_what_chooses_a_resource_is_in_the_key_or_kept_away(name: str) -> None:
    assert not await is_outside(name)
