"""The rows of "Requests" about the request line and the header fields."""

import pytest
from wire.support import AFTER, GET, by_id, check_problem, deliver, head, refused, served

from fastgate.testing import RawClient


@pytest.mark.parametrize(
    "data",
    **by_id(
        {
            "no Host": b"GET / HTTP/1.1\r\n\r\n",
            "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "two equal Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "invalid Host: space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "invalid Host: list": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "invalid Host: slash": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "invalid Host: userinfo": b"GET / HTTP/1.1\r\nHost: me@a\r\n\r\n",
            "invalid Host: port": b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
            "invalid Host: open bracket": b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
            "invalid Host: non-ASCII": b"GET / HTTP/1.1\r\nHost: \xe4\r\n\r\n",
            "no Host with absolute form": b"GET http://a/ HTTP/1.1\r\n\r\n",
            "two Hosts in 1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        }
    ),
)
async def test_host(stand, delivery, data):
    """no Host, two Hosts, invalid Host (1.1) → 400"""
    await refused(stand, await stand.start(), data, 400, delivery)


@pytest.mark.parametrize("host", ["a", "a.example:8080", "127.0.0.1", "[::1]", "[::1]:80", "A_b-c.example", "a."])
async def test_host_that_is_valid(stand, host):
    client = await stand.start()
    await served(client, head(host=host))
    assert stand.upstream.requests[0].fields["x-forwarded-host"] == host


# Up to the offending byte; nothing behind it is sent, and the answer must come at once.
BARE = {
    "LF after the request line": b"GET / HTTP/1.1\n",
    "LF after a field": b"GET / HTTP/1.1\r\nHost: a\n",
    "LF inside a value": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\nc",
    "LF instead of the last line": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "CR inside the request line": b"GET /\rx",
    "CR after the request line": b"GET / HTTP/1.1\rX",
    "CR after a field": b"GET / HTTP/1.1\r\nHost: a\rX",
    "CR inside a value": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\rc",
    "CR CR LF": b"GET / HTTP/1.1\r\nHost: a\r\r",
}


@pytest.mark.parametrize("way", ["whole", "byte by byte"])
@pytest.mark.parametrize("data", **by_id(BARE))
async def test_bare_line_end_in_head_is_refused_as_soon_as_it_is_seen(stand, data, way):
    """bare LF or bare CR as line end, in head → 400, as soon as the byte is seen"""
    await refused(stand, await stand.start(gateway={"header_timeout": 60}), data, 400, way)


@pytest.mark.parametrize("data", **by_id(BARE))
async def test_bare_line_end_in_head_with_all_that_follows(stand, data):
    rest = b"\r\nHost: a\r\n\r\n"
    await refused(stand, await stand.start(), data + rest, 400, "with bytes after")


@pytest.mark.parametrize(
    "before",
    [b"\n", b"\r\r\n", b" ", b"\t", b"\r\n\r\n", b"\0", b"\r\n\n", b"\r\n ", b"\x16\x03\x01\x02\x00\x01", b"PRI"],
    ids=repr,
)
async def test_anything_before_the_request_line(stand, delivery, before):
    """anything but one CRLF before a request line → 400"""
    await refused(stand, await stand.start(), before + b" \r\n" * (before == b"PRI") + GET, 400, delivery)


async def test_one_crlf_before_the_request_line_is_accepted(stand):
    client = await stand.start()
    await served(client, b"\r\n" + GET)
    await client.send(b"\r\n" + GET)
    assert (await client.response()).status == 200
    assert [request.head.split(b"\r\n")[0] for request in stand.upstream.requests] == [b"GET /path?query HTTP/1.1"] * 2


@pytest.mark.parametrize(
    "line",
    **by_id(
        {
            "space before colon": b"A : b",
            "tab before colon": b"A\t: b",
            "space before the name": b" A: b",
            "obs-fold": b"A: b\r\n c",
            "obs-fold with tab": b"A: b\r\n\tc",
            "obs-fold after an empty value": b"A:\r\n b",
            "NUL in a value": b"A: b\0c",
            "control character in a value": b"A: b\x01c",
            "escape in a value": b"A: b\x1bc",
            "DEL in a value": b"A: b\x7fc",
            "NUL in a name": b"A\0: b",
            "empty field name": b": b",
            "no colon": b"A",
            "no colon, empty name": b" ",
            "separator in a name": b"A(: b",
            "non-ASCII in a name": b"\xc3\xa4: b",
        }
    ),
)
async def test_malformed_field(stand, delivery, line):
    """space before colon, obs-fold, NUL or control character in a value, empty field name → 400"""
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n"
    await refused(stand, await stand.start(), data, 400, delivery)


async def test_malformed_first_field(stand, delivery):
    await refused(stand, await stand.start(), b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, delivery)


async def test_fields_that_are_fine_pass_unchanged(stand, delivery):
    client = await stand.start(gateway={"field_names": "pass"})
    await deliver(
        client, head("Empty:", "Tab: a\tb", "Latin: \xe4\xff", "OWS: \t x \t ", "!#$%&'*+-.^`|~: 1"), delivery
    )
    assert (await client.response()).status == 200
    sent = [("Empty", ""), ("Tab", "a\tb"), ("Latin", "\xe4\xff"), ("OWS", "x"), ("!#$%&'*+-.^`|~", "1")]
    assert [pair for pair in stand.forwarded() if pair[0] != "_"] == sent


@pytest.mark.parametrize(
    ("line", "status"),
    **by_id(
        {
            "2.0": (b"GET / HTTP/2.0", 505),
            "0.9": (b"GET / HTTP/0.9", 505),
            "3.0": (b"GET / HTTP/3.0", 505),
            "none": (b"GET /", 400),
            "none, with a space": (b"GET / ", 400),
            "RTSP": (b"GET / RTSP/1.0", 505),
            "ICE": (b"GET / ICE/1.0", 505),
            "HTTPS": (b"GET / HTTPS/1.1", 505),
            "lower case": (b"GET / http/1.1", 505),
        }
    ),
)
async def test_version(stand, delivery, line, status):
    """version 2.0, 0.9, none, another protocol's name → 505 (400 where there is no version)"""
    await refused(stand, await stand.start(), line + b"\r\nHost: a\r\n\r\n", status, delivery)


@pytest.mark.parametrize(
    "version", ["HTTP/1", "HTTP/1.", "HTTP/11.1", "HTTP/1.10", "HTTP/1.1 ", "HTTP/ 1.1", "HTTP/1,1", "X"]
)
async def test_version_that_is_malformed(stand, delivery, version):
    client = await stand.start()
    await deliver(client, f"GET / {version}\r\nHost: a\r\n\r\n".encode(), delivery)
    response = await client.response()
    assert response.status in (400, 505)
    assert await client.wait_closed() == "eof"
    assert not stand.upstream.connections


@pytest.mark.parametrize("version", ["1.2", "1.5", "1.9"])
async def test_versions_read_as_1_1(stand, delivery, version):
    """1.2 to 1.9 are read as 1.1"""
    client = await stand.start()
    await deliver(client, head(version=version), delivery)
    response = await client.response()
    assert (response.status, response.version) == (200, "1.1")
    assert stand.upstream.requests[0].version == "1.1"
    await served(client, GET) if delivery != "with bytes after" else await client.response()


@pytest.mark.parametrize("method", ["G(T", 'G"T', "G/T", "G@T", "G[T", "G{T", "G\x7fT", "G\xe4T", "G:T", "G,T"])
async def test_method_that_is_not_a_token(stand, delivery, method):
    """method not a token → 400"""
    await refused(
        stand, await stand.start(), f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1"), 400, delivery
    )


@pytest.mark.parametrize("method", ["BREW", "get", "Get", "M-SEARCH", "PROPFIND", "X!#$%&'*+-.^_`|~09", "QUERY", "A"])
async def test_unknown_and_lower_case_methods_are_forwarded_as_they_are(stand, delivery, method):
    """unknown and lower-case tokens are forwarded as they are"""
    client = await stand.start()
    await deliver(client, head(method=method), delivery)
    assert (await client.response()).status == 200
    assert stand.upstream.requests[0].start == f"{method} / HTTP/1.1".encode()


@pytest.mark.parametrize("method", ["get", "Get", "GETT", "head"])
async def test_lower_case_methods_are_never_matched_as_get(stand, method):
    """never matched as GET"""
    client = await stand.start(route={"methods": ["GET"]})
    response = await client.request(head(method=method))
    check_problem(response, 405)
    assert {part.strip() for part in response.fields["allow"].split(",")} == {"GET", "HEAD"}
    assert not stand.upstream.connections


@pytest.mark.parametrize(
    "target",
    **by_id(
        {
            "fragment": b"/a#b",
            "backslash": b"/a\\b",
            "space": b"/a b",
            "two spaces before": b" /a",
            "space after": b"/a ",
            "tab": b"/a\tb",
            "control": b"/a\x01b",
            "DEL": b"/a\x7fb",
            "non-ASCII": b"/\xc3\xa4",
            "no slash": b"a",
            "query only": b"?a",
            "userinfo": b"http://me@a/",
            "userinfo with password": b"http://me:pw@a/",
            "scheme ftp": b"ftp://a/",
            "scheme file": b"file:///etc/passwd",
            "scheme javascript": b"javascript:alert(1)",
            "absolute form with no host": b"http:///a",
            "absolute form with a bad port": b"http://a:b/",
            "fragment in absolute form": b"http://a/b#c",
            "backslash in the query": b"/a?b\\c",
            "star for GET": b"*",
        }
    ),
)
async def test_target(stand, delivery, target):
    """target with fragment, `\\`, space, control or non-ASCII bytes; userinfo or a scheme other than http(s) → 400"""
    await refused(stand, await stand.start(), b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400, delivery)


@pytest.mark.parametrize(
    ("target", "path", "host"),
    **by_id(
        {
            "path and query": ("http://other.test/a?b=1", "/a?b=1", "other.test"),
            "port": ("http://other.test:81/a", "/a", "other.test:81"),
            "no path": ("http://other.test", "/", "other.test"),
            "query without path": ("http://other.test?b", "/?b", "other.test"),
            "scheme without case": ("HTTP://Other.test/", "/", "Other.test"),
            "dot segments": ("http://other.test/x/../a//b", "/a/b", "other.test"),
            "IPv6": ("http://[::1]:8/a", "/a", "[::1]:8"),
        }
    ),
)
async def test_absolute_form(stand, delivery, target, path, host):
    """absolute-form target: host and path come from the target"""
    client = await stand.start(route={"host_header": "client"})
    await deliver(client, head(target=target, host="ignored.test"), delivery)
    assert (await client.response()).status == 200
    request = stand.upstream.requests[0]
    assert (request.target, request.fields["host"].lower()) == (path, host.lower())
    assert request.fields["x-forwarded-host"].lower() == host.lower()


async def test_absolute_form_is_routed_by_its_own_host(stand):
    client = await stand.start(route={"hosts": ["good.test"]})
    check_problem(await client.request(head(target="http://bad.test/", host="good.test")), 404)
    await served(client, head(target="http://good.test/", host="bad.test"))


@pytest.mark.parametrize("target", ["example.test:443", "/", "*", "http://a/"])
async def test_connect(stand, target):
    """`CONNECT` → 405"""
    client = await stand.start()
    check_problem(await client.request(head(method="CONNECT", target=target), "GET"), 405)
    assert not stand.upstream.connections


async def test_trace(stand):
    """`TRACE` 405 unless a route names it"""
    client = await stand.start()
    check_problem(await client.request(head(method="TRACE")), 405)
    assert not stand.upstream.connections


async def test_trace_that_a_route_names(stand):
    client = await stand.start(route={"methods": ["TRACE"]})
    await served(client, head(method="TRACE"))
    assert stand.upstream.requests[0].method == "TRACE"


async def test_options_star(stand, delivery):
    """`OPTIONS *` 204 with Allow"""
    client = await stand.start(route={"methods": ["GET", "POST"]})
    await deliver(client, head(method="OPTIONS", target="*"), delivery)
    response = await client.response()
    assert response.status == 204
    assert {"GET", "HEAD", "POST"} <= {part.strip() for part in response.fields["allow"].split(",")}
    if delivery == "with bytes after":
        assert (await client.response()).status == 200
    else:
        assert not stand.upstream.connections
        await served(client, GET)


async def test_options_of_a_path_is_an_ordinary_request(stand):
    client = await stand.start()
    await served(client, head(method="OPTIONS", target="/a"))
    assert stand.upstream.requests[0].start == b"OPTIONS /a HTTP/1.1"


ODD = ("X_User: admin", "X.User: admin", "Content_Length: 5", "Keep: 1", "_: 2", "Transfer.Encoding: chunked")
SENT_HERE = ("X_Forwarded.For: 1.2.3.4", "X-Forwarded_Other: 1", "x.request-id: mine", "X_Request_Id: mine", "V_ia: 1")


@pytest.mark.parametrize(
    ("mode", "kept"),
    [(None, {"Keep"}), ("drop", {"Keep"}), ("pass", {"X_User", "X.User", "Keep", "_", "V_ia"})],
)
async def test_field_names(stand, delivery, mode, kept):
    """header names with anything but letters, digits and `-` → dropped by default (`field_names`)"""
    client = await stand.start(gateway={"field_names": mode} if mode else None)
    await deliver(client, head(*ODD, *SENT_HERE), delivery)
    assert (await client.response()).status == 200
    assert {name for name, _ in stand.forwarded()} == kept


@pytest.mark.parametrize("name", ["X_User", "X.User", "X~User", "a!"])
async def test_field_names_reject(stand, delivery, name):
    client = await stand.start(gateway={"field_names": "reject"})
    await deliver(client, head(f"{name}: admin"), delivery)
    check_problem(await client.response(), 400)
    assert all(request.target == "/after" for request in stand.upstream.requests)


@pytest.mark.parametrize("name", ["x-trace", "X_Trace"])
async def test_no_spelling_of_the_request_id_passes(stand, delivery, name):
    client = await stand.start(gateway={"field_names": "pass", "request_id": name})
    await deliver(client, head("X_Trace: a", "x.trace: b", "X-Trace: c"), delivery)
    assert (await client.response()).status == 200
    (sent,) = [value for given, value in stand.upstream.requests[0].fields.pairs if "trace" in given.lower()]
    assert len(sent) == 32


@pytest.mark.parametrize("mode", ["drop", "pass"])
async def test_proxy_is_never_forwarded(stand, mode):
    """`Proxy` → never forwarded"""
    client = await stand.start(gateway={"field_names": mode})
    await served(client, head("Proxy: http://evil.test", "PROXY: b", "Proxy-Other: 1"))
    assert stand.forwarded() == [("Proxy-Other", "1")]


LIMITS = {"max_header_bytes": 2048, "max_headers": 20}


@pytest.mark.parametrize("way", ["whole", "byte by byte"])
@pytest.mark.parametrize(
    ("data", "status"),
    **by_id(
        {
            "one long field": (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 2048, 431),
            "a long name": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"b" * 2048, 431),
            "many bytes": (
                b"GET / HTTP/1.1\r\nHost: a\r\n"
                + b"Field: 0123456789012345678901234567890123456789012345678901234567\r\n" * 10 * 3,
                431,
            ),
            "many fields": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 20 + b"A:", 431),
        }
    ),
)
async def test_head_too_large(stand, data, status, way):
    """head over `max_header_bytes` or `max_headers` → 431 before the head is complete"""
    await refused(stand, await stand.start(gateway={**LIMITS, "header_timeout": 60}), data, status, way)


