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
from pathlib import Path
from typing import Any

import pytest
from uvloop.loop import TCPTransport
from wire.support import head

from fastgate.gateway.policy import Outcome, Policy, Request, Response
from fastgate.testing import RawClient, RecordingUpstream, proxy_config, respond, start_gateway

SO_MEMINFO, MOST, QUEUED = 55, 3, 5
SIZES = (0, 1, 300, 8_000, 15_000, 16_300, 17_000, 70_000)


class Blocking(Policy):
    """Keeps the event loop for itself, as a policy should not, until the test has what it waits for."""

    others_answered: threading.Event
    in_time: bool

    def __init__(self, options: dict[str, Any]) -> None:
        self.task: bool = options["task"]

    def block(self) -> Any:
        if self.task:
            return self.block_later()
        Blocking.in_time = self.others_answered.wait(10)
        return None

    async def block_later(self) -> None:
        Blocking.in_time = self.others_answered.wait(10)


class BlocksRequest(Blocking):
    def on_request(self, request: Request) -> Any:
        return self.block()


class BlocksBody(Blocking):
    def on_response_body(self, request: Request, response: Response, piece: bytes, last: bool) -> Any:
        return self.block()


class BlocksFinish(Blocking):
    def on_finish(self, request: Request, outcome: Outcome) -> Any:
        return self.block()


class Draining(Policy):
    """Reads for the client as soon as the gateway's socket takes no more, so that it does again."""

    client: socket.socket
    other: socket.socket
    gathered: bytearray
    times: int

    def on_request(self, request: Request) -> None:
        if is_full(Draining.other):
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


def answers() -> dict[str, Any]:
    """A gateway with a fixed answer for each size."""
    routes = [
        {"name": f"r{number}", "path": f"/{number}", "respond": {"status": 200, "body": body(number).decode()}}
        for number in range(len(SIZES))
    ]
    return {"gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}}, "routes": routes}


def is_full(other: socket.socket) -> bool:
    """Whether the kernel takes no more bytes of this socket."""
    memory = struct.unpack("9I", other.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
    return bool(memory[QUEUED] >= memory[MOST])


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


@pytest.mark.parametrize(
    ("policy", "task"),
    [(BlocksRequest, False), (BlocksRequest, True), (BlocksBody, False), (BlocksFinish, False), (BlocksFinish, True)],
)
async def test_an_answer_does_not_wait_for_a_policy_of_another_request(policy: type[Policy], task: bool) -> None:
    """Of those that are asked for before the policy is called; with a task, of all that are in the same turn."""
    config = answers()
    config["plugins"] = [{"name": "slow", "use": f"{__name__}:{policy.__name__}", "options": {"task": task}}]
    config["routes"].append(
        {"name": "slow", "path": "/slow", "respond": {"status": 200, "body": "slow"}, "policies": [{"use": "slow"}]}
    )
    Blocking.others_answered, Blocking.in_time = threading.Event(), False
    slow, others = (0, range(1, 8)) if task else (4, range(4))

    def read_others() -> None:
        for place in others:
            read(clients[place], [1])
        Blocking.others_answered.set()

    async with start_gateway(config) as gateway:
        clients = [connect(gateway.port) for _ in range(8)]
        try:
            await use_once(clients)
            for place, client in enumerate(clients):
                client.sendall(head(target="/slow" if place == slow else "/1"))
            await asyncio.to_thread(read_others)
        finally:
            for client in clients:
                client.close()
    assert Blocking.in_time


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel how full a socket is")
@pytest.mark.parametrize(("proxied", "more"), [(False, b""), (True, b""), (True, b"G")])
async def test_the_last_answer_is_sent_though_the_socket_is_full(proxied: bool, more: bytes) -> None:
    """It waits for the end of the turn, and in the same turn its connection is closed.

    Those before it are small, so that the transport holds nothing when the socket has become full: once it is closed it
    would take no more.
    """
    small, large = 2, 4
    async with RecordingUpstream(default=respond(body(small))) as upstream:
        async with start_gateway(proxy_config(upstream.port) if proxied else answers()) as gateway:
            client = connect(gateway.port, receive_buffer=4096)
            try:
                client.sendall(head(target=f"/{small}"))
                await asyncio.to_thread(read, client, [small])
                with other_end(client) as other:
                    other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 30_000)
                    asked = 0
                    while not is_full(other):
                        client.sendall(head(target=f"/{small}"))
                        asked += 1
                        await asyncio.sleep(0.005)
                    upstream.script(respond(body(large)))
                    client.sendall(head("Connection: close", target=f"/{large}") + more)
                    await asyncio.sleep(0.05)
                await asyncio.to_thread(read, client, [small] * asked + [large])
                assert await asyncio.to_thread(client.recv, 1) == b""
            finally:
                client.close()


class Closing(asyncio.Protocol):
    """Looks whether its descriptor is its own when it is told that the connection is lost."""

    def __init__(self) -> None:
        self.made = asyncio.Event()
        self.lost = asyncio.Event()
        self.was_open = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.fd: int = transport.get_extra_info("socket").fileno()
        self.inode = os.fstat(self.fd).st_ino
        self.made.set()

    def connection_lost(self, error: Exception | None) -> None:
        with contextlib.suppress(OSError):
            self.was_open = os.fstat(self.fd).st_ino == self.inode
        self.lost.set()


@pytest.mark.parametrize("way", ["abort", "close", "end", "reset", "reset while writing"])
async def test_a_transport_keeps_its_descriptor_until_the_connection_is_lost(way: str) -> None:
    """What the gateway relies on when it sends by the descriptor: it never becomes that of another connection."""
    protocol = Closing()
    server = await asyncio.get_running_loop().create_server(lambda: protocol, "127.0.0.1", 0)
    async with server:
        client = connect(server.sockets[0].getsockname()[1])
        await protocol.made.wait()
        assert type(protocol.transport) is TCPTransport
        if way == "reset while writing":
            protocol.transport.write(bytes(10_000_000))
        if way.startswith("reset"):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if way in ("abort", "close"):
            getattr(protocol.transport, way)()
        else:
            client.close()
        async with asyncio.timeout(5):
            await protocol.lost.wait()
        client.close()
    assert protocol.was_open


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
