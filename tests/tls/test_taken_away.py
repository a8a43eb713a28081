"""What a reload takes away is refused at the next request, on open connections and on resumed sessions."""

import asyncio
import base64
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme
from tls.authorities import Files

from fastgate.config import GatewayConfig
from fastgate.gateway import Gateway
from fastgate.gateway.tls import ServerTLS
from fastgate.testing import RawClient, RecordingUpstream, proxy_config, start_gateway

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n%b\r\n"
SECRET = "one-secret-of-a-sufficient-length-for-hs256"
OTHER = "another-secret-of-a-sufficient-length-hs256"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


# --- credentials


def token(secret: str) -> bytes:
    return (
        b"Authorization: Bearer " + jwt.encode({"sub": "a", "exp": 4_000_000_000}, secret, "HS256").encode() + b"\r\n"
    )


def with_key(config: dict[str, Any], files: Files, first: bool) -> bytes:
    digest = hashlib.sha256(b"key-one" if first else b"key-two").hexdigest()
    config["gateway"]["keys"] = {"a": {"hash": digest}}
    config["routes"][0]["auth"] = {"any": ["key"]}
    return b"X-API-Key: key-one\r\n"


def with_password(config: dict[str, Any], files: Files, first: bool) -> bytes:
    import bcrypt

    path = files.folder / "users"
    word = b"password-one" if first else b"password-two"
    path.write_bytes(b"alice:" + bcrypt.hashpw(word, bcrypt.gensalt(4)) + b"\n")
    config["auth"] = {"basic": {"file": str(path)}}
    config["routes"][0]["auth"] = {"any": ["basic"]}
    return b"Authorization: Basic " + base64.b64encode(b"alice:password-one") + b"\r\n"


def with_token(config: dict[str, Any], files: Files, first: bool) -> bytes:
    config["auth"] = {"jwt": {"algorithms": ["HS256"], "secret": SECRET if first else OTHER}}
    config["routes"][0]["auth"] = {"any": ["jwt"]}
    return token(SECRET)


@pytest.mark.parametrize("credential", [with_key, with_password, with_token])
async def test_a_credential(files: Files, credential: Callable[[dict[str, Any], Files, bool], bytes]) -> None:
    async with RecordingUpstream() as upstream:

        def config(first: bool) -> tuple[dict[str, Any], bytes]:
            made = proxy_config(upstream.port)
            made.setdefault("gateway", {})
            return made, credential(made, files, first)

        settings, fields = config(True)
        async with start_gateway(settings) as gateway, RawClient(gateway.port) as client:
            for _ in range(2):
                assert (await client.request(GET % fields)).status == 200
            await gateway.reload(GatewayConfig.from_dict(config(False)[0]))
            for _ in range(2):
                assert (await client.request(GET % fields)).status == 401
    assert len(upstream.requests) == 2


async def test_a_trusted_proxy() -> None:
    """What is believed of a connection's peer is no longer believed."""
    async with RecordingUpstream() as upstream:

        def config(*trusted: str) -> dict[str, Any]:
            return proxy_config(upstream.port, gateway={"trusted_proxies": [*trusted]})

        async with start_gateway(config("127.0.0.1")) as gateway, RawClient(gateway.port) as client:
            fields = b"X-Forwarded-For: 192.0.2.9\r\n"
            assert (await client.request(GET % fields)).status == 200
            await gateway.reload(GatewayConfig.from_dict(config()))
            assert (await client.request(GET % fields)).status == 200
            await gateway.reload(GatewayConfig.from_dict(config("127.0.0.1")))
            assert (await client.request(GET % fields)).status == 200
    seen = [request.fields["x-forwarded-for"] for request in upstream.requests]
    assert seen == ["192.0.2.9, 127.0.0.1", "127.0.0.1", "192.0.2.9, 127.0.0.1"]


# --- authorities of client certificates


