"""What is stored, for whom, how long it is fresh and how it is used, compared with a plain reading of RFC 9111."""

import random
from datetime import timedelta
from typing import Any

import pytest
from core import reference_cache
from core import reference_freshness as reference
from core.cache_heads import HEADS, answer_head, request_head, seeded
from core.reference_cache import Fields
from core.reference_freshness import Answered, Asked, Rules

from fastgate._core.delivery.cache.rules import CacheRules
from fastgate._core.probes import cache_rules

WALL = 1_793_000_000
DATE = b"Mon, 26 Oct 2026 07:33:20 GMT"
LENGTH = (b"Content-Length", b"5")

# -- generated


def http_date(seconds: int) -> bytes:
    moment = reference_cache.EPOCH + timedelta(seconds=seconds)
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT").encode()


def near(draw: random.Random) -> int:
    return draw.choice([0, 1, 5, 59, 60, 61, 100, 3600, draw.randrange(200_000)])


def drawn_rules(draw: random.Random) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    if draw.random() < 0.4:
        rules["ttl"] = draw.choice([60, 0.5, 0, {"200": 60, "404": 5, "5xx": 1}, {"2xx": 9, "200": 0}, {"4xx": 30}])
    if draw.random() < 0.3:
        rules["heuristic"] = draw.choice([0.1, 0.5, 1, 0.003])
    if draw.random() < 0.3:
        rules["honor"] = draw.choice([True, "response", False])
    if draw.random() < 0.3:
        rules["set_cookie"] = draw.choice(["bypass", "strip", "store"])
    if draw.random() < 0.4:
        rules["key"] = draw.choice([["identity"], ["cookie:s"], ["header:Cookie"], ["header:X-A", "cookie:t"]])
    for name in ("private", "shared"):
        rules[name] = draw.random() < 0.2
    if draw.random() < 0.1:
        rules["bypass"] = draw.choice([["cookie:s"], ["header:X-Preview"]])
    if draw.random() < 0.2:
        rules["vary_except"] = ["Origin"]
    if draw.random() < 0.2:
        rules["methods"] = draw.choice([["GET"], ["GET", "HEAD", "POST"], ["QUERY"]])
    if draw.random() < 0.2:
        rules["targeted"] = draw.choice([[], ["CDN-Cache-Control"], ["X-CC", "Fastgate-Cache-Control"]])
    for name in ("stale_while_revalidate", "stale_if_error"):
        rules[name] = draw.choice([0, 0, 30, 0.25])
    return rules


def drawn_request(draw: random.Random) -> Asked:
    fields: list[tuple[bytes, bytes]] = []
    if draw.random() < 0.3:
        said = [b"max-age=%d" % near(draw), b"min-fresh=%d" % near(draw), b"max-stale", b"max-stale=%d" % near(draw)]
        said += [b"no-cache", b"no-store", b"only-if-cached", b"stale-if-error=60", b"max-age=x", b"max-stale=x"]
        fields.append((b"Cache-Control", b", ".join(draw.choices(said, k=draw.randint(1, 2)))))
    if draw.random() < 0.1:
        fields.append((b"Pragma", b"no-cache"))
    if draw.random() < 0.2:
        fields.append((b"Authorization", b"Bearer a"))
    if draw.random() < 0.3:
        fields.append((b"Cookie", draw.choice([b"s=1", b"a=s=; t=2", b"s", b"x=1;s=2", b""])))
    if draw.random() < 0.1:
        fields.append((b"X-Preview", b""))
    method = draw.choice(["GET"] * 9 + ["HEAD", "POST", "QUERY", "get"])
    return Asked(fields, method, identity=draw.random() < 0.3, forwarded=draw.random() < 0.5)


