"""Listeners with real sockets: accepting, lending, stopping, the PROXY protocol, TLS behind it."""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fastgate.config import GatewayConfig
from fastgate.gateway.control import LocalControl
from fastgate.gateway.listeners import Listener
from fastgate.gateway.listening_sockets import ListenError, Listening, open_listening, url_of

HEADER = b"PROXY TCP4 192.0.2.1 198.51.100.2 51000 443\r\n"


def listeners_of(settings: GatewayConfig) -> list[Listener]:
    return LocalControl(settings).listeners(settings)


def config(**gateway: Any) -> GatewayConfig:
    return GatewayConfig.from_dict(
        {
            "gateway": {"port": 0, **gateway},
            "routes": [{"name": "all", "path": "/*", "upstream": "backend"}],
            "upstreams": {"backend": {"targets": ["127.0.0.1:1"]}},
        }
    )


class Echo(asyncio.Protocol):
    """Says who it was made for, then returns what it gets."""

    made: list["Echo"]

    def __init__(self, made: list["Echo"], peer: object, local: object) -> None:
        self.made = made
        self.named = (peer, local)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.made.append(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@contextlib.asynccontextmanager
async def listening(settings: GatewayConfig) -> AsyncIterator[tuple[Listener, list[Echo]]]:
    made: list[Echo] = []
    [listener] = listeners_of(settings)
    await listener.start(asyncio.get_running_loop(), lambda _, peer, local: Echo(made, peer, local))
    try:
        yield listener, made
    finally:
        await listener.stop()
        for each in made:
            each.transport.abort()


async def connect(listener: Listener, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(listener.address, str):
        return await asyncio.open_unix_connection(listener.address, **options)
    return await asyncio.open_connection(*listener.address, **options)


async def echoes(listener: Listener, data: bytes, first: bytes = b"") -> None:
    reader, writer = await connect(listener)
    writer.write(first + data)
    assert await asyncio.wait_for(reader.readexactly(len(data)), 5) == data
    writer.close()


async def refuses(listener: Listener, data: bytes) -> None:
    """Whatever we send, the connection is closed without an answer."""
    reader, writer = await connect(listener)
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_tcp_listener_serves_and_says_where() -> None:
    async with listening(config()) as (listener, made):
        assert listener.port > 0
        assert listener.address == ("127.0.0.1", listener.port)
        assert (listener.scheme, listener.url) == ("http", f"http://127.0.0.1:{listener.port}")
        await echoes(listener, b"hello")
        assert made[0].named == (None, None)
        assert made[0].transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_an_ipv6_listener_serves_ipv6_alone() -> None:
    async with listening(config(host="::1")) as (listener, _):
        assert listener.url == f"http://[::1]:{listener.port}"
        await echoes(listener, b"hello")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", listener.port)


async def test_a_unix_listener_has_its_mode_and_removes_its_file(tmp_path: Path) -> None:
    path = tmp_path / "fastgate.sock"
    async with listening(config(host=f"unix:{path}", socket_mode="0600")) as (listener, _):
        assert (listener.address, listener.port, listener.url) == (str(path), 0, f"unix:{path}")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await echoes(listener, b"hello")
    assert not path.exists()


async def test_every_address_of_a_list_is_listened_on(tmp_path: Path) -> None:
    settings = config(host=["127.0.0.1", "127.0.0.2", f"unix:{tmp_path}/x.sock"])
    listeners = listeners_of(settings)
    assert [each.address if isinstance(each.address, str) else each.address[0] for each in listeners] == [
        "127.0.0.1",
        "127.0.0.2",
        f"{tmp_path}/x.sock",
    ]
    for each in listeners:
        await each.stop()


async def test_stopping_hands_over_what_waits_in_the_queue() -> None:
    made: list[Echo] = []
    [listener] = listeners_of(config())
    assert not isinstance(listener.address, str)
    clients = [socket.create_connection(listener.address) for _ in range(20)]
    for client in clients:
        client.sendall(b"early")
    await listener.start(asyncio.get_running_loop(), lambda _, peer, local: Echo(made, peer, local))
    # No turn of the loop in between: nothing was accepted by it.
    await listener.stop()
    loop = asyncio.get_running_loop()
    for client in clients:
        client.setblocking(False)
        assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == b"early"
        client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.address)
    assert len(made) == 20
    for each in made:
        each.transport.abort()
    await listener.stop()


async def test_a_borrowed_socket_is_served_until_it_is_given_back() -> None:
    settings = config()
    [both] = open_listening(settings, 2)
    assert isinstance(both.address, tuple)
    made: list[Echo] = []
    listener = Listener(Listening(both.address, [both.sockets[0]]), 0, settings)
    await listener.start(asyncio.get_running_loop(), lambda _, peer, local: Echo(made, peer, local))
    lent = both.sockets[1].dup()
    await listener.borrow(lent)
    for _ in range(30):
        await echoes(listener, b"x")
    listener.give_back(lent)
    listener.give_back(lent)
    assert lent.fileno() == -1
    # The other slot's queue is served by nobody now: about half of the connections wait.
    waiting = 0
    for _ in range(30):
        reader, writer = await connect(listener)
        writer.write(b"x")
        try:
            await asyncio.wait_for(reader.readexactly(1), 0.05)
        except TimeoutError:
            waiting += 1
        writer.close()
    assert 0 < waiting < 30
    await listener.stop()
    both.close()
    for each in made:
        each.transport.abort()


async def test_a_socket_that_is_lent_to_a_stopped_listener_is_closed() -> None:
    async with listening(config()) as (listener, _):
        await listener.stop()
        spare = socket.socket()
        await listener.borrow(spare)
        assert spare.fileno() == -1


# --- PROXY protocol


async def test_proxy_protocol_names_the_client() -> None:
    async with listening(config(proxy_protocol=True, trusted_proxies=["127.0.0.0/8"])) as (listener, made):
        await echoes(listener, b"hello", first=HEADER)
        assert made[0].named == (("192.0.2.1", 51000), ("198.51.100.2", 443))
        assert made[0].transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_proxy_protocol_in_pieces_with_the_request_right_behind() -> None:
    async with listening(config(proxy_protocol=True, trusted_proxies=["127.0.0.1"])) as (listener, made):
        reader, writer = await connect(listener)
        for byte in HEADER[:-1]:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        writer.write(HEADER[-1:] + b"hello")
        assert await asyncio.wait_for(reader.readexactly(5), 5) == b"hello"
        assert made[0].named[0] == ("192.0.2.1", 51000)
        writer.close()


async def test_proxy_protocol_of_an_untrusted_peer_is_closed() -> None:
    async with listening(config(proxy_protocol=True, trusted_proxies=["10.0.0.0/8"])) as (listener, made):
        await refuses(listener, HEADER + b"hello")
        assert made == []


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PROXY nonsense\r\n", b"\r\n\r\n\0\r\nQUIX"])
async def test_without_a_proxy_protocol_header_the_connection_is_closed(data: bytes) -> None:
    async with listening(config(proxy_protocol=True, trusted_proxies=["127.0.0.1"])) as (listener, made):
        await refuses(listener, data)
        assert made == []


async def test_why_a_connection_is_closed_for_want_of_a_header_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with listening(config(proxy_protocol=True, trusted_proxies=["127.0.0.1"])) as (listener, _):
        for _ in range(3):
            await refuses(listener, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with listening(config(proxy_protocol=True, trusted_proxies=["10.0.0.0/8"])) as (listener, _):
        await refuses(listener, HEADER)
    said = [record.getMessage() for record in caplog.records if record.name == "fastgate.listeners"]
    assert said == [
        f"closed the connection of 127.0.0.1: {reason}"
        for reason in (
            "it sent an invalid PROXY protocol header (not a PROXY protocol header)",
            "its address is not in trusted_proxies, so its PROXY protocol header is not accepted",
        )
    ]


async def test_a_proxy_protocol_header_has_the_time_of_a_request_head() -> None:
    settings = config(proxy_protocol=True, trusted_proxies=["127.0.0.1"], header_timeout="50ms")
    async with listening(settings) as (listener, made):
        reader, writer = await connect(listener)
        writer.write(HEADER[:10])
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert made == []
        writer.close()


@pytest.mark.parametrize("trusted", ["unix:", "unix:{path}"])
async def test_proxy_protocol_on_a_unix_socket_is_believed_where_it_is_listed(tmp_path: Path, trusted: str) -> None:
    path = f"{tmp_path}/p.sock"
    listed = config(proxy_protocol=True, host=f"unix:{path}", trusted_proxies=[trusted.format(path=path)])
    async with listening(listed) as (listener, made):
        await echoes(listener, b"hello", first=HEADER)
        assert made[0].named[0] == ("192.0.2.1", 51000)


async def test_proxy_protocol_on_a_unix_socket_that_is_not_listed_is_closed(tmp_path: Path) -> None:
    path = f"{tmp_path}/p.sock"
    async with listening(config(proxy_protocol=True, host=f"unix:{path}", trusted_proxies=["127.0.0.1"])) as (_, made):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(HEADER + b"hello")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        assert made == []


async def test_stopping_serves_complete_proxy_protocol_headers_and_closes_the_others() -> None:
    made: list[Echo] = []
    [listener] = listeners_of(config(proxy_protocol=True, trusted_proxies=["127.0.0.1"]))
    assert isinstance(listener.address, tuple)
    loop = asyncio.get_running_loop()
    with socket.create_connection(listener.address) as named, socket.create_connection(listener.address) as silent:
        named.sendall(HEADER + b"x")
        await listener.start(loop, lambda _, peer, local: Echo(made, peer, local))
        await listener.stop()
        named.setblocking(False)
        silent.setblocking(False)
        assert await asyncio.wait_for(loop.sock_recv(named, 10), 5) == b"x"
        assert await asyncio.wait_for(loop.sock_recv(silent, 10), 5) == b""
    for each in made:
        each.transport.abort()


# --- Addresses that cannot be had


def test_a_port_in_use_is_an_error_also_where_both_would_share_it() -> None:
    [first] = open_listening(config(), 2)
    assert isinstance(first.address, tuple)
    for slots in (1, 2):
        with pytest.raises(ListenError, match=r"cannot listen on 127\.0\.0\.1:\d+: the address is in use"):
            open_listening(config(port=first.address[1]), slots)
    with pytest.raises(ListenError, match="the address is in use"):
        open_listening(config(host="0.0.0.0", port=first.address[1]), 2)
    first.close()
    [again] = open_listening(config(port=first.address[1]), 2)
    again.close()


def test_connections_are_spread_over_all_slots_of_an_address() -> None:
    [listening] = open_listening(config(), 4)
    assert isinstance(listening.address, tuple)
    clients = [socket.create_connection(listening.address) for _ in range(200)]
    accepted = []
    for each in listening.sockets:
        count = 0
        while True:
            try:
                each.accept()[0].close()
            except BlockingIOError:
                break
            count += 1
        accepted.append(count)
    assert sum(accepted) == 200
    assert min(accepted) > 10
    listening.close()
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("192.0.2.77", "no interface of this machine has that address"),
        ("name.invalid", ""),
    ],
)
def test_an_address_that_is_not_ours_is_an_error(host: str, reason: str) -> None:
    with pytest.raises(ListenError, match=f"cannot listen on {host}:0: {reason}"):
        open_listening(config(host=host), 1)


