"""Contexts for upstreams: who is believed, what is shown, and what a cut connection looks like."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from tls.authorities import Files

from fastgate.config import ConfigError, UpstreamTLS
from fastgate.upstreams.tls import client_context, server_name


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def server_context(files: Files, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    files.authority.issue_cert(name).configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@contextlib.asynccontextmanager
async def upstream(context: ssl.SSLContext) -> AsyncIterator[int]:
    """Says who the client is and closes."""

    class Speaker(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            connection = transport.get_extra_info("ssl_object")
            subject = (connection.getpeercert() or {}).get("subjectAltName", "nobody")
            transport.write(f"{connection.selected_alpn_protocol()} {subject}".encode())
            transport.close()

    server = await asyncio.get_running_loop().create_server(Speaker, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def ask(port: int, tls: UpstreamTLS | None, host: str = "127.0.0.1") -> str:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client_context(tls), server_hostname=server_name(tls, host)
    )
    with contextlib.closing(writer):
        return (await reader.read()).decode()


async def test_an_upstream_is_verified_unless_said_otherwise(files: Files) -> None:
    async with upstream(server_context(files, "app.test")) as port:
        for tls in (None, UpstreamTLS(), UpstreamTLS(server_name="app.test")):
            with pytest.raises(ssl.SSLCertVerificationError):
                await ask(port, tls, "app.test")
        assert await ask(port, UpstreamTLS(verify=False)) == "http/1.1 nobody"


async def test_the_own_authority(files: Files, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Files(tmp_path / "other")
    async with upstream(server_context(files, "app.test")) as port:
        assert await ask(port, UpstreamTLS(ca=files.ca), "app.test") == "http/1.1 nobody"
        with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
            await ask(port, UpstreamTLS(ca=other.ca), "app.test")


async def test_a_single_certificate_can_be_trusted(files: Files) -> None:
    leaf = files.issue("leaf", "app.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.load_cert_chain(leaf.cert, leaf.key)
    async with upstream(context) as port:
        assert await ask(port, UpstreamTLS(ca=leaf.cert), "app.test")


async def test_the_name_must_be_in_the_certificate(files: Files) -> None:
    async with upstream(server_context(files, "app.test")) as port:
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            await ask(port, UpstreamTLS(ca=files.ca))
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await ask(port, UpstreamTLS(ca=files.ca), "other.test")
        assert await ask(port, UpstreamTLS(ca=files.ca, server_name="app.test"))
    async with upstream(server_context(files, "127.0.0.1")) as port:
        assert await ask(port, UpstreamTLS(ca=files.ca))


async def test_the_name_is_sent(files: Files) -> None:
    asked = []
    context = server_context(files, "app.test")
    context.sni_callback = lambda _, name, __: asked.append(name)
    async with upstream(context) as port:
        await ask(port, UpstreamTLS(ca=files.ca), "app.test.")
        await ask(port, UpstreamTLS(verify=False, server_name="named.test"))
    assert asked == ["app.test", "named.test"]


async def test_the_gateway_shows_its_certificate(files: Files) -> None:
    context = server_context(files, "app.test")
    context.verify_mode = ssl.CERT_REQUIRED
    files.authority.configure_trust(context)
    identity = files.issue("gateway", "gateway.test")
    async with upstream(context) as port:
        shown = UpstreamTLS(ca=files.ca, cert=identity.cert, key=identity.key)
        assert "gateway.test" in await ask(port, shown, "app.test")
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            assert not await ask(port, UpstreamTLS(ca=files.ca), "app.test")


def test_certificate_and_key_in_one_file(files: Files) -> None:
    identity = files.issue("gateway", "gateway.test")
    both = files.folder / "both.pem"
    both.write_bytes(Path(identity.cert).read_bytes() + Path(identity.key).read_bytes())
    client_context(UpstreamTLS(ca=files.ca, cert=str(both)))


@pytest.mark.parametrize(("clean", "expected"), [(True, ["eof", "lost"]), (False, ["lost"])])
async def test_a_cut_is_told_from_an_end(files: Files, clean: bool, expected: list[str]) -> None:
    """A body that ends at close is complete only with close_notify (RFC 9112 section 9.8)."""
    events: list[str] = []
    gone = asyncio.Event()

    class Watcher(asyncio.Protocol):
        def eof_received(self) -> None:
            events.append("eof")

        def connection_lost(self, error: Exception | None) -> None:
            events.append("lost")
            gone.set()

    def serve(listener: socket.socket, context: ssl.SSLContext) -> None:
        connection, _ = listener.accept()
        with connection, context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.send(b"body")
            if clean:
                with contextlib.suppress(OSError):
                    wrapped.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(asyncio.to_thread(serve, listener, server_context(files, "app.test")))
        await asyncio.get_running_loop().create_connection(
            Watcher,
            *listener.getsockname(),
            ssl=client_context(UpstreamTLS(ca=files.ca)),
            server_hostname="app.test",
        )
        await asyncio.wait_for(gone.wait(), 5)
        await serving
    assert events == expected


def test_a_context_is_built_once_for_a_setting(files: Files) -> None:
    assert client_context(None) is client_context(None)
    ca = files.ca
    context = client_context(UpstreamTLS(ca=ca))
    assert client_context(UpstreamTLS(ca=ca)) is context
    assert client_context(UpstreamTLS(ca=ca, verify=False)) is not context
    trustme.CA().cert_pem.write_to_path(ca)
    assert client_context(UpstreamTLS(ca=ca)) is not context, "the file has changed"


@pytest.mark.parametrize(
    ("setting", "path", "message"),
    [
        ({"ca": "/nowhere/ca.pem"}, "ca", "cannot read /nowhere/ca.pem: No such file or directory"),
        ({"ca": "{key}"}, "ca", "does not contain a valid certificate"),
        ({"cert": "/nowhere/c.pem", "key": "{key}"}, "cert", "cannot read /nowhere/c.pem"),
        ({"cert": "{cert}", "key": "{other}"}, "key", "does not match the certificate in"),
        ({"key": "{key}"}, "key", 'needs "cert" too'),
    ],
)
def test_a_bad_file_is_one_clear_line(files: Files, setting: dict[str, str], path: str, message: str) -> None:
    identity = files.issue("a", "a.test")
    places = {"cert": identity.cert, "key": identity.key, "other": files.issue("b", "b.test").key}
    tls = UpstreamTLS(**{key: value.format(**places) for key, value in setting.items()})
    with pytest.raises(ConfigError) as caught:
        client_context(tls, "upstreams.app.tls")
    (problem,) = caught.value.problems
    assert problem.path == f"upstreams.app.tls.{path}"
    assert message in problem.message