def drawn_answer(draw: random.Random) -> Answered:
    now = WALL
    fields: list[tuple[bytes, bytes]] = []
    status = draw.choice([200] * 8 + [203, 204, 206, 301, 302, 304, 307, 404, 418, 429, 500, 503, 511, 299, 451])
    if draw.random() < 0.6:
        said = [b"max-age=%d" % near(draw), b"s-maxage=%d" % near(draw), b"public", b"private", b'private="x"']
        said += [b"no-store", b"no-cache", b'no-cache="x"', b"must-revalidate", b"proxy-revalidate", b"must-understand"]
        said += [b"stale-while-revalidate=%d" % near(draw), b"stale-if-error=%d" % near(draw), b"max-age=x"]
        line = b", ".join(draw.choices(said, k=draw.randint(1, 3)))
        fields.append((draw.choice([b"Cache-Control"] * 5 + [b"Fastgate-Cache-Control", b"CDN-Cache-Control"]), line))
    if draw.random() < 0.8:
        fields.append((b"Date", draw.choice([http_date(now - near(draw)), http_date(now + near(draw)), b"now"])))
    dates = [http_date(now + near(draw)), http_date(now - near(draw)), b"0"]
    fields += [(b"Expires", date) for date in draw.choices(dates, k=draw.choice([0, 0, 1, 1, 2]))]
    if draw.random() < 0.5:
        fields.append((b"Last-Modified", draw.choice([http_date(now - 40 * near(draw)), http_date(now + 9), b"x"])))
    if draw.random() < 0.3:
        fields.append((b"Age", draw.choice([b"0", b"7", b"%d, 3" % near(draw), b"x", b"1.5", b"9999999999"])))
    if draw.random() < 0.1:
        fields.append((b"Set-Cookie", b"a=b"))
    if draw.random() < 0.1:
        fields.append(
            (b"Content-Type", draw.choice([b"text/Event-Stream ; x", b"multipart/x-mixed-replace;b", b"a/b"]))
        )
    if draw.random() < 0.2:
        fields.append((b"Vary", draw.choice([b"Accept, Origin", b"*", b"a, *", b"a b", b"", b", ,x", VARY_LONG])))
    chunked = draw.random() < 0.2
    if not chunked and draw.random() < 0.95:
        fields.append((b"Content-Length", draw.choice([b"5", b"5", b"1048576", b"1048577"])))
    if chunked:
        fields.append((b"Transfer-Encoding", b"chunked"))
    draw.shuffle(fields)
    asked = draw.randrange(10**9)
    return Answered(status, fields, chunked, now, asked, asked + draw.choice([0, 1, 999, 1000, 61_000]))


VARY_LONG = b", ".join(b"x-%d" % i for i in range(17))


def judged_by_both(rules: dict[str, Any], asked: Asked, answer: Answered) -> tuple[dict[str, Any], reference.Judged]:
    found = cache_rules.judge(
        CacheRules(**rules),
        request_head(asked.fields, asked.method.encode()),
        answer_head(answer.fields, answer.status),
        identity=asked.identity,
        forwarded=asked.forwarded,
        wall=answer.wall,
        asked=answer.asked,
        received=answer.received,
    )
    return found, reference.judge(Rules(**rules), asked, answer)


def test_generated_answers_are_judged_as_by_the_reference() -> None:
    draw = seeded()
    seen: dict[str, set[object]] = {}
    for _ in range(HEADS):
        rules, asked, answer = drawn_rules(draw), drawn_request(draw), drawn_answer(draw)
        found, expected = judged_by_both(rules, asked, answer)
        assert found == vars(expected), (rules, asked, answer)
        for name in ("obstacle", "audience", "rule"):
            seen.setdefault(name, set()).add(found[name])
    assert {name: len(values) for name, values in seen.items()} == {"obstacle": 15, "audience": 3, "rule": 6}


