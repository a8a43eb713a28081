"""fastgate maintenance, against a gateway with two workers that is under load."""

import asyncio
import os
import signal
from pathlib import Path

from cli.test_running import _place, fastgate, serving
from server.harness import free_port

from fastgate.testing import RawClient, RecordingUpstream

place = _place


def write(port: int, upstream: int, more: str = "") -> None:
    Path("fastgate.toml").write_text(
        f'[gateway]\nport = {port}\nworkers = 2\nhealth_path = "/up"\n[gateway.access_log]\npath = ""\n'
        f'[[routes]]\nname = "a"\npath = "/a"\nupstream = "b"\n{more}\n'
        '[[routes]]\nname = "rest"\npath = "/*"\nupstream = "b"\n'
        f'[upstreams.b]\ntargets = ["127.0.0.1:{upstream}"]\n'
    )


class Load:
    """Clients that ask without a pause, some on connections that they keep; what they got since the last look."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: list[int] = []
        self.look = 0
        self._tasks = [asyncio.create_task(self._ask(kept=number % 2 == 0)) for number in range(6)]

    async def _ask(self, kept: bool) -> None:
        while True:
            async with RawClient(self.port) as client:
                await self._once(client)
                while kept:
                    await self._once(client)

    async def _once(self, client: RawClient) -> None:
        look = self.look
        status = (await client.request(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")).status
        if look == self.look:  # it was sent after the last look
            self.seen.append(status)

    async def since_now(self, count: int = 60) -> set[int]:
        """The statuses of requests that are sent from now on."""
        self.look += 1
        self.seen.clear()
        async with asyncio.timeout(10):
            while len(self.seen) < count:
                await asyncio.sleep(0.01)
        return set(self.seen)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results


async def status_of(port: int, path: str = "/a") -> tuple[int, str | None]:
    async with RawClient(port) as client:
        answer = await client.request(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return answer.status, answer.fields.get("retry-after")


async def test_it_is_exact_in_all_workers_under_load() -> None:
    port = free_port()
    async with RecordingUpstream() as upstream:
        write(port, upstream.port)
        async with serving() as server:
            await server.says(r"worker \d is ready")
            load = Load(port)
            try:
                for _ in range(2):
                    assert await load.since_now() == {200}
                    code, out, err = await fastgate("maintenance", "on", "a", "--retry-after", "10m")
                    answered = len(upstream.requests)
                    assert (code, err) == (0, "")
                    assert out == (
                        "closed: a (switched by hand: a on)\n"
                        "the routes stay closed until `fastgate maintenance off`, or until the gateway restarts\n"
                    )
                    assert await load.since_now() == {503}
                    assert len(upstream.requests) == answered
                    assert await status_of(port) == (503, "600")
                    assert await status_of(port, "/other") == (200, None)
                    assert await status_of(port, "/up") == (200, None)
                    assert await fastgate("maintenance", "off", "a") == (0, "all routes are open\n", "")
                assert await load.since_now() == {200}
            finally:
                await load.stop()


async def test_it_outlives_workers_and_reloads() -> None:
    port = free_port()
    async with RecordingUpstream() as upstream:
        write(port, upstream.port)
        async with serving() as server:
            await server.says(r"worker \d is ready")
            assert (await fastgate("maintenance", "on"))[1].startswith(
                "all routes are closed (switched by hand: all on)"
            )
            for pid in server.workers().values():
                os.kill(pid, signal.SIGKILL)
            await server.says(r"worker \d is ready", times=3)
            assert await status_of(port) == (503, "300")
            write(port, upstream.port, 'maintenance = { enabled = true, retry_after = "9s" }')
            assert (await fastgate("reload"))[0] == 0
            assert await status_of(port) == (503, "9")
            assert await status_of(port, "/other") == (503, "300")
            _, out, _ = await fastgate("status")
            assert "maintenance all routes are closed (switched by hand: all on)\n" in out
            # A file that cannot be used does not stand in the way.
            Path("fastgate.toml").write_text("half a f")
            assert (await fastgate("maintenance", "off"))[1] == "all routes are open (switched by hand: a off)\n"
            assert await status_of(port) == (200, None)
            assert (await fastgate("maintenance", "reset"))[1] == "closed: a\n"
            assert await status_of(port) == (503, "9")
            assert (await fastgate("maintenance", "status"))[1] == "closed: a\n"


WRONG = (
    (("on", "rset"), 1, 'fastgate: unknown route "rset", did you mean "rest"?'),
    (("off", "--retry-after", "1m"), 2, "--retry-after can only be used with on"),
    (("status", "a"), 2, "status takes no route names; it lists all routes"),
    (("on", "--retry-after", "soon"), 2, 'expected a duration such as "250ms"'),
    (("on", "--retry-after", "0"), 2, "must be more than 0"),
    (("up",), 2, "'up' is not one of"),
)


async def test_what_cannot_be_asked() -> None:
    write(free_port(), 1)
    async with serving():
        for words, code, said in WRONG:
            found, out, err = await fastgate("maintenance", *words)
            assert (found, out) == (code, "")
            assert said in err
