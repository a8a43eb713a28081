"""Why a message is refused: each rule has its own word in the access log, and one sentence where it is wanted.

A client is told the rule that its request broke; of an upstream's answer the log says it, and the client only that the
answer was not well-formed.
"""

import json
import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fastgate._core.exchange.causes import SENTENCES
from fastgate.testing import Answer, RawClient, RecordingUpstream, gateway_to

PAGE = Path(__file__).parents[2] / "docs" / "causes.md"
GET = "GET {} HTTP/1.1\r\nHost: h\r\n{}\r\n"
POST = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{}"


class Case(NamedTuple):
    """What is sent, the status, and words that the sentence has."""

    sent: str
    said: str
    status: int = 400
    gateway: dict[str, Any] = {}
    route: dict[str, Any] = {}


def get(lines: str = "", target: str = "/") -> str:
    return GET.format(target, lines)


REQUESTS = {
    "bare_lf": Case("GET / HTTP/1.1\nHost: h\n\n", "LF alone"),
    "bare_cr": Case("GET / HTTP/1.1\r\nHost: h\rX: 1\r\n\r\n", "not followed by LF"),
    "bad_character": Case(get("X: a\0b\r\n"), "control character"),
    "bad_start_line": Case("GET /\r\n\r\n", "three parts"),
    "folded_line": Case(get("X: 1\r\n 2\r\n"), "folded"),
    "space_before_colon": Case(get("X : 1\r\n"), "white space between the name"),
    "bad_field_name": Case(get("X Y: 1\r\n"), "does not begin with the name of a field"),
    "bad_length": Case(get("Content-Length: +1\r\n"), "at most 18 digits"),
    "two_lengths": Case(get("Content-Length: 1\r\nContent-Length: 1\r\n"), "more than one Content-Length"),
    "coding_in_http_1_0": Case("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0"),
    "bad_coding": Case(get("Transfer-Encoding: chunked, chunked\r\n"), "exactly one chunked"),
    "unknown_coding": Case(get("Transfer-Encoding: gzip, chunked\r\n"), "transfer coding", 501),
    "length_and_coding": Case(get("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), "both"),
    "bad_connection": Case(get("Connection: host\r\n"), "Connection names"),
    "head_too_large": Case(get(f"X: {'x' * 40_000}\r\n"), "too large", 431),
    "too_many_fields": Case(get("X: 1\r\n" * 200), "too many header fields", 431),
    "bad_chunk_size": Case(POST.format("z\r\nhello\r\n0\r\n\r\n"), "hexadecimal"),
    "bad_chunk_line": Case(POST.format("5 x\r\nhello\r\n0\r\n\r\n"), "chunk's size"),
    "bad_chunk_end": Case(POST.format("5\r\nhello!\r\n0\r\n\r\n"), "longer than announced"),
    "bad_trailer": Case(POST.format("0\r\nX Y: 1\r\n\r\n"), "after the last chunk"),
    "trailers_too_large": Case(POST.format(f"0\r\nX: {'x' * 40_000}\r\n\r\n"), "after the last chunk"),
    "tls_not_spoken": Case("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "does not speak TLS"),
    "proxy_not_spoken": Case("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + get(), "PROXY protocol"),
    "bad_method": Case("G@T / HTTP/1.1\r\nHost: h\r\n\r\n", "method"),
    "bad_target_character": Case(get(target="/k\xc3\xa4se"), "percent-encoded"),
    "bad_target": Case(get(target="*"), "request target"),
    "rejected_field_name": Case(get("X_Y: 1\r\n"), "letters, digits and hyphens", gateway={"field_names": "reject"}),
    "no_host": Case("GET / HTTP/1.1\r\n\r\n", "no Host"),
    "two_hosts": Case(get("Host: h\r\n"), "more than one Host"),
    "bad_host": Case("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "host is not a valid"),
    "bad_escape": Case(get(target="/%zz"), "two hexadecimal digits"),
    "encoded_nul": Case(get(target="/a%00"), "%00"),
    "encoded_backslash": Case(get(target="/users/CORP%5Cann"), "encoded backslash (%5C)"),
    "above_root": Case(get(target="/a/../.."), "above the root"),
    "hidden_dots": Case(get(target="/a/..;x/b"), "dot segment"),
    "bad_value": Case(
        get(target="/a%0Ab"), "header field",
        route={"path": "/{rest}", "request_headers": {"set": {"x": "{param.rest}"}}},
    ),
    "bad_rewrite": Case(
        get(target="/x"), "normalised again", route={"rewrite": {"pattern": "^/x", "to": "/../y"}},
    ),
    "ambiguous_path": Case(get(target="/open;x/a"), "", status=200),
    "bad_version": Case("GET / HTTP/2.0\r\nHost: h\r\n\r\n", "HTTP/1.x", 505),
    "target_too_long": Case(get(target="/" + "x" * 9000), "too long", 414),
    "bad_expectation": Case(get("Expect: 200-ok\r\n"), "100-continue", 417),
}
RESPONSES = {
    "response_bare_lf": "HTTP/1.1 200 OK\nX: 1\n\n",
    "response_bare_cr": "HTTP/1.1 200 OK\r\nX: 1\rY: 2\r\n\r\n",
    "response_bad_character": "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
    "response_bad_start_line": "HTTP/2 200\r\n\r\n",
    "response_folded_line": "HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n",
    "response_space_before_colon": "HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
    "response_bad_field_name": "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "response_bad_length": "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    "response_two_lengths": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "response_coding_in_http_1_0": "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "response_bad_coding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    "response_unknown_coding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "response_length_and_coding": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "response_bad_connection": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: content-length\r\n\r\n",
    "response_head_too_large": f"HTTP/1.1 200 OK\r\nX: {'x' * 70_000}\r\n\r\n",
    "response_too_many_fields": "HTTP/1.1 200 OK\r\n" + "X: 1\r\n" * 300 + "\r\n",
    "response_bad_chunk_size": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
    "response_bad_chunk_line": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 x\r\n",
    "response_bad_chunk_end": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
    "response_bad_trailer": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n: 1\r\n\r\n",
    "response_trailers_too_large": (
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: {'x' * 70_000}\r\n\r\n"
    ),
    "response_bad_switch": "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
}
# What only the second parser would refuse.
GENERAL = {"bad_request", "bad_response"}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("word", REQUESTS)
async def test_what_is_said_of_a_request(tmp_path: Path, word: str, pieces: bool) -> None:
    case = REQUESTS[word]
    log = tmp_path / "access.log"
    gateway = {"access_log": {"path": str(log)}, **case.gateway}
    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, gateway=gateway, route=case.route) as running:
            async with RawClient(running.port) as client:
                data = case.sent.encode("latin-1")
                await (client.send_pieces(data) if pieces and len(data) < 2000 else client.send(data))
                response = await client.response()
        assert response.status == case.status, response.body
        if case.status == 200:
            return
        problem = json.loads(response.body)
        assert case.said in problem["detail"]
        assert problem["detail"] == SENTENCES[word]
        assert all(not request.complete for request in upstream.requests)
    (line,) = lines(log)
    assert line["end"] == word
    if word in ("folded_line", "bad_field_name", "two_lengths", "two_hosts", "encoded_backslash"):
        assert (line["method"], line["path"] is not None, line["host"]) == ("GET", True, "h")


@pytest.mark.parametrize("word", RESPONSES)
async def test_what_is_said_of_a_response(tmp_path: Path, caplog: pytest.LogCaptureFixture, word: str) -> None:
    log = tmp_path / "access.log"
    async with RecordingUpstream(default=Answer(RESPONSES[word].encode())) as upstream:
        with caplog.at_level(logging.WARNING):
            async with gateway_to(upstream.port, gateway={"access_log": {"path": str(log)}}) as gateway:
                async with RawClient(gateway.port) as client:
                    await client.send(get().encode())
                    assert (await client.response()).status == 502
        (line,) = lines(log)
        assert line["end"] == word
        (said,) = [each.message for each in caplog.records if "bad response from" in each.message]
        rule = SENTENCES.get(word.removeprefix("response_"), "")
        assert f"({word})" in said
        assert rule in said
        assert said.endswith(".")
        # One rule, no list of guesses.
        assert len(re.findall(r"[a-z)]\.(?: |\Z)", said.partition("): ")[2])) <= 1


@pytest.mark.parametrize(
    ("sent", "word"),
    [
        *((get(target=target), "bad_target") for target in ("a", "a/b", "?x", "h:80", "http:", ".", "x:/", "ftp://a/")),
        (get(target="http://a b.test/"), "bad_start_line"),
        (get(target="http://[::g]/"), "bad_host"),
        (POST.format("5\nhello\r\n0\r\n\r\n"), "bad_chunk_line"),
    ],
)
async def test_the_word_is_that_of_the_rule_whoever_finds_it_broken(tmp_path: Path, sent: str, word: str) -> None:
    log = tmp_path / "access.log"
    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, gateway={"access_log": {"path": str(log)}}) as running:
            async with RawClient(running.port) as client:
                await client.send(sent.encode())
                assert (await client.response()).status == 400
    (line,) = lines(log)
    assert line["end"] == word


async def test_the_client_is_not_told_which_rule_an_upstream_broke() -> None:
    said = {SENTENCES[word] for word in RESPONSES}
    assert said == {"The upstream's answer is not well-formed."}


def test_every_cause_of_a_400_and_of_a_bad_response_is_shown_here() -> None:
    found = {word for word in SENTENCES if word.startswith("response_")} - {"response_cut", "response_too_large"}
    assert found == {*RESPONSES}
    sentences = [SENTENCES[word] for word in REQUESTS]
    assert len({*sentences}) == len(sentences)


# -- the page


def test_the_page_has_every_word_with_its_sentence() -> None:
    rows = re.findall(r"^\| `([a-z_0-9]+)` \| (\d+|as sent|-) \| (.*?) \|$", PAGE.read_text(), re.MULTILINE)
    page = {word: said for word, _, said in rows}
    assert len(page) == len(rows)
    assert set(SENTENCES) - set(page) == set()
    others = {*RESPONSES, *GENERAL, "idle_timeout", "response_cut", "stopped"}
    told = {word: said for word, said in SENTENCES.items() if said and word not in others}
    assert {word: page[word] for word in told} == told
    for word in {*RESPONSES} - {"response_bad_switch"}:
        assert page[word] == SENTENCES[word.removeprefix("response_")]


# -- the encoded backslash

KEEP = {"encoded_backslash": "keep"}


async def status_of(target: str, **route: Any) -> tuple[int, list[str]]:
    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, route=route) as gateway, RawClient(gateway.port) as client:
            response = await client.request(get(target=target).encode())
            return response.status, [request.target for request in upstream.requests]


@pytest.mark.parametrize(
    ("target", "forwarded"),
    [
        ("/users/CORP%5Cann", "/users/CORP%5Cann"), ("/users/CORP%5cann?a=%5c", "/users/CORP%5Cann?a=%5c"),
        ("/%5C", "/%5C"), ("/a%5C%5Cb/", "/a%5C%5Cb/"), ("//a%5Cb/../c%5Cd", "/c%5Cd"), ("/a%255Cb", "/a%255Cb"),
        ("/a%5C...", "/a%5C..."),
    ],
)
async def test_a_route_may_keep_it(target: str, forwarded: str) -> None:
    assert await status_of(target, **KEEP) == (200, [forwarded])
    assert await status_of(target) == ((400, []) if "%25" not in target else (200, [forwarded]))


@pytest.mark.parametrize(
    "target", ["/a/..%5Cb", "/a%5C..%5Cb", "/..%5c", "/a%5C..", "/a/.%5Cb", "/a%5C.;x", "/a/b\\c", "/%2e%2e%5cb"]
)
async def test_no_dot_segment_hides_behind_it(target: str) -> None:
    assert await status_of(target, **KEEP) == (400, [])


async def test_to_a_server_of_windows_it_is_a_slash(tmp_path: Path) -> None:
    """So a path that would be one of a stricter route there is refused."""
    from fastgate.testing import start_gateway

    async with RecordingUpstream() as upstream:
        config = {
            "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": str(tmp_path / "log")}},
            "routes": [
                {"name": "admin", "path": "/admin/*", "respond": {"status": 403}},
                {"name": "users", "path": "/users/{id}", "upstream": "u", **KEEP},
                {"name": "all", "path": "/*", "upstream": "u", **KEEP},
                {"name": "strict", "path": "/strict/*", "upstream": "u"},
            ],
            "upstreams": {"u": {"targets": [f"127.0.0.1:{upstream.port}"]}},
        }
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            for target, status in (
                ("/users/CORP%5Cann", 200), ("/admin%5Ckeys", 400), ("/x%5Cadmin", 200), ("/admin%2F%5Ckeys", 400),
                ("/%5Cadmin%5Ckeys", 400), ("/admin;a%5Ckeys", 400), ("/strict/a%5Cb", 400), ("/a%5Cb", 200),
            ):
                async with RawClient(gateway.port) as client:
                    assert (await client.request(get(target=target).encode())).status == status, target


async def test_paths_that_are_changed_on_the_way_keep_it() -> None:
    options = {**KEEP, "strip_prefix": "/api", "add_prefix": "/v2"}
    assert await status_of("/api/users/CORP%5Cann", **options) == (200, ["/v2/users/CORP%5Cann"])


async def test_without_a_route_it_is_refused_by_its_name() -> None:
    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, route={"path": "/x/*", **KEEP}) as gateway:
            async with RawClient(gateway.port) as client:
                response = await client.request(get(target="/y%5Cz").encode())
                assert response.status == 400
                assert "backslash" in json.loads(response.body)["detail"]
