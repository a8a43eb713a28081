"""Workers come and go; the gateway stays."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from server.harness import config, eventually, fetch, is_alive, running


async def test_one_worker_is_a_supervisor_and_a_worker() -> None:
    async with running(config()) as server:
        port = await server.port()
        pid, slot, *_ = (await fetch(port)).split()
        assert (int(pid) in server.workers().values(), slot) == (True, "0")
        assert server.text.count("listens on") == 1


async def test_every_worker_answers_and_the_kernel_spreads_connections() -> None:
    async with running(config(workers=2)) as server:
        port = await server.complete(2)
        answers = [await fetch(port) for _ in range(40)]
        assert {answer.split()[1] for answer in answers} == {"0", "1"}


async def test_a_killed_worker_is_replaced_at_once_and_its_queue_is_not_lost() -> None:
    async with running(config(workers=2)) as server:
        port = await server.complete(2)
        victim = int((await fetch(port)).split()[0])
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        # Every connection made from now on is answered, by the other worker or by the successor.
        answers = await asyncio.gather(*(fetch(port, within=2) for _ in range(40)))
        assert all(answers)
        assert time.monotonic() - killed < 2
        assert str(victim) not in {answer.split()[0] for answer in answers}
        await server.says("killed by SIGKILL; starting a new one")


async def test_under_load_only_connections_of_the_killed_worker_fail() -> None:
    async with running(config(workers=2)) as server:
        port = await server.complete(2)
        stop = asyncio.Event()
        outcomes: list[tuple[float, bool]] = []

        async def client() -> None:
            while not stop.is_set():
                answer = await fetch(port, within=2)
                outcomes.append((time.monotonic(), bool(answer)))

        clients = [asyncio.create_task(client()) for _ in range(8)]
        await eventually(lambda: len(outcomes) > 200)
        victim = server.workers()[0]
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await server.says("is ready", times=2)
        back = time.monotonic()
        seen = len(outcomes)
        await eventually(lambda: len(outcomes) > seen + 200)
        stop.set()
        await asyncio.gather(*clients)
        assert back - killed < 2
        failed = [at for at, fine in outcomes if not fine]
        # Each client had at most one connection that the victim had accepted.
        assert len(failed) <= 8
        assert all(at - killed < 1 for at in failed)


async def test_a_worker_that_hangs_is_aborted_with_a_traceback_and_replaced() -> None:
    async with running(config(worker_timeout="1s")) as server:
        port = await server.port()
        first = (await fetch(port)).split()[0]
        assert await fetch(port, "/hang", within=10) == ""
        await server.says("worker 0 has not responded for 1")
        await server.says(r"stub_gateway\.py.* in data_received")
        await server.says("stopped responding and was aborted; starting a new one")
        second = (await fetch(port)).split()[0]
        assert first != second


async def test_a_stopped_supervisor_does_not_hold_its_own_pause_against_workers() -> None:
    async with running(config(worker_timeout="1s")) as server:
        port = await server.port()
        worker = (await fetch(port)).split()[0]
        for pid in (server.pid, int(worker)):
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(1.5)
        for pid in (server.pid, int(worker)):
            os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(0.6)
        assert (await fetch(port)).split()[0] == worker
        assert "aborting" not in server.text


async def test_when_the_supervisor_is_killed_its_workers_close_and_finish() -> None:
    async with running(config(workers=2)) as server:
        port = await server.complete(2)
        slow = asyncio.create_task(fetch(port, "/slow"))
        await fetch(port)
        await asyncio.sleep(0.2)
        workers = list(server.workers().values())
        assert len(workers) == 2
        server.signal(signal.SIGKILL)
        assert "/slow" in await slow
        await eventually(lambda: not any(map(is_alive, workers)))
        with pytest.raises(ConnectionRefusedError):
            await fetch(port)


async def test_a_gateway_whose_workers_say_why_they_cannot_start_says_it_in_one_line() -> None:
    async with running(config(workers=2), "server.failing:Explains") as server:
        assert await server.left() == 1
        assert server.log[:-1] == ["fastgate: RuntimeError: the certificate a.pem; cannot be read"]


async def test_a_gateway_whose_worker_dies_at_every_start_gives_up() -> None:
    async with running(config(), "server.failing:Dies") as server:
        assert await server.left() == 1
        assert server.log[-2] == "fastgate: worker 0 killed by SIGSEGV before it was ready, 3 times"
        assert "Traceback" not in server.text


async def test_a_class_that_is_not_there_is_said_in_one_line() -> None:
    async with running(config(), "server.failing:Nothing") as server:
        assert await server.left() == 1
        assert server.log[-2].startswith("fastgate: AttributeError: module 'server.failing' has no attribute 'Nothing'")


async def test_a_crash_loop_backs_off_and_its_slot_is_lent_until_it_ends(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    settings = config(workers=2)
    settings["plugins"] = [{"name": "x", "use": "server.failing:DiesInSlotOne", "options": {"file": str(broken)}}]
    async with running(settings, "server.failing:DiesInSlotOne") as server:
        port = await server.port()
        await server.says(r"worker 1 exited with code 3; starting a new one in 0\.1 s \(failure 2 in a row\)")
        await server.says("worker 1 is not ready; worker 0 accepts its connections")
        answers = [await fetch(port, within=2) for _ in range(30)]
        assert {answer.split()[1] for answer in answers} == {"0"}
        broken.unlink()
        await server.says("worker 1 is ready")
        # Given back: both answer, and the lender takes nothing from the other's queue.
        answers = [await fetch(port, within=2) for _ in range(60)]
        assert {answer.split()[1] for answer in answers} == {"0", "1"}


async def test_a_worker_that_becomes_ready_and_dies_is_not_restarted_without_pause() -> None:
    async with running(config(), "server.failing:DiesSoon") as server:
        await server.says(r"exited with code 4; starting a new one in 0\.2 s \(failure 3 in a row\)")


async def test_events_of_a_worker_are_in_the_log_of_the_supervisor() -> None:
    async with running(config()) as server:
        await fetch(await server.port(), "/event")
        await server.says(r"info supervisor: worker 0: hello number=7")


async def test_a_second_instance_on_the_same_port_exits_with_one_line() -> None:
    async with running(config(workers=2)) as first:
        port = await first.port()
        for workers in (1, 2):
            async with running(config(workers=workers, port=port)) as second:
                assert await second.left() == 1
                assert second.log[:-1] == [
                    f"fastgate: cannot listen on 127.0.0.1:{port}: the address is in use; is another instance running?"
                ]


async def test_a_log_that_cannot_be_opened_is_one_line() -> None:
    async with running(config(log={"path": "/nonexistent/x.log"})) as server:
        assert await server.left() == 1
        assert server.log[:-1] == ["fastgate: cannot open the log /nonexistent/x.log: No such file or directory"]


async def test_workers_that_never_become_ready_leave_with_their_supervisor() -> None:
    async with running(config(workers=2), "server.failing:NeverReady") as server:
        await eventually(lambda: len(server.workers()) == 2)
        workers = list(server.workers().values())
        server.signal(signal.SIGKILL)
        await eventually(lambda: not any(map(is_alive, workers)), within=20)


async def test_a_second_signal_stops_workers_that_never_become_ready() -> None:
    async with running(config(), "server.failing:NeverReady") as server:
        await eventually(lambda: len(server.workers()) == 1)
        await asyncio.sleep(0.5)
        server.signal(signal.SIGTERM)
        await server.says("draining")
        server.signal(signal.SIGTERM)
        assert await server.left() == 1
