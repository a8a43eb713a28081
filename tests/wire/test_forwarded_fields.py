"""What is forwarded: header fields, in both directions."""

import re

import pytest
from wire.support import ADDED, GET, by_id, check_problem, deliver, head, post, served

from fastgate.testing import Answer, respond

HOP_BY_HOP = [
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "TE: gzip, deflate",
    "Trailer: X-T",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAAQAAP",
    "Proxy-Authenticate: Basic",
    "Proxy-Authorization: Basic eA==",
]
FROM_PROXY = {"gateway": {"trusted_proxies": ["127.0.0.0/8"]}}


async def test_the_exact_bytes(stand, delivery):
    """The fields of the client come in its order and spelling, and nothing comes that is not said."""
    client = await stand.start()
    await deliver(client, head("b: 1", "A: 2", "b: 3", "cOOkie: x=y; z", "Accept: */*", target="/x?y"), delivery)
    assert (await client.response()).status == 200
    request = stand.upstream.requests[0]
    assert request.start == b"GET /x?y HTTP/1.1"
    assert stand.forwarded() == [("b", "1"), ("A", "2"), ("b", "3"), ("cOOkie", "x=y; z"), ("Accept", "*/*")]
    assert set(request.fields.names) <= ADDED | {"host", "b", "a", "cookie", "accept", "connection"}
    assert len(request.fields.get_all("host")) == 1


@pytest.mark.parametrize("line", HOP_BY_HOP)
async def test_hop_by_hop_fields_of_requests(stand, delivery, line):
    """Hop-by-hop fields are removed in both directions"""
    client = await stand.start()
    await deliver(client, head(line, "X-End: 1"), delivery)
    assert (await client.response()).status == 200
    assert stand.forwarded() == [("X-End", "1")]


async def test_fields_that_connection_names_in_requests(stand, delivery):
    """`Connection` and every field it names"""
    client = await stand.start()
    lines = ["Connection: X-A, keep-alive,,  x-B", "X-A: 1", "x-b: 2", "X-C: 3", "Connection: X-D", "X-d: 4", "X-AA: 5"]
    await deliver(client, head(*lines), delivery)
    assert (await client.response()).status == 200
    assert [pair for pair in stand.forwarded() if pair[0].lower() != "connection"] == [("X-C", "3"), ("X-AA", "5")]
    assert "x-a" not in (stand.upstream.requests[0].fields.get("connection") or "").lower()


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "Content-Length",
        "Authorization",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "x-forwarded-port",
        "HOST",
    ],
)
async def test_connection_must_not_name_what_policies_depend_on(stand, delivery, name):
    """A field that `Connection` names but that a policy or framing depends on → 400"""
    client = await stand.start()
    data = head(f"Connection: close, {name}", "Content-Length: 0", "Authorization: x", method="POST")
    await deliver(client, data, delivery)
    check_problem(await client.response(), 400)
    assert not stand.upstream.connections


async def test_hop_by_hop_fields_of_responses(stand):
    client = await stand.start()
    lines = [line for line in HOP_BY_HOP if not line.startswith("Upgrade")]
    lines += ["Connection: X-A", "Connection: x-B, keep-alive", "X-A: 1", "X-B: 2", "X-C: 3", "Server: origin"]
    stand.upstream.script(respond(b"x", "200 Fine", *lines))
    response = await served(client, GET)
    assert (response.reason, response.body, response.fields["x-c"]) == ("Fine", b"x", "3")
    gone = {"x-a", "x-b", *(line.split(":")[0].lower() for line in HOP_BY_HOP)} - {"keep-alive"}
    assert not gone & set(response.fields.names)
    assert "timeout=5" not in str(response.fields)


async def test_response_fields_keep_order_and_spelling(stand):
    client = await stand.start()
    lines = ["Set-Cookie: a=1", "eTag: x", "Set-Cookie: b=2", "Empty:", "Latin: \xe4"]
    stand.upstream.script(respond(b"x", "200 OK", *lines))
    response = await served(client, GET)
    sent = [(name, value) for name, value in response.fields.pairs if name in ("Set-Cookie", "eTag", "Empty", "Latin")]
    assert sent == [("Set-Cookie", "a=1"), ("eTag", "x"), ("Set-Cookie", "b=2"), ("Empty", ""), ("Latin", "\xe4")]


SPOOFED = [
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.test",
    "X-Forwarded-Port: 443",
    "Forwarded: for=6.6.6.6",
    "x-forwarded-for: 7.7.7.7",
]


@pytest.mark.parametrize("lines", [[], SPOOFED], ids=["none sent", "spoofed"])
async def test_x_forwarded_from_untrusted_peers(stand, delivery, lines):
    """`X-Forwarded-For/-Proto/-Host/-Port`: from untrusted peers replaced (and `Forwarded` removed)"""
    client = await stand.start()
    await deliver(client, head(*lines), delivery)
    assert (await client.response()).status == 200
    fields = stand.upstream.requests[0].fields
    assert fields["x-forwarded-for"] == "127.0.0.1"
    assert fields["x-forwarded-proto"] == "http"
    assert fields["x-forwarded-host"] == "example.test"
    assert fields["x-forwarded-port"] == str(stand.gateway.port)
    assert "forwarded" not in fields


