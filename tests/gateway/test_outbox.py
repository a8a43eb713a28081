"""Answers that go out together at the end of a turn of the loop: each whole, in order, to its own client, and soon.

The test and the gateway share an event loop. While the test does not wait, the gateway does not run, so that what is
sent to it meanwhile over blocking sockets is there in one turn.
"""

import asyncio
import contextlib
import os
import random
import select
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from wire.support import head

from fastgate.gateway.policy import Policy, Request
from fastgate.testing import RawClient, RecordingUpstream, proxy_config, start_gateway

SO_MEMINFO, MOST, QUEUED = 55, 3, 5
SIZES = (0, 1, 300, 8_000, 15_000, 16_300, 17_000, 70_000)


class Sleeping(Policy):
    """Keeps the event loop for itself, as a policy should not, at once or in a task."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.seconds: float = options["seconds"]
        self.late: bool = options["late"]

    def on_request(self, request: Request) -> Any:
        if self.late:
            return self.sleep()
        time.sleep(self.seconds)
        return None

    async def sleep(self) -> None:
        time.sleep(self.seconds)  # noqa: ASYNC251


class Draining(Policy):
    """Reads for the client as soon as the gateway's socket takes no more, so that it does again."""

    client: socket.socket
    other: socket.socket
    gathered: bytearray
    times: int

    def on_request(self, request: Request) -> None:
        memory = struct.unpack("9I", Draining.other.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
        if memory[QUEUED] >= memory[MOST]:
            Draining.times += 1
            Draining.drain()

    @classmethod
    def drain(cls) -> None:
        while select.select([cls.client], [], [], 0.002)[0]:
            cls.gathered += cls.client.recv(1 << 20)


def other_end(client: socket.socket) -> socket.socket:
    """The gateway's own socket: it is of this process."""
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if entry.readlink().name.startswith("socket:"):
                found = socket.socket(fileno=os.dup(int(entry.name)))
                with contextlib.suppress(OSError):
                    if found.getpeername() == client.getsockname():
                        return found
                found.close()
    raise AssertionError("the gateway has no connection to this client")


def body(number: int) -> bytes:
    return b"%d" % (number % 10) * SIZES[number % len(SIZES)]


def answers(**gateway: Any) -> dict[str, Any]:
    """A gateway with a fixed answer for each size."""
    config = proxy_config(1, gateway=gateway)
    del config["upstreams"]
    config["routes"] = [
        {"name": f"r{number}", "path": f"/{number}", "respond": {"status": 200, "body": body(number).decode()}}
        for number in range(len(SIZES))
    ]
    return config


def connect(port: int, receive_buffer: int = 0) -> socket.socket:
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    return client


def read(client: socket.socket, numbers: list[int]) -> None:
    """Reads the answers to these requests, in this order, and nothing else."""
    stream = client.makefile("rb")
    for number in numbers:
        length = -1
        assert stream.readline().startswith(b"HTTP/1.1 200 ")
        while (line := stream.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert stream.read(length) == body(number)


async def use_once(clients: list[socket.socket]) -> None:
    """The first answer of a connection goes another way."""
    for client in clients:
        client.sendall(head(target="/1"))
    for client in clients:
        await asyncio.to_thread(read, client, [1])


async def test_each_client_gets_its_own_answers_in_order() -> None:
    """More clients than are gathered, each with up to four requests at once, of all sizes."""
    chance = random.Random(7)
    async with start_gateway(answers()) as gateway:
        clients = [connect(gateway.port) for _ in range(75)]
        try:
            await use_once(clients)
            for _ in range(4):
                asked = [[chance.randrange(len(SIZES)) for _ in range(chance.randint(1, 4))] for _ in clients]
                for client, numbers in zip(clients, asked, strict=True):
                    client.sendall(b"".join(head(target=f"/{number}") for number in numbers))
                for client, numbers in zip(clients, asked, strict=True):
                    await asyncio.to_thread(read, client, numbers)
        finally:
            for client in clients:
                client.close()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel how full a socket is")
async def test_nothing_overtakes_what_the_socket_did_not_take() -> None:
    """The transport still has a part of an answer when the socket has room again, and the next one is written."""
    config = answers()
    config["plugins"] = [{"name": "draining", "use": f"{__name__}:Draining"}]
    config["routes"][4]["policies"] = [{"use": "draining"}]
    Draining.gathered, Draining.times = bytearray(), 0
    async with start_gateway(config) as gateway:
        Draining.client = client = connect(gateway.port, receive_buffer=4096)
        try:
            await use_once([client])
            Draining.other = other_end(client)
            Draining.other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 30_000)
            asked = b"".join(head(target=f"/4?{place}") for place in range(300)) + head(target="/none")
            sending = asyncio.create_task(asyncio.to_thread(client.sendall, asked))
            async with asyncio.timeout(20):
                while b" 404 " not in Draining.gathered:
                    await asyncio.sleep(0.02)
                    Draining.drain()
            await sending
        finally:
            client.close()
            Draining.other.close()
    whole = [part.partition(b"\r\n\r\n")[2] for part in bytes(Draining.gathered).split(b"HTTP/1.1 ")[1:]]
    assert Draining.times > 0
    assert whole[:-1] == [body(4)] * 300


@pytest.mark.parametrize(("late", "slow"), [(False, 4), (True, 4), (True, 0)], ids=["hook", "task", "task before all"])
async def test_an_answer_does_not_wait_for_a_policy_of_another_request(late: bool, slow: int) -> None:
    config = answers()
    config["plugins"] = [{"name": "slow", "use": f"{__name__}:Sleeping", "options": {"seconds": 1.0, "late": late}}]
    config["routes"].append(
        {"name": "slow", "path": "/slow", "respond": {"status": 200, "body": "slow"}, "policies": [{"use": "slow"}]}
    )
    took: dict[int, float] = {}

    def wait(place: int, client: socket.socket, since: float) -> None:
        read(client, [1])
        took[place] = time.monotonic() - since

    async with start_gateway(config) as gateway:
        clients = [connect(gateway.port) for _ in range(8)]
        try:
            await use_once(clients)
            since = time.monotonic()
            threads = [threading.Thread(target=wait, args=(n, clients[n], since)) for n in range(8) if n != slow]
            for thread in threads:
                thread.start()
            for place, client in enumerate(clients):
                client.sendall(head(target="/slow" if place == slow else "/1"))
            for thread in threads:
                await asyncio.to_thread(thread.join)
        finally:
            for client in clients:
                client.close()
    # Whoever is read before the slow one must not wait for it; with a task, whoever is read in the same turn at all.
    quick = sorted(took.values())[: 7 if late else 3]
    assert len(took) == 7
    assert max(quick) < 0.9, took


async def test_the_last_answer_before_the_end_is_sent() -> None:
    """An answer waits for the end of the turn, and in the same turn the connection is closed."""
    async with start_gateway(answers()) as gateway:
        last = head("Connection: close", target="/2")
        for ending in (b"", b"nonsense\r\n\r\n", last, head(target="/2") + b"\0\r\n\r\n"):
            async with RawClient(gateway.port) as client:
                await client.send(head(target="/1"))
                assert (await client.response()).body == body(1)
                await client.send(head(*(() if ending else ("Connection: close",)), target="/1") + ending)
                assert (await client.response()).body == body(1)
                if ending:
                    assert (await client.response()).status in (200, 400)


async def test_the_answer_of_an_upstream_is_sent_before_its_connection_is_closed() -> None:
    async with RecordingUpstream() as upstream, start_gateway(proxy_config(upstream.port)) as gateway:
        async with RawClient(gateway.port) as client:
            for fields in ((), ("Connection: close",)):
                await client.send(head(*fields))
                assert (await client.response()).body == b"ok"


async def test_requests_of_one_turn_reach_their_upstreams() -> None:
    async with RecordingUpstream() as upstream:
        async with start_gateway(proxy_config(upstream.port)) as gateway:
            clients = [RawClient(gateway.port) for _ in range(40)]
            for client in clients:
                await client.__aenter__()
            for turn in range(3):
                for place, client in enumerate(clients):
                    await client.send(head(target=f"/{turn}/{place}"))
                for client in clients:
                    assert (await client.response()).body == b"ok"
            for client in clients:
                await client.__aexit__(None, None, None)
        asked = sorted(request.target for connection in upstream.connections for request in connection.requests)
        assert asked == sorted(f"/{turn}/{place}" for turn in range(3) for place in range(40))
