"""TLS on both sides of a running gateway."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from tls.authorities import Files

from fastgate.config import ConfigError
from fastgate.gateway.tls import ServerTLS
from fastgate.testing import RawClient, RecordingUpstream, gateway_to

GET = b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def trusting(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    files.authority.configure_trust(context)
    return context


def serving(files: Files, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    files.authority.issue_cert(*names).configure_cert(context)
    return context


def listener(files: Files, **settings: Any) -> dict[str, Any]:
    certificates = [files.issue("a", "a.test"), files.issue("b", "*.b.test")]
    listed = [{"cert": each.cert, "key": each.key} for each in certificates]
    return {"tls": {"certificates": listed, **settings}}


async def test_each_name_gets_its_certificate(files: Files) -> None:
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=listener(files)) as gateway:
        assert gateway.url.startswith("https://")
        for name in ("a.test", "www.b.test"):
            async with RawClient(gateway.port, tls=trusting(files), server_name=name) as client:
                assert (await client.request(GET % name.encode())).status == 200
        assert upstream.requests[0].fields["x-forwarded-proto"] == "https"


async def test_without_client_auth_any_host_may_be_asked_for(files: Files) -> None:
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=listener(files)) as gateway:
        async with RawClient(gateway.port, tls=trusting(files), server_name="a.test") as client:
            assert (await client.request(GET % b"www.b.test")).status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"a.test", 200), (b"A.test:443", 200), (b"a.test.", 200), (b"A.TEST.:8443", 200), (b"a.test:", 200),
        (b"www.b.test", 421), (b"other.test", 421), (b"a.test.b", 421), (b"b.test.", 421), (b"xa.test", 421),
    ],
)
async def test_with_client_auth_the_host_is_the_name_of_the_handshake(files: Files, host: bytes, status: int) -> None:
    settings = listener(files, client_auth="optional", client_ca=files.ca)
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=settings) as gateway:
        async with RawClient(gateway.port, tls=trusting(files), server_name="a.test") as client:
            assert (await client.request(GET % host)).status == status
    assert len(upstream.requests) == (status == 200)


async def test_a_required_client_certificate(files: Files) -> None:
    settings = listener(files, client_auth="required", client_ca=files.ca)
    known = trusting(files)
    files.authority.issue_cert("client.test").configure_cert(known)
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=settings) as gateway:
        async with RawClient(gateway.port, tls=known, server_name="a.test") as client:
            assert (await client.request(GET % b"a.test")).status == 200
        with pytest.raises((OSError, AssertionError, EOFError)):
            async with RawClient(gateway.port, tls=trusting(files), server_name="a.test") as client:
                await client.request(GET % b"a.test")
    assert len(upstream.requests) == 1


async def test_a_renewed_certificate_is_picked_up(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, replaced = asyncio.get_running_loop(), asyncio.Event()
    reload = ServerTLS.reload
    monkeypatch.setattr(ServerTLS.watch, "__defaults__", (0.01,))
    monkeypatch.setattr(ServerTLS, "reload", lambda tls: (reload(tls), loop.call_soon_threadsafe(replaced.set)))
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=listener(files)) as gateway:
        async with RawClient(gateway.port, tls=trusting(files), server_name="a.test") as old:
            files.issue("a", "a.test", "new.test")
            await asyncio.wait_for(replaced.wait(), 5)
            async with RawClient(gateway.port, tls=trusting(files), server_name="new.test") as new:
                assert (await new.request(GET % b"new.test")).status == 200
            assert (await old.request(GET % b"a.test")).status == 200, "open connections stay"


async def test_a_bad_certificate_keeps_the_gateway_from_starting(files: Files) -> None:
    settings = listener(files)
    files.spoil("b.pem")
    fault = r"gateway\.tls\.certificates\[1\]\.cert: .* does not contain a PEM certificate"
    with pytest.raises(ConfigError, match=fault):
        async with gateway_to(1, gateway=settings):
            pass


# --- towards upstreams ---


async def status_of(files: Files, context: ssl.SSLContext, tls: dict[str, Any] | None, host: str = "localhost") -> int:
    async with RecordingUpstream(tls=context) as upstream:
        settings = {} if tls is None else {"tls": tls}
        async with gateway_to(f"https://{host}:{upstream.port}", upstream=settings) as gateway:
            async with RawClient(gateway.port) as client:
                return (await client.request(GET % b"x")).status


async def test_an_upstream_is_verified_by_default(files: Files) -> None:
    context = serving(files, "localhost")
    assert await status_of(files, context, None) == 502
    assert await status_of(files, context, {"verify": False}) == 200
    assert await status_of(files, context, {"ca": files.ca}) == 200


async def test_another_authority_is_refused(files: Files, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert await status_of(files, serving(files, "localhost"), {"ca": Files(tmp_path / "other").ca}) == 502


async def test_the_name_of_the_upstream(files: Files) -> None:
    context = serving(files, "app.test")
    assert await status_of(files, context, {"ca": files.ca}) == 502
    assert await status_of(files, context, {"ca": files.ca, "server_name": "app.test"}) == 200
    assert await status_of(files, serving(files, "127.0.0.1"), {"ca": files.ca}, "127.0.0.1") == 200


async def test_the_gateway_shows_its_certificate(files: Files) -> None:
    context = serving(files, "localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    files.authority.configure_trust(context)
    identity = files.issue("gateway", "gateway.test")
    shown = {"ca": files.ca, "cert": identity.cert, "key": identity.key}
    assert await status_of(files, context, shown) == 200
    assert await status_of(files, context, {"ca": files.ca}) == 502