async def test_x_forwarded_from_trusted_peers(stand):
    """from trusted ones appended to"""
    client = await stand.start(**FROM_PROXY)
    await served(client, head("X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Forwarded-Host: front.test"))
    fields = stand.upstream.requests[0].fields
    assert ", ".join(fields.get_all("x-forwarded-for")) == "1.2.3.4, 127.0.0.1"
    assert fields.get_all("x-forwarded-proto")[0].startswith("https")
    assert fields.get_all("x-forwarded-host")[0].startswith("front.test")


async def test_x_forwarded_from_trusted_peers_in_several_fields(stand):
    client = await stand.start(**FROM_PROXY)
    await served(client, head("X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 5.6.7.8, 9.9.9.9"))
    fields = stand.upstream.requests[0].fields
    assert ", ".join(fields.get_all("x-forwarded-for")) == "1.2.3.4, 5.6.7.8, 9.9.9.9, 127.0.0.1"


@pytest.mark.parametrize(
    ("trusted", "sent", "address"),
    **by_id(
        {
            "none trusted": ([], ["1.2.3.4"], "127.0.0.1"),
            "the peer trusted": (["127.0.0.0/8"], ["1.2.3.4"], "1.2.3.4"),
            "the last untrusted": (["127.0.0.0/8"], ["6.6.6.6, 1.2.3.4, 127.0.0.9"], "1.2.3.4"),
            "over two fields": (["127.0.0.0/8", "10.0.0.0/8"], ["6.6.6.6, 1.2.3.4", "10.1.1.1"], "1.2.3.4"),
            "nothing sent": (["127.0.0.0/8"], [], "127.0.0.1"),
            "IPv6": (["127.0.0.0/8"], ["2001:db8::1"], "2001:db8::1"),
        }
    ),
)
async def test_client_ip(stand, trusted, sent, address):
    """Client IP = the last untrusted address"""
    route = {"request_headers": {"set": {"X-Client": "{client_ip}"}}}
    client = await stand.start(gateway={"trusted_proxies": trusted}, route=route)
    await served(client, head(*(f"X-Forwarded-For: {value}" for value in sent)))
    assert stand.upstream.requests[0].fields["x-client"] == address


async def test_forwarded(stand):
    """`Forwarded` is sent when `forwarded = true`"""
    client = await stand.start(gateway={"forwarded": True})
    await served(client, head("Forwarded: for=6.6.6.6"))
    value = stand.upstream.requests[0].fields["forwarded"]
    parts = dict(part.strip().split("=", 1) for part in value.split(";"))
    assert {name.lower() for name in parts} >= {"for", "proto", "host"}
    assert parts["for"].strip('"').split(":")[0] == "127.0.0.1"
    assert (parts["proto"], parts["host"].strip('"')) == ("http", "example.test")


async def test_forwarded_from_trusted_peers(stand):
    client = await stand.start(gateway={"forwarded": True, "trusted_proxies": ["127.0.0.0/8"]})
    await served(client, head("Forwarded: for=1.2.3.4;proto=https"))
    value = ", ".join(stand.upstream.requests[0].fields.get_all("forwarded"))
    assert value.startswith("for=1.2.3.4;proto=https,")
    assert "127.0.0.1" in value


@pytest.mark.parametrize("sent", [[], ["X-Request-Id: mine"]], ids=["none sent", "sent"])
async def test_request_id_is_generated(stand, sent):
    """`X-Request-Id` honoured from trusted peers only"""
    client = await stand.start()
    await served(client, head(*sent))
    await served(client, head(*sent))
    first, second = (request.fields["x-request-id"] for request in stand.upstream.requests)
    assert re.fullmatch(r"[0-9A-Za-z_-]{16,64}", first)
    assert len({first, second, "mine"}) == 3


async def test_request_id_of_a_trusted_peer(stand):
    client = await stand.start(route={"path": "/x"}, **FROM_PROXY)
    await served(client, head("X-Request-Id: mine-1", target="/x"))
    assert stand.upstream.requests[0].fields["x-request-id"] == "mine-1"
    assert check_problem(await client.request(head("X-Request-Id: mine-2")), 404)["request_id"] == "mine-2"


async def test_request_id_by_another_name_and_off(stand):
    client = await stand.start(gateway={"request_id": "x-trace"})
    await served(client, head("X-Request-Id: mine"))
    assert stand.upstream.requests[0].fields["x-trace"]
    assert stand.upstream.requests[0].fields["x-request-id"] == "mine"


async def test_request_id_off(stand):
    client = await stand.start(gateway={"request_id": ""})
    await served(client, GET)
    assert "x-request-id" not in stand.upstream.requests[0].fields


async def test_traceparent_is_passed_on(stand):
    """the sampled flag of `traceparent`: without tracing the field is the application's own"""
    client = await stand.start()
    value = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await served(client, head(f"traceparent: {value}"))
    assert stand.upstream.requests[0].fields["traceparent"] == value


