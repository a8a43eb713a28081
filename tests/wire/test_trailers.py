"""Fields behind a body in chunks: passed on in both directions where they are asked for, and dropped elsewhere."""

import asyncio

import pytest
from wire.support import by_id, deliver, eventually, served

from fastgate.testing import Answer, CutShort, pieces, proxy_config, respond, start_gateway, wait_for

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
BODY = b"\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n"
TAKES = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: TE\r\nTE: trailers\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
PASS = {"trailers": True}

# Names that no message may have behind its body, with their reason in RFC 9110 section 6.5.1.
FORBIDDEN = {
    "framing": ["Content-Length", "Transfer-Encoding", "Trailer"],
    "the connection": ["Connection", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade", "HTTP2-Settings"],
    "routing": ["Host", "Max-Forwards", "Forwarded", "X-Forwarded-For", "X-Forwarded-Anything", "X-Real-IP", "Via"],
    "authentication": [
        "Authorization", "Proxy-Authorization", "WWW-Authenticate", "Proxy-Authenticate", "Cookie", "Set-Cookie",
    ],
    "request modifiers": [
        "Cache-Control", "Expect", "Pragma", "Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Range",
        "Accept", "Accept-Encoding", "X-HTTP-Method-Override", "Origin", "Sec-Fetch-Site",
    ],
    "control data": ["Age", "Date", "Expires", "Location", "Retry-After", "Vary", "Warning", "Server"],
    "the content's format": ["Content-Type", "Content-Encoding", "Content-Range", "Content-Disposition"],
    "what the gateway says": ["X-Request-Id", "Access-Control-Allow-Origin", "Strict-Transport-Security", "Proxy"],
}  # fmt: skip
PASSED = [("Grpc-Status", "0"), ("grpc-message", "all right"), ("Server-Timing", "db;dur=1"), ("ETag", '"1"')]


def lines(*pairs: tuple[str, str]) -> bytes:
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in pairs) + b"\r\n"


async def test_trailers_of_a_response(stand) -> None:
    """HTTP/1.1 forwards response trailers to clients that sent `TE: trailers`"""
    client = await stand.start()
    stand.upstream.script(Answer(CHUNKED + b"Trailer: X-Sum, Content-Length,x-b\r\n" + BODY + lines(*PASSED)))
    response = await served(client, TAKES)
    assert (response.body, response.trailers.pairs) == (b"hello!", PASSED)
    assert response.fields["trailer"] == "X-Sum, x-b"
    request = stand.upstream.requests[0]
    assert (request.fields["te"], request.fields["connection"]) == ("trailers", "TE")
    await served(client, TAKES)


async def test_trailers_of_a_response_byte_by_byte(stand) -> None:
    client = await stand.start()
    stand.upstream.script(Answer(pieces(CHUNKED + BODY + lines(*PASSED))))
    response = await served(client, TAKES)
    assert (response.body, response.trailers.pairs) == (b"hello!", PASSED)


@pytest.mark.parametrize(
    "request_bytes",
    **by_id(
        {
            "no TE": b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "another TE": b"GET / HTTP/1.1\r\nHost: h\r\nTE: gzip, trailersx\r\n\r\n",
            "HTTP/1.0": b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTE: trailers\r\n\r\n",
        }
    ),
)
async def test_clients_that_did_not_ask_get_no_trailers(stand, request_bytes: bytes) -> None:
    """dropped otherwise, as today; HTTP/1.0 is not sent chunks, so it gets none"""
    client = await stand.start()
    stand.upstream.script(Answer(CHUNKED + b"Trailer: Grpc-Status\r\n" + BODY + lines(*PASSED)))
    response = await client.request(request_bytes)
    assert (response.body, response.trailers.pairs) == (b"hello!", [])
    assert "trailer" not in response.fields
    assert "te" not in stand.upstream.requests[0].fields
    assert "connection" not in stand.upstream.requests[0].fields


@pytest.mark.parametrize("te", ["trailers", "gzip;q=0.5, Trailers", "\ttrailers ,x"])
async def test_how_a_client_asks(stand, te: str) -> None:
    client = await stand.start()
    stand.upstream.script(Answer(CHUNKED + BODY + lines(*PASSED)))
    response = await served(client, TAKES.replace(b"TE: trailers", f"TE: {te}".encode()))
    assert response.trailers.pairs == PASSED


