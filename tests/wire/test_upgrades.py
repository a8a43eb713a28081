"""What is forwarded: upgrades and tunnels."""

import asyncio
import os

import pytest
from wire.support import GET, check_problem, deliver, eventually, head, served

from fastgate.testing import Answer, respond, stall

UPGRADE = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
]
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-A: 1\r\n\r\n"


async def tunnel(stand, client, *, early: bytes = b"", protocol: str = "websocket"):
    """Opens a tunnel and returns the upstream's end of it."""
    opened = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def accept(exchange):
        await exchange.send(SWITCH.replace(b"websocket", protocol.encode()))
        opened.set_result(exchange)
        await done.wait()

    stand.stack.callback(done.set)
    stand.upstream.script(Answer(accept))
    lines = [line.replace("websocket", protocol) if line.startswith("Upgrade") else line for line in UPGRADE]
    await client.send(head(*lines, target="/ws") + early)
    response = await client.response()
    assert (response.status, response.fields["upgrade"], response.fields["x-a"]) == (101, protocol, "1")
    assert response.fields["connection"].lower() == "upgrade"
    return await opened


async def read(exchange, count: int) -> bytes:
    async with asyncio.timeout(5):
        while len(exchange.reader.buffer) < count:
            assert await exchange.reader.more(), f"{exchange.reader.ended} after {bytes(exchange.reader.buffer)!r}"
    data = bytes(exchange.reader.buffer[:count])
    del exchange.reader.buffer[:count]
    return data


async def test_tunnel(stand):
    """Upgrades: only `websocket` …, only on a GET of HTTP/1.1"""
    client = await stand.start()
    exchange = await tunnel(stand, client)
    request = exchange.request
    assert (request.fields["upgrade"], request.fields["connection"].lower()) == ("websocket", "upgrade")
    assert request.fields["sec-websocket-key"]
    for data in (b"ping", b"\x00\xff" * 1000, b"GET / HTTP/1.1\r\n\r\n"):
        await client.send(data)
        assert await read(exchange, len(data)) == data
        await exchange.send(data[::-1])
        assert await client.receive(len(data)) == data[::-1]


async def test_bytes_sent_early_wait_for_the_101(stand):
    """The tunnel begins when the upstream's 101 has been forwarded, not before; bytes sent earlier wait for it"""
    client = await stand.start()
    go, opened = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def accept(exchange):
        await go.wait()
        # Nothing but the request is there.
        try:
            async with asyncio.timeout(0.05):
                await exchange.reader.more()
        except TimeoutError:
            pass
        assert exchange.reader.buffer == b""
        await exchange.send(SWITCH + b"first")
        opened.set_result(exchange)
        await stall()(exchange)

    stand.upstream.script(Answer(accept))
    await client.send(head(*UPGRADE) + b"early bytes")
    await stand.upstream.request(0)
    await client.assert_silent()
    go.set()
    assert (await client.response()).status == 101
    assert await client.receive(5) == b"first"
    await client.send(b", late bytes")
    exchange = await opened
    await eventually(lambda: exchange.reader.buffer == b"early bytes, late bytes")


