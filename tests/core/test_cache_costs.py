"""The rules make no Python object for a request that is answered from the store, however many fields it has."""

import pytest
from core.cache_heads import answer_head, request_head

from fastgate._core.delivery.cache.rules import CacheRules
from fastgate._core.probes import cache_costs

ASKED = [
    (b"Accept-Encoding", b"gzip, deflate, br"),
    (b"Accept-Language", b"de, en;q=0.9"),
    (b"Cookie", b"a=1; session=abcdef"),
    (b"Cache-Control", b"max-stale=5"),
    (b"If-None-Match", b'"x", "y"'),
    (b"Range", b"bytes=0-3"),
]
STORED = [(b"ETag", b'"a"'), (b"Last-Modified", b"Sun, 06 Nov 1994 08:49:37 GMT"), (b"Cache-Control", b"max-age=60")]


@pytest.mark.parametrize("fields", [8, 80])
def test_a_hit_makes_no_object(fields: int) -> None:
    more = [(b"X-%d" % i, b"value %d" % i) for i in range(fields)]
    query = {"except": ["utm_*"], "sort": True}
    rules = CacheRules(key=["cookie:session", "header:X-1"], query=query, bypass=["cookie:b"])
    _, objects = cache_costs.hit(
        rules,
        request_head([*more, *ASKED], target=b"/some/path"),
        answer_head([*STORED, *more]),
        b"accept-encoding,accept-language",
        b"b=2&utm_source=x&a=1",
        1000,
    )
    # The loop itself makes a few at its ends, none each time.
    assert objects < 10