class Stand:
    """A gateway that verifies clients by what ``authorities`` last wrote into its file."""

    def __init__(self, files: Files, client_auth: str) -> None:
        self.files = files
        certificate = files.issue("a", "a.test")
        self.file = files.folder / "clients.pem"
        self.tls = {
            "certificates": [{"cert": certificate.cert, "key": certificate.key}],
            "client_auth": client_auth,
            "client_ca": str(self.file),
        }
        self.gateway: Gateway
        self.upstream: RecordingUpstream

    def write(self, *authorities: trustme.CA) -> None:
        self.file.write_bytes(b"".join(each.cert_pem.bytes() for each in authorities))

    async def reload(self, way: str, *authorities: trustme.CA) -> None:
        self.write(*authorities)
        if way == "configuration":
            await self.gateway.reload(GatewayConfig.from_dict(self.config()))
        else:
            self.gateway.read_certificates()

    def config(self) -> dict[str, Any]:
        return proxy_config(self.upstream.port, gateway={"tls": self.tls})

    def client_context(self, authority: trustme.CA | None, version: str = "1.3") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv1_{version[2:]}"]
        self.files.authority.configure_trust(context)
        if authority is not None:
            authority.issue_cert("client.test").configure_cert(context)
        return context


@asynccontextmanager
async def standing(files: Files, *authorities: trustme.CA, client_auth: str = "required") -> AsyncIterator[Stand]:
    stand = Stand(files, client_auth)
    stand.write(*authorities)
    async with RecordingUpstream() as stand.upstream, start_gateway(stand.config()) as stand.gateway:
        yield stand


