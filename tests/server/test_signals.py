"""Draining, stopping now, and the other signals."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from server.harness import STUB, Server, ask, config, environment, eventually, fetch, is_alive, running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_the_exit_code_is_zero(number: signal.Signals) -> None:
    async with running(config(workers=2)) as server:
        port = await server.complete(2)
        workers = list(server.workers().values())
        slow = asyncio.create_task(fetch(port, "/slow"))
        await fetch(port)
        await asyncio.sleep(0.2)
        server.signal(number)
        assert "/slow" in await slow
        assert await server.left() == 0
        assert not any(map(is_alive, workers))
        with pytest.raises(ConnectionRefusedError):
            await fetch(port)


async def test_ctrl_c_reaches_the_whole_group_and_drains_once() -> None:
    async with running(config(workers=2)) as server:
        port = await server.complete(2)
        slow = asyncio.create_task(fetch(port, "/slow"))
        await fetch(port)
        await asyncio.sleep(0.2)
        for pid in (*server.workers().values(), server.pid):
            os.kill(pid, signal.SIGINT)
        assert "/slow" in await slow
        assert await server.left() == 0


async def test_ctrl_c_while_the_workers_start_leaves_no_traceback() -> None:
    async with running(config(workers=2)) as server:
        await eventually(lambda: len(server.workers()) == 2)
        for pid in (server.pid, *server.workers().values()):
            os.kill(pid, signal.SIGINT)
        await server.left()
        assert "Traceback" not in server.text


async def test_no_request_is_lost_by_a_drain_under_busy_clients() -> None:
    """Clients that obey ``Connection: close``: each request that was begun is answered, later connects are refused."""
    async with running(config(workers=2)) as server:
        port = await server.complete(2)
        lost: list[str] = []
        answered = 0

        async def client() -> None:
            nonlocal answered
            while True:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                except (ConnectionRefusedError, ConnectionResetError):
                    return
                try:
                    # A connection that nobody had accepted when the sockets closed is reset: that is a refused connect.
                    for number in range(1_000_000):
                        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                        try:
                            head = await reader.readuntil(b"\r\n\r\n")
                            await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split()[0]))
                        except (ConnectionError, asyncio.IncompleteReadError) as error:
                            if number:
                                lost.append(repr(error))
                            return
                        answered += 1
                        if b"Connection: close" in head:
                            break
                finally:
                    writer.close()

        clients = [asyncio.create_task(client()) for _ in range(32)]
        await eventually(lambda: answered > 500)
        server.signal(signal.SIGTERM)
        await asyncio.gather(*clients)
        assert lost == []
        assert await server.left() == 0


async def test_during_the_drain_delay_everything_goes_on() -> None:
    async with running(config(workers=2, drain_delay="700ms")) as server:
        port = await server.complete(2)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        await server.says("SIGTERM: draining")
        while time.monotonic() - began < 0.5:
            assert await fetch(port)
        assert await server.left() == 0
        assert time.monotonic() - began >= 0.7


async def test_a_drain_ends_after_its_timeout() -> None:
    async with running(config(drain_timeout="300ms")) as server:
        port = await server.port()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await ask(reader, writer)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert await server.left() == 0
        assert 0.3 <= time.monotonic() - began < 3
        writer.close()


async def stops_at_once(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", await server.port())
    assert await ask(reader, writer)
    workers = list(server.workers().values())
    server.signal(signal.SIGTERM)
    await server.says("SIGTERM: draining")
    assert all(map(is_alive, workers))
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert await server.left() == 1
    assert time.monotonic() - began < 2.5
    assert "SIGTERM again: stopping now" in server.text
    assert not any(map(is_alive, workers))
    writer.close()


async def test_a_second_signal_stops_now() -> None:
    async with running(config(workers=2)) as server:
        await stops_at_once(server)


async def test_a_second_signal_stops_a_drain_delay() -> None:
    async with running(config(drain_delay="20s")) as server:
        await stops_at_once(server)


async def test_a_second_signal_stops_a_worker_that_hangs() -> None:
    async with running(config()) as server:
        port = await server.port()
        hanging = asyncio.create_task(fetch(port, "/hang", within=20))
        await asyncio.sleep(0.2)
        server.signal(signal.SIGTERM)
        await server.says("SIGTERM: draining")
        server.signal(signal.SIGINT)
        assert await server.left() == 1
        assert await hanging == ""


async def test_sighup_says_what_is_read_again() -> None:
    async with running(config()) as server:
        port = await server.port()
        server.signal(signal.SIGHUP)
        await server.says("reloading certificates only")
        assert await fetch(port)


async def test_a_hang_up_of_the_terminal_does_not_end_a_worker() -> None:
    async with running(config()) as server:
        port = await server.port()
        worker = int((await fetch(port)).split()[0])
        os.kill(worker, signal.SIGHUP)
        assert int((await fetch(port)).split()[0]) == worker


async def test_sigusr1_reopens_the_log_of_every_process(tmp_path: Path) -> None:
    log = tmp_path / "fastgate.log"
    moved = tmp_path / "fastgate.log.1"
    async with running(config(workers=2, log={"path": str(log), "format": "json"})) as server:
        port = await server.port()
        await eventually(lambda: "is ready" in log.read_text())
        await fetch(port, "/event")
        await eventually(lambda: "hello" in log.read_text())
        log.rename(moved)
        server.signal(signal.SIGUSR1)
        await eventually(lambda: log.exists() and log.read_text().count("reopened") == 2)
        assert '"process":"supervisor"' in log.read_text()
        assert "reopened" not in moved.read_text()


async def test_a_unix_socket_is_removed_by_the_drain(tmp_path: Path) -> None:
    path = tmp_path / "fastgate.sock"
    async with running(config(workers=2, host=f"unix:{path}")) as server:
        await server.says(f"listens on unix:{path}")
        for _ in range(10):
            reader, writer = await asyncio.open_unix_connection(str(path))
            assert await ask(reader, writer)
            writer.close()
        server.signal(signal.SIGTERM)
        assert await server.left() == 0
        assert not path.exists()


async def test_a_signal_to_one_worker_replaces_it_without_losing_a_connection() -> None:
    async with running(config(workers=2)) as server:
        port = await server.complete(2)
        worker = int((await fetch(port)).split()[0])
        os.kill(worker, signal.SIGTERM)
        while is_alive(worker):
            assert await fetch(port, within=3)
        await server.says("info supervisor: worker . exited with code 0; starting a new one")
        await server.says("is ready", times=2)
        assert len(server.workers()) == 2
        assert all([await fetch(port) for _ in range(20)])
        assert "does not answer" not in server.text


async def test_stop_from_another_thread_drains(tmp_path: Path) -> None:
    """For those who run the gateway in a thread of a program of their own, without signals."""
    script = tmp_path / "embedding.py"
    script.write_text(f"""
import sys, threading
from fastgate.config import GatewayConfig
from fastgate.server import GatewayServer
server = GatewayServer(GatewayConfig.from_dict({config()!r}), factory={STUB!r})
ready = threading.Event()
codes = []
thread = threading.Thread(target=lambda: codes.append(server.run(ready.set)))
thread.start()
assert ready.wait(20)
print(server.addresses[0], flush=True)
server.stop()
thread.join()
print(codes[0])
""")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stdout=asyncio.subprocess.PIPE, env=environment()
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    address, code = output.decode().split()
    assert address.startswith("http://127.0.0.1:")
    assert code == "0"