async def test_no_via_by_default(stand):
    """`Via` only when `via = true`"""
    client = await stand.start()
    response = await served(client, GET)
    assert "via" not in stand.upstream.requests[0].fields
    assert "via" not in response.fields


async def test_via(stand):
    client = await stand.start(gateway={"via": True})
    stand.upstream.script(respond(b"", "200 OK", "Via: 1.0 origin"))
    response = await served(client, head("Via: 1.1 before"))
    sent = ", ".join(stand.upstream.requests[0].fields.get_all("via"))
    assert re.fullmatch(r"1\.1 before, 1\.1 \S+", sent)
    # RFC 9110 §7.6.3: a gateway may add its own to a response, and keeps what is there.
    assert re.fullmatch(r"1\.0 origin(, 1\.1 \S+)?", ", ".join(response.fields.get_all("via")))


@pytest.mark.parametrize(
    ("route", "expected"),
    **by_id(
        {
            "default": ({}, "127.0.0.1:{port}"),
            "upstream": ({"host_header": "upstream"}, "127.0.0.1:{port}"),
            "client": ({"host_header": "client"}, "example.test"),
            "a literal": ({"host_header": "api.internal"}, "api.internal"),
        }
    ),
)
async def test_host_header(stand, delivery, route, expected):
    """`Host` per `host_header`"""
    client = await stand.start(route=route)
    await deliver(client, GET, delivery)
    assert (await client.response()).status == 200
    assert stand.upstream.requests[0].fields["host"] == expected.format(port=stand.upstream.port)


async def test_a_1_0_request_without_host(stand):
    client = await stand.start(route={"host_header": "client"})
    assert (await client.request(b"GET / HTTP/1.0\r\n\r\n")).status == 200
    assert len(stand.upstream.requests[0].fields.get_all("host")) == 1


async def test_request_header_edits(stand, delivery):
    edits = {
        "set": {"X-Set": "new", "X-Ip": "{client_ip} {host} {path}"},
        "add": {"X-Add": ["2", "3"]},
        "remove": ["X-Gone"],
    }
    client = await stand.start(route={"request_headers": edits})
    await deliver(
        client, head("x-set: old", "X-SET: older", "X-Add: 1", "x-gone: 1", "X-Stay: 1", target="/a/../p"), delivery
    )
    assert (await client.response()).status == 200
    fields = stand.upstream.requests[0].fields
    assert (fields["x-set"], fields.get_all("x-add"), fields["x-stay"]) == ("new", ["1", "2", "3"], "1")
    assert fields["x-ip"] == "127.0.0.1 example.test /p"
    assert "x-gone" not in fields


async def test_response_header_edits(stand):
    edits = {"set": {"Server": "mine"}, "add": {"X-Add": "2"}, "remove": ["X-Powered-By"]}
    client = await stand.start(route={"response_headers": edits})
    stand.upstream.script(respond(b"", "200 OK", "Server: a", "server: b", "X-Add: 1", "X-Powered-By: php"))
    fields = (await served(client, GET)).fields
    assert (fields["server"], fields.get_all("x-add")) == ("mine", ["1", "2"])
    assert "x-powered-by" not in fields


@pytest.mark.parametrize("name", [None, "", "mine"])
async def test_server_header(stand, name):
    client = await stand.start(route={"path": "/x"}, gateway={} if name is None else {"server_header": name})
    response = await client.request(GET)
    assert response.fields.get("server") == {None: "fastgate", "": None, "mine": "mine"}[name]


async def test_edits_with_path_parameters(stand):
    edits = {"set": {"X-User": "{param.id}", "X-Id": "{request_id}"}}
    client = await stand.start(route={"path": "/users/{id}", "request_headers": edits})
    await served(client, head(target="/users/a%20b"))
    fields = stand.upstream.requests[0].fields
    assert (fields["x-user"], fields["x-id"]) == ("a b", fields["x-request-id"])


async def test_no_parameter_can_split_a_head(stand):
    client = await stand.start(route={"path": "/users/{id}", "request_headers": {"set": {"X-User": "{param.id}"}}})
    response = await client.request(head(target="/users/a%0d%0aX-Evil:%201"))
    assert response.status in (200, 400)
    for request in stand.upstream.requests:
        assert "x-evil" not in request.fields


async def test_keep_alive_on_both_sides(stand):
    client = await stand.start()
    for _ in range(5):
        await served(client, post(b"hello"))
    assert len(stand.upstream.connections) == 1
    assert len(stand.upstream.connections[0].requests) == 5


async def test_date_and_length_of_an_answer_of_our_own(stand):
    client = await stand.start(route={"path": "/x"})
    response = await client.request(GET)
    assert response.framing == "length"
    stand.upstream.script(Answer(respond(b"")))
    head_response = await client.request(head(method="HEAD"), "HEAD")
    assert (head_response.status, head_response.body) == (404, b"")
    await served(client, head(target="/x"))