def test_a_privileged_port_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ListenError, match="port below 1024 needs root"):
        open_listening(config(port=80), 1)


def test_when_one_address_cannot_be_had_none_stays_open(tmp_path: Path) -> None:
    with pytest.raises(ListenError):
        open_listening(config(host=[f"unix:{tmp_path}/x.sock", "192.0.2.77"]), 1)
    assert not (tmp_path / "x.sock").exists()


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    [listening] = open_listening(config(host=f"unix:{path}"), 3)
    assert listening.shared
    assert listening.socket_of(0) is listening.socket_of(2)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listening.close()
    assert not path.exists()


def test_a_live_unix_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    [listening] = open_listening(config(host=f"unix:{path}"), 1)
    with pytest.raises(ListenError, match=r"x\.sock: the address is in use"):
        open_listening(config(host=f"unix:{path}"), 1)
    assert path.exists()
    listening.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    path.write_text("precious")
    with pytest.raises(ListenError, match="a file of that name exists and is not a socket"):
        open_listening(config(host=f"unix:{path}"), 1)
    assert path.read_text() == "precious"


def test_the_socket_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    [first] = open_listening(config(host=f"unix:{path}"), 1)
    os.unlink(path)
    [second] = open_listening(config(host=f"unix:{path}"), 1)
    first.close()
    assert path.exists()
    second.close()


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (("10.0.0.1", 80), "https://10.0.0.1:80"),
        (("::", 8443), "https://[::]:8443"),
        ("/run/x.sock", "unix:/run/x.sock"),
    ],
)
def test_addresses_are_shown_as_they_would_be_typed(address: Any, url: str) -> None:
    assert url_of(address, "https") == url
