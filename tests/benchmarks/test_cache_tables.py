"""The lanes of the response cache: what they claim, and their tables."""

import json

import pytest

from benchmarks import render
from benchmarks.cache_driver import answer, answer_fields, configuration, names
from benchmarks.contest import AGAIN, BASE, Row, Turn, table
from benchmarks.lanes import cache as lane
from benchmarks.lanes.cache import OFF, Cost, claims, compared
from benchmarks.load import DOCUMENT, LARGE, Load, Origin, ask, cached_head
from benchmarks.machine import cores
from benchmarks.processes import Cpu
from benchmarks.proxies import Proxy
from tests.benchmarks.test_render import MACHINE

ONE = {"median": 1.0, "min": 0.5, "max": 2.0}


def row(label: str, cpu: float, forwarded: int = 0) -> Row:
    load = Load(1000, 1.0, 0, 0, 0, 0.5, {"p50": 100.0, "p99": 1400.0})
    return Row(label, "nginx-cache", [Turn(load, Cpu(cpu), Cpu(), forwarded, 0.0, cached=True)] * 2)


def test_an_answer_that_came_from_the_origin_is_no_hit():
    assert row("x", 0.01).turns[0].wrong(32) == 0
    assert row("x", 0.01, forwarded=3).turns[0].wrong(32) == 3


def test_nginx_is_compared_by_its_faster_setting():
    rows = [row(BASE, 0.02), row(AGAIN, 0.001), row(OFF, 0.01), row("fastgate", 0.005), row("haproxy", 0.005)]
    found = {each["peer"]: each for each in compared(rows, DOCUMENT)}
    assert found.keys() == {BASE, "haproxy"}
    assert (found[BASE]["label"], found[BASE]["ratio"]["median"], found[BASE]["most"]) == (OFF, 0.5, 0.65)
    assert found["haproxy"]["ratio"]["median"] == 1.0
    assert {each["peer"]: each["most"] for each in compared(rows, LARGE)} == {BASE: 1.1, "haproxy": 0.85}
    assert compared(rows[:3], DOCUMENT) == []


def test_what_is_claimed_of_instructions():
    pairs = [(kind, fields) for kind in ("hit", "fixed") for fields in (8, 80)]
    costs = {f"{kind} {fields}": Cost(100.0 * fields, 0.0, fields, {}) for kind, fields in pairs}
    costs |= {"miss 8": Cost(9000.0, 0.0, 0, {}), "uncached 8": Cost(2000.0, 0.0, 0, {})}
    costs |= {"other_route": Cost(5.0, 3.0, 0, {}), "cached_elsewhere": Cost(9.0, 3.0, 0, {})}
    assert [each["value"] for each in claims(costs)] == [0, 0, 72, 7000, 0]
    assert [each["most"] for each in claims(costs)] == [0, 0, 0, 6000, 0]


@pytest.mark.parametrize("count", [8, 80])
def test_the_answers_that_are_counted_have_so_many_fields(count):
    assert len(answer_fields(count)) == count - 1
    assert len(names(answer("hit", count))) == count
    # Without two that the gateway makes, with two that a hit adds.
    assert len(configuration("fixed", count).routes[0].respond.headers) == count


def test_the_table_of_hits():
    rows = table([row(BASE, 0.02), row(OFF, 0.01), row("fastgate", 0.005)], 32)
    functions = [{"function": "cached: a|b", "part": "cache", "instructions": 1234.0}]
    result = {
        "lane": "cache",
        "command": "python -m benchmarks cache",
        "machine": MACHINE,
        "cases": [
            {"size": size, "rows": rows, "compared": [{"peer": BASE, "label": OFF, "ratio": ONE, "most": most}]}
            for size, most in ((DOCUMENT, 0.65), (LARGE, None))
        ] + [{"size": DOCUMENT, "traced": True, "rows": rows, "compared": []}],
        "instructions": {
            "rows": [{"name": "hit 8", "instructions": 1111.1, "own": 900.0, "objects": 24.94}],
            "claims": [{"claim": "a miss", "value": 6543.21, "most": 6000}],
            "hit": {"functions": functions, "parts": [{"part": "cache", "instructions": 2345.0}]},
            "miss": {"functions": functions, "parts": [{"part": "cache", "instructions": 49.0}]},
        },
        "skipped": {},
    }
    text = render.markdown(json.loads(json.dumps(result)))
    assert "| contender | 110 B | 1 MB | 110 B, a new trace id each |" in text
    assert "| nginx, tcp_nopush off 1.22.1 | 10.0 (10.0–10.0) | 10.0 (10.0–10.0) | 10.0 (10.0–10.0) |" in text
    assert "| nginx | 1.00 (0.50–2.00), 0.65 | 1.00 (0.50–2.00) | – |" in text
    assert "| a hit, 8 stored fields | 1,111 | 900 | 24.9 |" in text
    assert "| cache | 2,345 |" in text
    assert "| cache | 49.0 |" not in text
    assert "| a miss | +6,543.2 | 6,000 |" in text
    assert text.count("| `cached: a/b` | cache | 1,234 |") == 2
    assert "18,000 answers, 0 wrong" in text
    assert render.wrong_answers(result) == 0
    assert "110 B 1.00 (0.50–2.00) × nginx; 1 MB" in render.summary({"cache": result})


