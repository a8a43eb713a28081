"""Flights between processes: one leads, none sleeps for ever, also when leaders are killed."""

import time

import pytest
from core.flight_workers import CUT, DOUBLE, LED, LOST, OVER, READY, ROUND, SLEPT, crowd

from fastgate._core.probes import flight_probe as probe


@pytest.mark.parametrize("kills", [0, 8], ids=["all live", "leaders are killed"])
def test_one_leads_and_all_that_sleep_are_woken(kills: int) -> None:
    """Four processes. Each gives the processor away between its last look and the bit that says that it sleeps."""
    rounds = 400
    with crowd(4) as made:
        killed = 0
        deadline = time.monotonic() + 100
        while any(process.poll() is None for process in made.processes):
            assert time.monotonic() < deadline, f"stuck in round {made.words[ROUND]}"
            # One more when the one that was started in place of the last has begun.
            if killed < kills and made.words[READY] == 4 + killed:
                killed += made.kill_a_leader() >= 0
            is_long = made.words[ROUND] >= rounds and made.words[SLEPT] > 100
            if killed == kills and made.words[READY] == 4 + killed and is_long:
                probe.swap(made.board, OVER, 0, 1)
            time.sleep(0.001)
        print(
            f"{made.words[ROUND]} rounds, {made.words[LED]} led, {made.words[SLEPT]} sleeps, {killed} killed, "
            f"{made.words[CUT]} cut, {made.words[LOST]} lost, {made.words[DOUBLE]} led twice; {made.supervisor.stats()}"
        )
        assert [process.returncode for process in made.processes] == [0] * 4
        assert made.words[LOST] == 0
        assert made.words[DOUBLE] == 0
        assert made.words[ROUND] >= rounds
        assert made.words[SLEPT] > 100
        assert killed == kills


@pytest.mark.parametrize("keys", [2, 12], ids=["with room", "more keys than rows"])
def test_keys_of_one_bucket_have_one_leader_each(keys: int) -> None:
    """Without a pause between flights, rows that change hands all the time, and processes that are killed."""
    with crowd(4, f"flood(800, {keys})") as made:
        while made.words[READY] < 4:
            time.sleep(0.001)
        for slot in (0, 1):
            time.sleep(0.2)
            made.kill(slot)
        for process in made.processes:
            process.wait(timeout=60)
        led, followed, others, double = (made.words[place] for place in (LED, SLEPT, CUT, DOUBLE))
        print(f"{led} led, {followed} followed, {others} neither, {double} led twice; {made.supervisor.stats()}")
        assert double == 0
        assert led >= 80
        assert followed >= 80