@pytest.mark.parametrize("way", ["configuration", "files"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("client_auth", ["required", "optional"])
async def test_an_authority_on_open_connections(files: Files, way: str, version: str, client_auth: str) -> None:
    one, two = trustme.CA(), trustme.CA()
    async with standing(files, one, two, client_auth=client_auth) as stand:
        gone = RawClient(stand.gateway.port, tls=stand.client_context(one, version), server_name="a.test")
        kept = RawClient(stand.gateway.port, tls=stand.client_context(two, version), server_name="a.test")
        async with gone, kept:
            for client in (gone, kept):
                assert (await client.request(GET % b"")).status == 200
            await stand.reload(way, two, trustme.CA())
            answer = await gone.request(GET % b"")
            assert (answer.status, answer.fields["connection"]) == (421, "close")
            assert b"no longer accepted" in answer.body
            assert await gone.wait_closed() == "eof"
            for _ in range(2):
                assert (await kept.request(GET % b"")).status == 200
    assert len(stand.upstream.requests) == 4


async def test_an_authority_in_a_connection_without_a_request_yet(files: Files) -> None:
    one = trustme.CA()
    async with standing(files, one) as stand:
        async with RawClient(stand.gateway.port, tls=stand.client_context(one), server_name="a.test") as client:
            async with asyncio.timeout(5):
                while not stand.gateway._engine.open_connections:  # type: ignore[union-attr]
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            await stand.reload("files", trustme.CA())
            assert (await client.request(GET % b"")).status == 421
    assert stand.upstream.requests == []


async def test_clients_without_a_certificate_and_authorities_that_are_added_change_nothing(files: Files) -> None:
    one = trustme.CA()
    async with standing(files, one, client_auth="optional") as stand:
        nobody = RawClient(stand.gateway.port, tls=stand.client_context(None), server_name="a.test")
        known = RawClient(stand.gateway.port, tls=stand.client_context(one), server_name="a.test")
        async with nobody, known:
            await stand.reload("files", one, trustme.CA())
            assert (await known.request(GET % b"")).status == 200
            await stand.reload("files", trustme.CA())
            assert (await nobody.request(GET % b"")).status == 200
            assert (await known.request(GET % b"")).status == 421


async def test_an_authority_that_returns_is_accepted_again(files: Files) -> None:
    one = trustme.CA()
    async with standing(files, one) as stand:
        async with RawClient(stand.gateway.port, tls=stand.client_context(one), server_name="a.test") as client:
            assert (await client.request(GET % b"")).status == 200
            await stand.reload("files", trustme.CA())
            await stand.reload("files", one)
            assert (await client.request(GET % b"")).status == 200


async def test_an_intermediate_that_the_client_does_not_send(files: Files) -> None:
    """Verified only because the gateway had it: it is taken away, and the root stays."""
    root = trustme.CA()
    inter = root.create_child_ca()
    leaf = inter.issue_cert("client.test")
    async with standing(files, root, inter) as stand:
        context = stand.client_context(None)
        path = files.folder / "bare.pem"
        path.write_bytes(leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes())
        context.load_cert_chain(path)
        sends = stand.client_context(None)
        leaf.configure_cert(sends)
        bare = RawClient(stand.gateway.port, tls=context, server_name="a.test")
        whole = RawClient(stand.gateway.port, tls=sends, server_name="a.test")
        async with bare, whole:
            for client in (bare, whole):
                assert (await client.request(GET % b"")).status == 200
            await stand.reload("files", root)
            assert (await bare.request(GET % b"")).status == 421
            assert (await whole.request(GET % b"")).status == 200


def ask(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[bool, int, ssl.SSLSession | None]:
    """A connection with a session to resume: whether it was, the status of its answer, its session."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="a.test", session=session) as secure,
    ):
        secure.sendall(GET % b"")
        status, reused, session = int(secure.recv(1000)[9:12]), bool(secure.session_reused), secure.session
        secure.unwrap()  # OpenSSL forgets the session of a connection that ended without
        return reused, status, session


@pytest.mark.parametrize("way", ["configuration", "files"])
async def test_sessions_of_tls_1_2_are_not_resumed_after_a_reload(files: Files, way: str) -> None:
    one = trustme.CA()
    async with standing(files, one) as stand:
        context = stand.client_context(one, "1.2")
        port = stand.gateway.port
        reused, status, session = await asyncio.to_thread(ask, port, context, None)
        assert (reused, status) == (False, 200)
        reused, status, session = await asyncio.to_thread(ask, port, context, session)
        assert status == 200
        assert reused, "this test shows nothing where sessions are never resumed"
        await stand.reload(way, trustme.CA())
        with pytest.raises((ssl.SSLError, ConnectionError, ValueError)):
            await asyncio.to_thread(ask, port, context, session)
        await stand.reload(way, one)
        assert (await asyncio.to_thread(ask, port, context, session))[:2] == (False, 200)


@pytest.mark.parametrize("stays", [True, False])
async def test_open_connections_that_resumed_a_session(files: Files, stays: bool) -> None:
    one, two = trustme.CA(), trustme.CA()
    async with standing(files, one, two) as stand:
        context = stand.client_context(one, "1.2")

        def talk(first: asyncio.Event, again: asyncio.Event, loop: asyncio.AbstractEventLoop) -> tuple[bool, int]:
            _, _, session = ask(stand.gateway.port, context, None)
            with (
                socket.create_connection(("127.0.0.1", stand.gateway.port), timeout=5) as plain,
                context.wrap_socket(plain, server_hostname="a.test", session=session) as secure,
            ):
                secure.sendall(GET % b"")
                secure.recv(1000)
                loop.call_soon_threadsafe(first.set)
                asyncio.run_coroutine_threadsafe(again.wait(), loop).result(5)
                secure.sendall(GET % b"")
                return bool(secure.session_reused), int(secure.recv(1000)[9:12])

        first, again = asyncio.Event(), asyncio.Event()
        talking = asyncio.create_task(asyncio.to_thread(talk, first, again, asyncio.get_running_loop()))
        await first.wait()
        await stand.reload("files", one if stays else two)
        again.set()
        assert await talking == (True, 200 if stays else 421)


async def test_a_change_of_the_file_is_enough(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServerTLS.watch, "__defaults__", (0.01,))
    one = trustme.CA()
    async with standing(files, one) as stand:
        async with RawClient(stand.gateway.port, tls=stand.client_context(one), server_name="a.test") as client:
            assert (await client.request(GET % b"")).status == 200
            stand.write(trustme.CA())
            async with asyncio.timeout(5):
                while (answer := await client.request(GET % b"")).status == 200:
                    await asyncio.sleep(0.01)
            assert answer.status == 421