async def test_head_just_small_enough(stand):
    client = await stand.start(gateway=LIMITS)
    await served(client, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 19 + b"\r\n")
    start = b"GET / HTTP/1.1\r\nHost: a\r\nA: "
    await served(client, start + b"b" * (2048 - len(start) - 4) + b"\r\n\r\n")
    # Whether the empty line counts is not said.
    await refused_later(client, start + b"b" * (2053 - len(start) - 4) + b"\r\n\r\n", 431)


async def refused_later(client: RawClient, data: bytes, status: int):
    check_problem(await client.request(data), status)
    assert await client.wait_closed() == "eof"


async def test_target_too_long(stand):
    """target over 8 KB: 414, before the head is complete"""
    client = await stand.start(gateway={"header_timeout": 60})
    await served(client, head(target="/" + "a" * 8191))
    await refused_later(client, head(target="/" + "a" * 8192), 414)
    assert len(stand.upstream.requests) == 1


@pytest.mark.parametrize("way", ["whole", "byte by byte"])
async def test_target_too_long_with_no_end(stand, way):
    await refused(stand, await stand.start(gateway={"header_timeout": 60}), b"GET /" + b"a" * 9000, 414, way)


async def test_default_limits(stand):
    client = await stand.start()
    await served(client, head(*[f"A{number}: b" for number in range(99)]))
    await refused_later(client, head(*[f"A{number}: b" for number in range(100)]), 431)
    client = await stand.client()
    await served(client, head("A: " + "b" * 32000))
    await refused_later(client, head("A: " + "b" * 32768), 431)


