"""From raw rounds to a row."""

import pytest

from benchmarks.arithmetic import microseconds, per_connection, ratios, saturated, spread
from benchmarks.contest import AGAIN, BASE, Row, Turn, table
from benchmarks.load import Load
from benchmarks.processes import Cpu


def turn(cpu: float, requests: int = 1000, *, wrong: int = 0, forwarded: int | None = None) -> Turn:
    load = Load(requests, 2.0, 0, 0, wrong, 0.5, {"p50": 100.0, "p99": 400.0}, {"status": wrong} if wrong else {})
    return Turn(load, Cpu(cpu / 4, cpu * 3 / 4), Cpu(0.25, 0.25), requests if forwarded is None else forwarded, 0.0)


def test_spread():
    assert spread([3.0, 1.0, 2.0, 10.0]) == {"median": 2.5, "min": 1.0, "max": 10.0}


def test_ratios_are_taken_round_by_round():
    # The second round was twice as slow for both: the ratio does not move.
    assert ratios([12.0, 24.0, 11.0], [10.0, 20.0, 10.0]) == {"median": 1.2, "min": 1.1, "max": 1.2}


def test_ratios_of_different_runs_are_refused():
    with pytest.raises(ValueError, match="not from the same run"):
        ratios([1.0], [1.0, 2.0])


def test_microseconds_a_request():
    assert microseconds(0.018, 1000) == pytest.approx(18.0)


@pytest.mark.parametrize(
    ("proxy", "load", "side"),
    [(0.99, 0.6, "proxy"), (0.5, 0.97, "load"), (0.96, 0.96, "both"), (0.8, 0.94, "neither")],
)
def test_the_full_side_is_named(proxy, load, side):
    assert saturated(proxy, load) == side


def test_memory_of_a_connection():
    assert per_connection(1_000_000, 3_000_000, 1000) == 2000


def test_a_turn_knows_how_busy_both_sides_were():
    seen = turn(1.0)
    assert seen.proxy_busy == pytest.approx(0.5)
    assert seen.load_busy == pytest.approx(0.5)  # half a second of the generator and half of the origin in two


@pytest.mark.parametrize(
    ("forwarded", "wrong"),
    [(1000, 0), (1033, 0), (1034, 34), (999, 1), (0, 1000)],
    ids=["each once", "unfinished and probe", "too many", "one answered by the proxy", "all answered by the proxy"],
)
def test_requests_that_never_reached_the_origin_are_wrong(forwarded, wrong):
    assert turn(1.0, forwarded=forwarded).wrong(32) == wrong


def test_a_row_against_its_base():
    base = Row(BASE, "nginx", [turn(0.020), turn(0.010)])
    again = Row(AGAIN, "nginx", [turn(0.021), turn(0.009)])
    ours = Row("fastgate", "fastgate", [turn(0.024), turn(0.012, wrong=3)])
    entries = {entry["label"]: entry for entry in table([base, again, ours], 32)}
    assert entries["fastgate"]["cpu_us"] == pytest.approx({"median": 18.0, "min": 12.0, "max": 24.0})
    assert entries["fastgate"]["cpu_ratio"] == pytest.approx({"median": 1.2, "min": 1.2, "max": 1.2})
    assert entries["fastgate"]["user_us"]["median"] == pytest.approx(4.5)
    assert entries["fastgate"]["wrong"] == 3
    assert entries["fastgate"]["errors"] == {"status": 3}
    assert entries[AGAIN]["cpu_ratio"] == pytest.approx({"median": 0.975, "min": 0.9, "max": 1.05})
    assert entries[BASE]["cpu_ratio"] == {"median": 1.0, "min": 1.0, "max": 1.0}


def test_without_the_base_there_is_no_ratio():
    (entry,) = table([Row("caddy", "caddy", [turn(0.1)])], 32)
    assert "cpu_ratio" not in entry