@pytest.mark.parametrize(
    "data",
    [
        head(*UPGRADE, "Content-Length: 5") + b"hello",
        head(*UPGRADE, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
        head(*UPGRADE, "Content-Length: 5", method="POST") + b"hello",
        head(*UPGRADE, method="POST"),
        head(*UPGRADE, method="PUT"),
        head(*UPGRADE, version="1.0"),
        head(*UPGRADE, "Upgrade: websocket"),
        head(*UPGRADE[:1], *UPGRADE[2:], "Upgrade: websocket, h2c"),
        head(*UPGRADE[:1], "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP"),
        head(*UPGRADE[:1], "Upgrade: TLS/1.0"),
        head(*UPGRADE[1:]),
    ],
    ids=[
        "Content-Length",
        "Transfer-Encoding",
        "POST with body",
        "POST",
        "PUT",
        "HTTP/1.0",
        "two Upgrade fields",
        "two values",
        "h2c",
        "other protocol",
        "Connection does not name it",
    ],
)
async def test_on_every_other_request_upgrade_is_removed(stand, delivery, data):
    """On every other request `Upgrade` is removed and the request is an ordinary one, its body framed by its fields"""
    client = await stand.start()
    await deliver(client, data, delivery)
    assert (await client.response()).status == 200
    request = stand.upstream.requests[0]
    assert "upgrade" not in request.fields
    assert "http2-settings" not in request.fields
    assert "upgrade" not in (request.fields.get("connection") or "").lower()
    assert request.body == (b"hello" if b"hello" in data else b"")
    if delivery == "with bytes after" and b"HTTP/1.0" not in data:
        assert (await client.response()).status == 200
        assert stand.upstream.requests[1].target == "/after"


async def test_websocket_without_case(stand):
    client = await stand.start()
    stand.upstream.script(Answer(SWITCH, stall()))
    await client.send(head("connection: keep-alive, UPGRADE", "upgrade: WebSocket"))
    assert (await client.response()).status == 101


async def test_upgrades_that_the_route_lists(stand):
    """and what the route lists in `upgrades`"""
    client = await stand.start(route={"upgrades": ["websocket", "chat"]})
    exchange = await tunnel(stand, client, protocol="chat")
    await client.send(b"hello")
    assert await read(exchange, 5) == b"hello"


async def test_h2c_cannot_be_listed():
    """`h2c` cannot be listed"""
    from fastgate.config import ConfigError, GatewayConfig
    from fastgate.testing import proxy_config

    with pytest.raises(ConfigError, match="h2c"):
        GatewayConfig.from_dict(proxy_config(1, route={"upgrades": ["h2c"]}))


async def test_an_upgrade_that_is_declined(stand):
    client = await stand.start()
    stand.upstream.script(respond(b"no", "426 Upgrade Required", "X-A: 1"))
    response = await client.request(head(*UPGRADE))
    assert (response.status, response.body) == (426, b"no")
    await served(client, GET)


async def test_bytes_sent_early_are_requests_once_it_is_declined(stand):
    client = await stand.start()
    stand.upstream.script(respond(b"no", "403 Forbidden"))
    await client.send(head(*UPGRADE) + GET)
    assert (await client.response()).status == 403
    response = await client.response()
    assert response.status == 200
    assert [request.target for request in stand.upstream.requests] == ["/", "/path?query"]


async def test_101_to_another_protocol(stand):
    client = await stand.start()
    stand.upstream.script(Answer(SWITCH.replace(b"websocket", b"other"), stall()))
    check_problem(await client.request(head(*UPGRADE)), 502)
    await stand.upstream.connections[0].wait_ended()


async def test_the_client_ends_the_tunnel(stand):
    client = await stand.start()
    exchange = await tunnel(stand, client)
    await client.send(b"last")
    client.close()
    assert await read(exchange, 4) == b"last"
    async with asyncio.timeout(5):
        assert not await exchange.reader.more()


async def test_the_upstream_ends_the_tunnel(stand):
    client = await stand.start()
    exchange = await tunnel(stand, client)
    await exchange.send(b"last")
    exchange.wire.close()
    assert await client.rest() == b"last"


async def test_the_tunnel_is_closed_when_idle(stand):
    """Tunnels have … an idle timeout"""
    client = await stand.start(route={"timeouts": {"idle": 0.4}})
    exchange = await tunnel(stand, client)
    for _ in range(5):
        await asyncio.sleep(0.15)
        await client.send(b"x")
        await read(exchange, 1)
    await client.rest()
    async with asyncio.timeout(5):
        assert not await exchange.reader.more()


async def test_the_tunnel_has_back_pressure(stand):
    """Tunnels have back-pressure"""
    client = await stand.start(upstream_options={"receive_buffer": 65536})
    exchange = await tunnel(stand, client)
    piece, size = os.urandom(65536), 64_000_000
    sending = asyncio.create_task(send_all(client.wire, piece, size))
    before = -1
    while before != client.wire.bytes_out:
        before = client.wire.bytes_out
        await asyncio.sleep(0.1)
    assert client.wire.bytes_out < 32_000_000
    received = 0
    exchange.reader.keep = False
    while received < size // len(piece) * len(piece):
        assert await exchange.reader.more()
        received += len(exchange.reader.buffer)
        exchange.reader.buffer.clear()
    await sending


async def send_all(wire, piece: bytes, size: int) -> None:
    for _ in range(size // len(piece)):
        await wire.send(piece)


async def test_websockets(stand):
    """`websockets`, client and server, 1 MB frames included"""
    websockets = pytest.importorskip("websockets")
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve

    async def handler(connection):
        async for message in connection:
            await connection.send(message)

    async with serve(handler, "127.0.0.1", 0, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        await stand.start(port)
        uri = f"ws://127.0.0.1:{stand.gateway.port}/chat?room=1"
        async with connect(uri, max_size=None, compression="deflate") as client:
            await client.send("hello")
            assert await client.recv() == "hello"
            for message in (os.urandom(1 << 20), "ä" * (1 << 20), b"", os.urandom(5 << 20)):
                await client.send(message)
                assert await client.recv() == message
            await (await client.ping())
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            await client.recv()


async def test_many_websockets_at_once(stand):
    pytest.importorskip("websockets")
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve

    async def handler(connection):
        async for message in connection:
            await connection.send(message)

    async def talk(uri: str) -> None:
        async with connect(uri) as client:
            for _ in range(20):
                message = os.urandom(500)
                await client.send(message)
                assert await client.recv() == message

    async with serve(handler, "127.0.0.1", 0) as server:
        await stand.start(server.sockets[0].getsockname()[1])
        await asyncio.gather(*(talk(f"ws://127.0.0.1:{stand.gateway.port}/") for _ in range(20)))