@pytest.mark.parametrize("keep_alive", [False, True], ids=["close", "keep-alive"])
async def test_http_1_0(stand, delivery, keep_alive):
    """HTTP/1.0 → served; close unless keep-alive is asked"""
    client = await stand.start()
    lines = ["Connection: keep-alive"] if keep_alive else []
    await deliver(client, head(*lines, version="1.0", host=None), delivery)
    response = await client.response()
    assert (response.status, response.body) == (200, b"ok")
    request = stand.upstream.requests[0]
    assert request.version == "1.1"
    assert "connection" not in request.fields or request.fields["connection"] == "keep-alive"
    if keep_alive:
        assert response.fields["connection"].lower() == "keep-alive"
        if delivery == "with bytes after":
            assert (await client.response()).status == 200
        else:
            assert (await client.request(AFTER)).status == 200
    else:
        assert await client.wait_closed() == "eof"
        assert len(stand.upstream.requests) == 1


@pytest.mark.parametrize("token", ["close", "Close", "x-thing, close"])
async def test_connection_close_is_obeyed(stand, delivery, token):
    client = await stand.start()
    await deliver(client, head(f"Connection: {token}"), delivery)
    response = await client.response()
    assert (response.status, response.fields["connection"]) == (200, "close")
    assert await client.wait_closed() == "eof"
    assert len(stand.upstream.requests) == 1
