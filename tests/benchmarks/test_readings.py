"""What is read from the kernel and from the load generators."""

import json
import os

import pytest

from benchmarks.load import ORDINARY_FIELDS, parse_load, parse_wrk, request_head
from benchmarks.machine import parse_busy
from benchmarks.processes import TICK, Cpu, Memory, family, parse_rollup, parse_stat, socket_memory


def test_processor_time_of_a_process_with_a_strange_name():
    text = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 200 0 0 150 250 7 8 20 0 1 0 5 0 0"
    assert parse_stat(text) == Cpu(150 * TICK, 250 * TICK)
    assert (parse_stat(text) - Cpu(TICK, TICK)).total == pytest.approx(398 * TICK)


def test_a_process_is_of_its_own_family():
    assert family(os.getpid())[0] == os.getpid()


def test_memory_from_smaps_rollup():
    text = "55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:     30000 kB\nPss:     20000 kB\nAnonymous: 7 kB\n"
    assert parse_rollup(text) == Memory(30000 * 1024, 20000 * 1024, 7 * 1024)


def test_memory_of_sockets():
    text = "sockets: used 89\nTCP: inuse 47 orphan 0 tw 13338 alloc 47 mem 415\nUDP: inuse 0 mem 9\n"
    assert socket_memory(text) == 415 * os.sysconf("SC_PAGE_SIZE")


def test_busy_time_of_a_core_leaves_out_idle_and_waiting():
    # user nice system idle iowait irq softirq steal guest guest_nice
    text = "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 9 9 9 9 9 9 9 9 0 0\ncpu1 100 2 30 5000 60 7 8 9 50 0\n"
    assert parse_busy(text, 1) == pytest.approx((100 + 2 + 30 + 7 + 8 + 9) * TICK)
    with pytest.raises(ValueError, match="core 2"):
        parse_busy(text, 2)


def wrk_output(size: int, status: int = 0) -> str:
    return f"Running 2s test\n  3 requests\nRESULT 1000 2000000 {size} 0 0 0 {status} 0 150.0 120.0 200.0 400.0 900.0\n"


def test_wrk():
    load = parse_wrk(wrk_output(300_000 + 2 * 300), 300, 32)
    assert (load.requests, load.seconds, load.rate, load.wrong) == (1000, 2.0, 500.0, 0)
    assert load.latency["p99"] == 400.0


def test_wrk_counts_statuses():
    assert parse_wrk(wrk_output(300_000, status=7), 300, 32).errors == {"status": 7}


@pytest.mark.parametrize("size", [299_000, 300_000 + 33 * 300])
def test_responses_of_another_length_are_wrong(size):
    load = parse_wrk(wrk_output(size), 300, 32)
    assert load.wrong > 0
    assert set(load.errors) == {"length"}


def test_wrk_that_died():
    with pytest.raises(ValueError, match="no result"):
        parse_wrk("unable to connect\n", 300, 32)


def test_our_load_generator():
    text = json.dumps(
        {
            "requests": 10,
            "seconds": 2.0,
            "bytes_in": 1820,
            "bytes_out": 500,
            "connections_opened": 2,
            "errors": {"status": 1, "length": 0, "cut": 2},
            "latency_us": {"p50": 1.0, "p99": 2.0},
            "cpu_seconds": 0.1,
        }
    )
    load = parse_load(text)
    assert load.wrong == 3
    assert load.errors == {"status": 1, "cut": 2}
    assert load.rate == 5.0


def test_a_request_has_ten_ordinary_fields():
    head = request_head()
    assert len(ORDINARY_FIELDS) == 10
    assert head.count(b"\r\n") == 12
    assert head.startswith(b"GET /api/users/4711 HTTP/1.1\r\nHost: ")
    assert b"\r\nContent-Length: 5\r\n" in request_head("POST", content_length="5")