def test_stored_answers_are_used_as_by_the_reference() -> None:
    draw = seeded()
    uses = set()
    for _ in range(HEADS):
        rules, answer = drawn_rules(draw), drawn_answer(draw)
        found, stored = judged_by_both(rules, Asked(), answer)
        later = drawn_request(draw)
        moments = [stored.born, stored.fresh_until, stored.swr_until, stored.sie_until]
        now = draw.choice(moments) + draw.choice([-1, 0, 1, 999, 1000, 30_000, near(draw) * 1000])
        said = later.said
        use, failed, only, age = cache_rules.use(CacheRules(**rules), found, request_head(later.fields), now)
        case = (rules, answer, later, now)
        assert use == reference.use(Rules(**rules), stored, said, now), case
        assert failed == reference.after_failure(Rules(**rules), stored, said, now), case
        assert only == (rules.get("honor", True) is True and "only-if-cached" in said), case
        assert age == min(max(0, now - stored.born) // 1000, 2**31), case
        uses.add(use)
    assert len(uses) == 6


# -- by hand


def judged(
    *fields: tuple[bytes, bytes], status: int = 200, asked: Fields = (), method: str = "GET", **options: Any
) -> dict[str, Any]:
    """Stored, for whom, and the lifetime in seconds with its rule."""
    facts = {name: options.pop(name) for name in ("identity", "forwarded") if name in options}
    head = answer_head([LENGTH, (b"Date", DATE), *fields], status)
    return cache_rules.judge(
        CacheRules(**options), request_head(asked, method.encode()), head, wall=WALL, received=1000, **facts
    )


def cached(said: bytes, **options: Any) -> dict[str, Any]:
    return judged((b"Cache-Control", said), **options)


@pytest.mark.parametrize(("fields", "options", "rule", "seconds"), [
    ([(b"Cache-Control", b"s-maxage=1, max-age=2")], {}, "s-maxage", 1),
    ([(b"Cache-Control", b"max-age=2"), (b"Expires", DATE)], {}, "max-age", 2),
    ([(b"Cache-Control", b"max-age=x"), (b"Expires", b"Mon, 26 Oct 2026 07:33:29 GMT")], {}, "max-age", 0),
    ([(b"Expires", b"Mon, 26 Oct 2026 07:33:29 GMT")], {"ttl": 60}, "expires", 9),
    ([(b"Expires", b"0")], {"ttl": 60}, "expires", 0),
    ([(b"Expires", b"Mon, 26 Oct 2026 07:33:29 UTC")], {}, "expires", 0),
    ([], {"ttl": 60}, "ttl", 60),
    ([], {"ttl": {"200": 7, "2xx": 8}}, "ttl", 7),
    ([(b"Last-Modified", b"Mon, 26 Oct 2026 07:31:40 GMT")], {"heuristic": 0.1}, "heuristic", 10),
    ([(b"Last-Modified", b"Mon, 26 Oct 1998 07:31:40 GMT")], {"heuristic": 0.1}, "heuristic", 86400),
    ([(b"Last-Modified", b"Mon, 26 Oct 2026 07:31:40 GMT")], {}, None, 0),
    ([(b"Fastgate-Cache-Control", b"max-age=3"), (b"Cache-Control", b"s-maxage=9")], {}, "max-age", 3),
    ([(b"Fastgate-Cache-Control", b"public"), (b"Expires", b"0")], {"ttl": 60}, "ttl", 60),
    ([(b"Cache-Control", b"max-age=1")], {"honor": False, "ttl": 60}, "ttl", 60),
])  # fmt: skip
def test_the_first_rule_that_applies_gives_the_lifetime(
    fields: Fields, options: dict[str, Any], rule: str | None, seconds: int
) -> None:
    found = judged(*fields, **options)
    assert (found["rule"], found["lifetime"]) == (rule, seconds * 1000)


@pytest.mark.parametrize(("said", "options", "audience", "obstacle"), [
    (b"max-age=9", {}, "all", None),
    (b"no-store", {}, None, "no-store"),
    (b"no-store, must-understand, max-age=9", {}, "all", None),
    (b"must-understand, max-age=9", {"status": 299}, None, "status"),
    (b"max-age=9", {"status": 299}, "all", None),
    (b"max-age=9", {"status": 206}, None, "status"),
    (b"max-age=9", {"status": 429}, None, "status"),
    (b"", {"status": 302}, None, "lifetime"),
    (b"public", {"status": 302}, "all", None),
    (b"max-age=9", {"method": "get"}, None, "method"),
    (b"max-age=9", {"method": "POST", "methods": ["GET", "POST"]}, "all", None),
    (b"private, max-age=9", {}, None, "private"),
    (b"private, max-age=9", {"private": True}, None, "private"),
    (b"private, max-age=9", {"private": True, "identity": True}, "identity", None),
    (b"private, max-age=9", {"key": ["identity"], "identity": True}, None, "private"),
    (b"max-age=9", {"identity": True}, None, "credential"),
    (b"max-age=9, public", {"identity": True}, "all", None),
    (b"s-maxage=9", {"identity": True}, "all", None),
    (b"max-age=9, must-revalidate", {"identity": True}, "all", None),
    (b"max-age=9, proxy-revalidate", {"identity": True}, None, "credential"),
    (b"max-age=9", {"identity": True, "key": ["identity"]}, "identity", None),
    (b"max-age=9", {"identity": True, "shared": True}, "all", None),
    (b"max-age=9", {"identity": True, "shared": True, "forwarded": True}, None, "credential"),
    (b"max-age=9", {"asked": [(b"Authorization", b"x")], "forwarded": True}, None, "credential"),
    (b"max-age=9", {"asked": [(b"Cookie", b"a=b")]}, "all", None),
    (b"", {"asked": [(b"Cookie", b"a=b")], "ttl": 60}, None, "cookie"),
    (b"public", {"asked": [(b"Cookie", b"a=b")], "ttl": 60}, "all", None),
    (b"", {"asked": [(b"Cookie", b"a=b")], "ttl": 60, "key": ["cookie:a"]}, "all", None),
    (b"max-age=9", {"asked": [(b"Cookie", b"a=b")], "bypass": ["cookie:a"]}, None, "bypass"),
    (b"max-age=9", {"asked": [(b"Cookie", b"c; a =b")], "bypass": ["cookie:a"]}, None, "bypass"),
    (b"max-age=9", {"asked": [(b"Cache-Control", b"no-store")]}, None, "request"),
    (b"max-age=9", {"asked": [(b"Cache-Control", b"no-store")], "honor": "response"}, "all", None),
    (b"private", {"honor": False, "ttl": 60}, None, "private"),
])  # fmt: skip
def test_for_whom_an_answer_is_stored(
    said: bytes, options: dict[str, Any], audience: str | None, obstacle: str | None
) -> None:
    found = cached(said, **options)
    assert (found["audience"], found["obstacle"]) == (audience, obstacle)


@pytest.mark.parametrize(("method", "methods", "kind"), [
    ("GET", ["GET", "HEAD"], "answered"), ("HEAD", ["GET", "HEAD"], "head"), ("HEAD", ["GET"], "passes by"),
    ("GET", ["QUERY"], "passes by"), ("get", ["GET"], "invalidates"), ("OPTIONS", ["GET"], "passes by"),
    ("TRACE", ["GET"], "passes by"), ("QUERY", ["GET"], "passes by"), ("QUERY", ["QUERY"], "body"),
    ("POST", ["GET"], "invalidates"), ("POST", ["GET", "POST"], "body"), ("PUT", ["GET"], "invalidates"),
    ("DELETE", ["GET", "POST"], "invalidates"), ("BREW", ["GET"], "invalidates"),
])  # fmt: skip
def test_what_a_method_is_for_the_cache(method: str, methods: list[str], kind: str) -> None:
    kinds = ["answered", "head", "body", "passes by", "invalidates"]
    found = cache_rules.method_kind(CacheRules(methods=methods), request_head([], method.encode()))
    assert kinds[found] == kind


def test_neither_ttl_nor_heuristics_touch_the_answer_to_a_credential() -> None:
    assert cached(b"must-revalidate", identity=True, ttl=60)["rule"] is None
    assert cached(b"must-revalidate, public", identity=True, ttl=60)["rule"] == "ttl"
    assert cached(b"", identity=True, ttl=60, shared=True)["rule"] == "ttl"


def used(said: bytes, now: int, request: bytes = b"", **options: Any) -> str:
    """How an answer that came at 0 is used so many seconds later."""
    rules = CacheRules(**options)
    head = answer_head([LENGTH, (b"Date", DATE), (b"Cache-Control", said)])
    found = cache_rules.judge(rules, request_head([]), head, wall=WALL)
    asked = [(b"Cache-Control", request)] if request else []
    return cache_rules.use(rules, found, request_head(asked), now * 1000)[0]


@pytest.mark.parametrize(("said", "now", "request_said", "options", "use"), [
    (b"max-age=9", 8, b"", {}, "fresh"),
    (b"max-age=9", 9, b"", {}, "validate: stale"),
    (b"max-age=9, no-cache", 0, b"", {}, "validate: no-cache"),
    (b'max-age=9, no-cache="x"', 8, b"", {}, "fresh"),
    (b"max-age=9", 5, b"no-cache", {}, "validate: request"),
    (b"max-age=9", 5, b"no-cache", {"honor": "response"}, "fresh"),
    (b"max-age=9", 5, b"max-age=4", {}, "validate: request"),
    (b"max-age=9", 5, b"min-fresh=4", {}, "fresh"),
    (b"max-age=9", 5, b"min-fresh=5", {}, "validate: request"),
    (b"max-age=9", 12, b"max-stale=3", {}, "stale"),
    (b"max-age=9", 13, b"max-stale=3", {}, "validate: stale"),
    (b"max-age=9", 99, b"max-stale", {}, "stale"),
    (b"max-age=9, must-revalidate", 12, b"max-stale", {}, "validate: stale"),
    (b"max-age=9, proxy-revalidate", 12, b"max-stale", {}, "validate: stale"),
    (b"s-maxage=9", 12, b"max-stale", {}, "validate: stale"),
    (b"max-age=9, stale-while-revalidate=3", 11, b"", {}, "while revalidating"),
    (b"max-age=9, stale-while-revalidate=3", 12, b"", {}, "validate: stale"),
    (b"s-maxage=9, stale-while-revalidate=3", 11, b"", {}, "while revalidating"),
    (b"s-maxage=9", 11, b"", {"stale_while_revalidate": 30}, "validate: stale"),
    (b"max-age=9", 11, b"", {"stale_while_revalidate": 30}, "while revalidating"),
    (b"max-age=9, stale-while-revalidate=3, must-revalidate", 11, b"", {}, "validate: stale"),
    (b"max-age=9, stale-while-revalidate=30", 11, b"max-age=20", {}, "validate: stale"),
    (b"max-age=9, stale-while-revalidate=30", 11, b"max-stale=1", {}, "validate: stale"),
    (b"s-maxage=9, stale-while-revalidate=30", 11, b"max-age=20, max-stale=5", {}, "while revalidating"),
])  # fmt: skip
def test_how_a_stored_answer_is_used(
    said: bytes, now: int, request_said: bytes, options: dict[str, Any], use: str
) -> None:
    assert used(said, now, request_said, **options) == use


def test_age_counts_from_when_the_request_was_sent() -> None:
    head = answer_head([LENGTH, (b"Date", DATE), (b"Age", b"7, 9"), (b"Cache-Control", b"max-age=60")])
    found = cache_rules.judge(CacheRules(), request_head([]), head, wall=WALL, asked=10_000, received=12_500)
    assert found["born"] == 12_500 - 7_000 - 2_500
    assert cache_rules.use(CacheRules(), found, request_head([]), 13_000)[3] == 10


def test_the_age_of_a_304_counts_for_what_it_has_updated() -> None:
    head = answer_head([LENGTH, (b"Date", DATE), (b"Cache-Control", b"max-age=60")])
    update = answer_head([(b"Age", b"8")], 304)
    found = cache_rules.judge(CacheRules(), request_head([]), head, wall=WALL, asked=10, received=10, update=update)
    assert (found["born"], found["audience"]) == (10 - 8000, "all")


def test_a_date_in_the_future_makes_nothing_younger() -> None:
    head = answer_head([LENGTH, (b"Date", http_date(WALL + 500)), (b"Age", b"5")])
    assert cache_rules.judge(CacheRules(), request_head([]), head, wall=WALL, asked=9000, received=9000)["born"] == 4000


@pytest.mark.parametrize(("options", "message"), [
    ({"methods": ["PUT"]}, "methods"), ({"methods": ["HEAD"]}, "methods"), ({"key": ["ip"]}, "key"),
    ({"key": ["cookie:"]}, "key"), ({"key": ["identity:x"]}, "key"), ({"key": ["header:a b"]}, "key"),
    ({"bypass": ["client_ip"]}, "bypass"), ({"vary_except": ["Cookie"]}, "vary_except"),
    ({"vary_except": ["accept-Encoding"]}, "vary_except"), ({"targeted": ["Cache-Control"]}, "targeted"),
    ({"ttl": {"600": 1}}, "ttl"), ({"ttl": {"206": 1}}, "ttl"), ({"ttl": -1}, "ttl"), ({"honor": "no"}, "honor"),
    ({"heuristic": 2}, "heuristic"), ({"set_cookie": True}, "set_cookie"), ({"query": {"onyl": []}}, "query"),
    ({"query": {"only": [], "except": []}}, "query"), ({"stale_if_error": 2**32}, "stale_if_error"),
])  # fmt: skip
def test_rules_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}: "):
        CacheRules(**options)