async def test_head_and_304_have_no_trailers(stand) -> None:
    client = await stand.start()
    head = CHUNKED.replace(b"200 OK", b"304 Not Modified") + b"\r\n"
    stand.upstream.script(Answer(head))
    assert (await served(client, TAKES, 304)).trailers.pairs == []
    stand.upstream.script(Answer(CHUNKED + b"\r\n"))
    await client.send(TAKES.replace(b"GET", b"HEAD"))
    assert (await client.response("HEAD")).status == 200
    assert "te" not in stand.upstream.requests[1].fields


async def test_an_own_answer_has_no_trailers(stand) -> None:
    client = await stand.start(route={"max_body": 3, "buffer_request": True})
    response = await client.request(POST + b"TE: trailers\r\n" + BODY + lines(*PASSED))
    assert (response.status, response.trailers.pairs) == (413, [])


async def test_trailers_of_a_request(stand, delivery) -> None:
    """request trailers where the route sets `trailers = true`"""
    client = await stand.start(route=PASS)
    await deliver(client, POST + b"Trailer: Grpc-Status, Host\r\n" + BODY + lines(*PASSED), delivery)
    assert (await client.response()).status == 200
    request = stand.upstream.requests[0]
    assert (request.body, request.trailers.pairs) == (b"hello!", PASSED)
    assert request.fields["trailer"] == "Grpc-Status"


async def test_trailers_of_a_request_without_the_key(stand, delivery) -> None:
    client = await stand.start()
    await deliver(client, POST + b"Trailer: Grpc-Status\r\n" + BODY + lines(*PASSED), delivery)
    assert (await client.response()).status == 200
    request = stand.upstream.requests[0]
    assert (request.body, request.trailers.pairs) == (b"hello!", [])
    assert "trailer" not in request.fields


@pytest.mark.parametrize("names", **by_id(FORBIDDEN))
async def test_what_never_stands_behind_a_body(stand, names: list[str]) -> None:
    """less the fields that RFC 9110 §6.5.1 forbids, in every spelling that becomes the same variable"""
    client = await stand.start(route=PASS, gateway={"field_names": "pass"})
    section = [(spelling, "1") for name in names for spelling in (name, name.lower(), name.replace("-", "_"))]
    section.insert(1, ("X-Kept", "yes"))
    stand.upstream.script(Answer(CHUNKED + BODY + lines(*section)))
    response = await served(client, POST + b"TE: trailers\r\n" + BODY + lines(*section))
    assert stand.upstream.requests[0].trailers.pairs == [("X-Kept", "yes")]
    assert response.trailers.pairs == [("X-Kept", "yes")]


async def test_digests_stand_behind_the_body_that_they_are_of(stand) -> None:
    """RFC 9530 appendix A: a digest may be sent behind the body. Of a body that was changed it says nothing."""
    client = await stand.start(route=PASS)
    digest = [("Content-Digest", "sha-256=:x:"), ("X-B", "1")]
    stand.upstream.script(Answer(CHUNKED + BODY + lines(*digest)))
    response = await served(client, POST + b"TE: trailers\r\n" + BODY + lines(*digest))
    assert (stand.upstream.requests[0].trailers.pairs, response.trailers.pairs) == (digest, digest)