def test_the_table_of_crowds():
    turned = {
        "label": "killed", "clients": 1999, "rounds": 3, "upstream_requests": 2, "most_upstream_requests": 2,
        "right": 1500, "cut": 499, "refused": 0, "wrong": 1, "wrong_bodies": 0, "origin_share": ONE,
        "first_byte_ms": ONE, "total_ms": None,
    }  # fmt: skip
    result = {
        "lane": "cache_crowd",
        "command": "python -m benchmarks cache_crowd",
        "machine": MACHINE,
        "settings": {"connections": 2000, "workers": 4, "pieces": 16, "seconds": 0.5},
        "rows": [turned],
        "lag": {"clients": 40, "p50_ms": ONE, "p99_ms": ONE},
        "no_store": {"clients": 2000, "ratio": ONE},
    }
    text = render.markdown(result)
    assert "| killed | 1,999 | 2 (2) | 1,500 | 499 | 0 | 0 | 100% (50%–200%) | 1.00 (0.50–2.00) | – |" in text
    assert render.wrong_answers(result) == 1
    assert "within 1.00 ms (p99)" in render.summary({"cache_crowd": result})


def test_the_table_of_slow_clients():
    one = {
        "label": "none", "p99_us": ONE, "p99_ratio": ONE, "requests": 1000, "wrong": 0, "stored": 9, "offered": 10,
        "closed": 7, "readers_cut": None, "anonymous": 1 << 26, "file_blocks": 1 << 27, "file_size": 1 << 28,
        "socket_memory": 1 << 30,
    }  # fmt: skip
    result = {
        "lane": "cache_slow",
        "command": "python -m benchmarks cache_slow",
        "machine": MACHINE,
        "settings": {"clients": 1000, "objects": 320, "body_bytes": 10240, "rate": 2000},
        "rows": [one, {**one, "label": "patient", "readers_cut": 3}],
    }
    text = render.markdown(result)
    assert "| none | 1.00 (0.50–2.00) | 1.00 (0.50–2.00) | 1,000 | 0 | 9 of 10 | 7 | – | 64.0 |" in text
    assert "| 64.0 | 128 (256) | 1,024 |" in text
    assert "| 7 | 3 | 64.0 |" in text
    assert "patient 1.00 (0.50–2.00)" in render.summary({"cache_slow": result})


@pytest.mark.needs("cc", "taskset")
def test_who_asks_the_origin_again_does_not_take_part():
    class Watched:
        """What the check uses of a contest."""

        def __init__(self, origin: Origin) -> None:
            self.origin = origin

    head = cached_head(lane.target(DOCUMENT))
    with Origin(cores()[1]) as origin:
        with Proxy("fastgate-cache", origin.port, None, head=head) as proxy:
            lane._must_hit(Watched(origin), proxy, head)
            before = origin.counts()["requests"]
            assert ask(proxy.port, head).body == ask(origin.port, head).body
            assert origin.counts()["requests"] == before + 1  # the one that was asked directly
        with Proxy("fastgate", origin.port, None, head=head) as proxy:
            with pytest.raises(lane.Unavailable, match="asked the origin for 2 of 2"):
                lane._must_hit(Watched(origin), proxy, head)
