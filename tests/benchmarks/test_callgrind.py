"""Profiles: what is counted where, and which part it belongs to."""

import pytest

from benchmarks.callgrind import Place, Profile, parse, part_of, readable

PROFILE = """\
version: 1
creator: callgrind-3.19.0
positions: line
events: Ir
summary: 1000

ob=(1) /usr/lib/head.cpython-311-x86_64-linux-gnu.so
fl=(1) head.c
fn=(1) __pyx_f_8fastgate_5_core_8exchange_4head_4Head_scan
10 100
+2 50
fi=(2) inlined.h
7 25
fe=(1)
cob=(2) /usr/lib/libc.so.6
cfi=(3) string.c
cfn=(2) memcpy
calls=4 1
* 4000
12 5

ob=(2)
fl=(3)
fn=(2)
1 400
-1 20

ob=(1)
fl=(1)
fn=(3) other
5 1
"""


def test_every_instruction_is_counted_where_it_was_executed():
    scan = Place("head", "__pyx_f_8fastgate_5_core_8exchange_4head_4Head_scan")
    profile = parse(PROFILE.splitlines(keepends=True))
    assert profile == {scan: 180, Place("libc.so.6", "memcpy"): 420, Place("head", "other"): 1}
    assert profile.total == 601
    assert profile.calls == {Place("libc.so.6", "memcpy"): 4}


def test_the_difference_of_two_runs():
    start_up, copy, scan = Place("a", "start"), Place("b", "copy"), Place("c", "scan")
    short = Profile({start_up: 1000, copy: 10})
    long = Profile({start_up: 1000, copy: 50, scan: 7})
    assert long.minus(short) == {copy: 40, scan: 7}


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("__pyx_f_8fastgate_5_core_8exchange_4head_4Head_scan", "head.Head.scan"),
        ("__pyx_f_8fastgate_5_core_8exchange_4head_name_id", "head.name_id"),
        (
            "__pyx_pw_8fastgate_5_core_4wire_2h1_6client_16ClientConnection_9data_received",
            "client.ClientConnection.data_received",
        ),
        ("__pyx_f_8fastgate_5_core_4wire_2h1_6client_10put_fields.isra.0", "client.put_fields"),
        ("_PyEval_EvalFrameDefault'2", "_PyEval_EvalFrameDefault"),
        ("llhttp__internal__run", "llhttp__internal__run"),
    ],
)
def test_symbols_become_readable(symbol, name):
    assert readable(symbol) == name


@pytest.mark.parametrize(
    ("place", "part"),
    [
        (Place("head", "__pyx_f_8fastgate_5_core_8exchange_4head_4Head_scan"), "head: scan"),
        (Place("head", "__pyx_f_8fastgate_5_core_8exchange_4head_4Head_index"), "head: index"),
        (Place("parser", "llhttp__internal__run"), "httptools"),
        (Place("upstream", "__pyx_f_8fastgate_5_core_4wire_2h1_8upstream_4Pool_acquire"), "pool"),
        (
            Place("forwarding", "__pyx_f_8fastgate_5_core_4wire_2h1_10forwarding_put_request"),
            "assembling the request",
        ),
        (Place("libpython3.11.so.1.0", "_PyEval_EvalFrameDefault'2"), "the driver's own loop"),
        (Place("python3.11", "_PyObject_Malloc"), "Python objects (make, call, free)"),
        (Place("libc.so.6", "__memchr_avx2"), "C library (copy, compare, allocate)"),
        (Place("unknown.so", "x"), "other: unknown"),
    ],
)
def test_places_belong_to_parts(place, part):
    assert part_of(place) == part