async def test_a_filter_keeps_trailers_but_digests(stand) -> None:
    client = await stand.start(route={"compression": {"min_size": 0, "types": ["text/plain"]}})
    head = CHUNKED + b"Content-Type: text/plain\r\n"
    stand.upstream.script(Answer(head + BODY + lines(("Content-Digest", "sha-256=:x:"), ("X-B", "1"))))
    response = await served(client, TAKES.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: gzip\r\n\r\n"))
    assert (response.fields["content-encoding"], response.trailers.pairs) == ("gzip", [("X-B", "1")])


@pytest.mark.parametrize("route", **by_id({"set": {"set": {"x-a": "1"}}, "remove": {"remove": ["x-a"]}}))
async def test_what_a_route_edits_cannot_be_said_behind_the_body(stand, route) -> None:
    client = await stand.start(route=PASS | {"request_headers": route, "response_headers": route})
    section = lines(("X-A", "2"), ("X-B", "2"))
    stand.upstream.script(Answer(CHUNKED + BODY + section))
    response = await served(client, POST + b"TE: trailers\r\n" + BODY + section)
    assert stand.upstream.requests[0].trailers.pairs == [("X-B", "2")]
    assert response.trailers.pairs == [("X-B", "2")]


@pytest.mark.parametrize(("names", "passed"), [("drop", []), ("pass", [("X_A", "1"), ("x.b", "2")])])
async def test_odd_names_behind_a_body(stand, names: str, passed) -> None:
    client = await stand.start(route=PASS, gateway={"field_names": names})
    await served(client, POST + BODY + lines(("X_A", "1"), ("x.b", "2")))
    assert stand.upstream.requests[0].trailers.pairs == passed


async def test_odd_names_may_be_refused(stand) -> None:
    client = await stand.start(route=PASS, gateway={"field_names": "reject"})
    response = await client.request(POST + BODY + lines(("X_A", "1")))
    assert response.status == 400
    assert all(not request.complete for request in stand.upstream.requests)


async def test_fields_that_connection_names_end_here_behind_the_body_too(stand) -> None:
    client = await stand.start(route=PASS)
    await served(client, POST + b"Connection: X-A\r\nX-A: 1\r\n" + BODY + lines(("X-A", "1"), ("X-B", "2")))
    assert stand.upstream.requests[0].trailers.pairs == [("X-B", "2")]


async def test_more_fields_than_a_head_may_have(stand, delivery) -> None:
    """limits: size as the head's, count"""
    client = await stand.start(route=PASS, gateway={"max_headers": 20})
    await deliver(client, POST + BODY + lines(*[("X-A", "1")] * 21), delivery)
    response = await client.response()
    assert response.status == 400
    assert all(not request.complete for request in stand.upstream.requests)


async def test_a_response_with_more_fields_behind_it_than_a_head_may_have(stand) -> None:
    client = await stand.start()
    go = asyncio.Event()
    stand.upstream.script(Answer(CHUNKED + b"\r\n5\r\nhello\r\n", wait_for(go), b"0\r\n" + b"X: 1\r\n" * 257 + b"\r\n"))
    await client.send(TAKES)
    response = await client.head("GET")
    go.set()
    with pytest.raises(CutShort):
        await client.body(response)


async def test_a_buffered_request_takes_its_trailers_along(stand) -> None:
    """Its length is known by then, but only chunks have something behind them."""
    client = await stand.start(route=PASS | {"buffer_request": True})
    await client.send_pieces(POST + BODY + lines(*PASSED))
    assert (await client.response()).status == 200
    request = stand.upstream.requests[0]
    assert (request.body, request.trailers.pairs) == (b"hello!", PASSED)
    assert request.fields["transfer-encoding"] == "chunked"
    await client.send_pieces(POST + BODY + b"\r\n")
    assert (await client.response()).status == 200
    assert stand.upstream.requests[1].fields["content-length"] == "6"


@pytest.mark.parametrize("last", [respond(status=503), CHUNKED.replace(b"200 OK", b"503 Busy") + BODY + b"\r\n"])
async def test_trailers_belong_to_the_answer_that_the_client_gets(stand, last) -> None:
    """An answer that is kept for want of a better one keeps its own; those of one that was dropped are gone."""
    client = await stand.start(
        route=PASS | {"retry": {"attempts": 2, "on": ["5xx"], "backoff": 0.001, "non_idempotent": True}}
    )
    first = CHUNKED.replace(b"200 OK", b"503 Busy") + BODY + lines(("X-Try", "1"))
    stand.upstream.script(Answer(pieces(first)), Answer(last))
    response = await client.request(POST + b"TE: trailers\r\n" + BODY + lines(*PASSED))
    assert (response.status, response.trailers.pairs) == (503, [])
    assert [request.trailers.pairs for request in stand.upstream.requests] == [PASSED, PASSED]
    stand.upstream.script(Answer(respond(status=503)), Answer(pieces(first)))
    response = await client.request(POST + b"TE: trailers\r\n" + BODY + b"\r\n")
    assert (response.status, response.trailers.pairs) == (503, [("X-Try", "1")])


async def test_a_mirror_gets_the_trailers_of_its_request(stand) -> None:
    stand.upstream, shadow = await stand.new_upstream(), await stand.new_upstream()
    config = proxy_config(stand.upstream.port, route=PASS | {"mirror": {"upstream": "shadow"}})
    config["upstreams"]["shadow"] = {"targets": [f"127.0.0.1:{shadow.port}"]}
    stand.gateway = await stand.stack.enter_async_context(start_gateway(config))
    for send in ("send", "send_pieces"):
        client = await stand.client()
        await getattr(client, send)(POST + BODY + lines(*PASSED))
        assert (await client.response()).status == 200
        await eventually(lambda: shadow.requests and shadow.requests[-1].complete)
        assert shadow.requests.pop().trailers.pairs == PASSED
        assert stand.upstream.requests.pop().trailers.pairs == PASSED
