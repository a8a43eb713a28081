"""TLS on both ends of the harness, with and without a clean end."""

import ssl

import pytest

from fastgate.testing import Answer, CutShort, RawClient, RecordingUpstream, UpstreamExchange, close

trustme = pytest.importorskip("trustme")

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def contexts():
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.test").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def test_requests_over_tls(contexts):
    server, trust = contexts
    async with RecordingUpstream(tls=server) as upstream:
        async with RawClient(upstream.port, tls=trust, server_name="example.test") as client:
            assert (await client.request(GET)).body == b"ok"
            assert client.wire.tls is not None
        with pytest.raises(ssl.SSLCertVerificationError):
            await RawClient(upstream.port, tls=trust, server_name="other.test").open()


async def test_the_end_without_close_notify_is_not_clean(contexts):
    server, trust = contexts

    async def close_cleanly(exchange: UpstreamExchange) -> None:
        await exchange.wire.close_tls()
        exchange.wire.close()

    async with RecordingUpstream(tls=server) as upstream:
        upstream.script(
            Answer(b"HTTP/1.1 200 OK\r\n\r\nabc", close_cleanly), Answer(b"HTTP/1.1 200 OK\r\n\r\nabc", close())
        )
        async with RawClient(upstream.port, tls=trust, server_name="example.test") as client:
            assert (await client.request(GET)).body == b"abc"
        async with RawClient(upstream.port, tls=trust, server_name="example.test") as client:
            with pytest.raises(CutShort):
                await client.request(GET)
