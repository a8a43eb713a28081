"""The access log of a running gateway: one line a request, with the right facts, whatever became of it."""

import datetime as dt
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from fastgate.config import ConfigError
from fastgate.testing import (
    Answer,
    RawClient,
    RecordingUpstream,
    gateway_to,
    pause,
    pieces,
    proxy_config,
    respond,
    stall,
    start_gateway,
)

PHASES = ["head_ms", "policies_ms", "connect_ms", "response_ms", "body_ms", "total_ms"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def logging_to(path: Path, **settings: Any) -> dict[str, Any]:
    return {"access_log": {"path": str(path), **settings}}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def exchange(log: Path, *requests: bytes, upstream: Answer | bytes | None = None, **route: Any) -> list[dict]:
    """The lines that these requests leave, sent one after the other on one connection."""
    async with RecordingUpstream() as server, gateway_to(server.port, gateway=logging_to(log), route=route) as gateway:
        if upstream is not None:
            server.default = upstream
        async with RawClient(gateway.port) as client:
            for request in requests:
                await client.request(request)
    return lines(log)


async def test_a_line_says_all_about_a_request(path: Path) -> None:
    before = dt.datetime.now(dt.UTC)
    request = (
        b"POST /a%2Fb/%7Ec?q=1&q=2 HTTP/1.1\r\nHost: Example.com:8080\r\nContent-Length: 5\r\n"
        b"User-Agent: tests/1.0\r\nReferer: http://from/here\r\n\r\nhello"
    )
    (line,) = await exchange(path, request)
    after = dt.datetime.now(dt.UTC)
    assert before - dt.timedelta(milliseconds=1) <= dt.datetime.fromisoformat(line.pop("time")) <= after
    assert re.fullmatch("[0-9a-f]{32}", line.pop("id"))
    assert re.fullmatch(r"127\.0\.0\.1:\d+", line.pop("upstream"))
    phases = [line.pop(phase) for phase in PHASES]
    assert all(phase >= 0 for phase in phases)
    assert sum(phases[:-1]) == pytest.approx(phases[-1], abs=0.002)
    assert line == {
        "client": "127.0.0.1",
        "method": "POST",
        "host": "Example.com:8080",
        "path": "/a%2Fb/~c",
        "query": "q=1&q=2",
        "version": "1.1",
        "status": 200,
        "bytes_in": 5,
        "bytes_out": 2,
        "route": "all",
        "identity": None,
        "attempts": 1,
        "cache": None,
        "end": "ok",
        "user_agent": "tests/1.0",
        "referer": "http://from/here",
    }


async def test_each_request_of_a_connection_has_its_line(path: Path) -> None:
    requests = [b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5)]
    found = await exchange(path, *requests)
    assert [line["path"] for line in found] == ["/0", "/1", "/2", "/3", "/4"]
    assert found[0]["connect_ms"] > 0
    assert [line["connect_ms"] for line in found[1:]] == [0] * 4, "the connection was there"
    assert len({line["id"] for line in found}) == 5


async def test_what_is_not_there_is_null(path: Path) -> None:
    (line,) = await exchange(path, b"GET / HTTP/1.0\r\n\r\n")
    assert line["version"] == "1.0"
    assert [line[key] for key in ("host", "query", "user_agent", "referer")] == [None] * 4


async def test_an_empty_query_is_not_none(path: Path) -> None:
    (line,) = await exchange(path, b"GET /? HTTP/1.1\r\nHost: x\r\n\r\n")
    assert line["query"] == ""


async def test_nothing_a_client_sends_breaks_a_line(path: Path) -> None:
    agent = b'"}\\\t{"status": 200, \xff\xc3\xa9\xe2\x82\xc2\x9b'
    request = b'GET /"\\?a="b HTTP/1.1\r\nHost: x\r\nUser-Agent: %b\r\n\r\n' % agent
    (line,) = await exchange(path, request.replace(b'/"\\', b"/%22"))
    assert line["user_agent"] == '"}\\\t{"status": 200, \xffé\xe2\x82\x9b'
    assert line["query"] == 'a="b'


async def test_phases_tell_where_the_time_went(path: Path) -> None:
    answer = Answer(pause(0.05), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", pause(0.1), b"ok")
    (line,) = await exchange(path, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", upstream=answer)
    assert 45 < line["response_ms"] < line["total_ms"]
    assert 90 < line["body_ms"] < line["total_ms"]
    assert line["head_ms"] < 40


async def test_bytes_of_a_stream_are_counted(path: Path) -> None:
    body = b"x" * 300_000
    answer = Answer(pieces(respond(body), 10_000))
    (line,) = await exchange(path, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", upstream=answer)
    assert line["bytes_out"] == len(body)


# --- how an exchange can end ---


@pytest.mark.parametrize(
    ("request_bytes", "status", "end", "known"),
    [
        (b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", 404, "no_route", True),
        (b"DELETE /all/x HTTP/1.1\r\nHost: x\r\n\r\n", 405, "no_method", True),
        (b"GET /all/x HTTP/1.1\r\n\r\n", 400, "no_host", True),
        (b"GET /all/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", 413, "body_too_large", True),
        (b"GET /all/x HTTP/2.0\r\nHost: x\r\n\r\n", 505, "bad_version", True),
        (b"nonsense\r\n\r\n", 400, "bad_start_line", False),
    ],
)
async def test_refusals(path: Path, request_bytes: bytes, status: int, end: str, known: bool) -> None:
    (line,) = await exchange(path, request_bytes, path="/all/*", methods=["GET"], max_body=1000)
    assert (line["status"], line["end"], line["attempts"], line["upstream"]) == (status, end, 0, None)
    assert (line["method"] is not None) == known
    assert line["bytes_out"] > 0
    assert line["response_ms"] is None


@pytest.mark.parametrize("form", ["json", "combined"])
async def test_long_targets_of_heads_that_are_refused(path: Path, form: str) -> None:
    """Their heads are not complete when they are logged, and each escaped byte takes up to six."""
    target = b"/" + b'"' * 8100
    refused = b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (target, b"x: y\r\n" * 200)
    async with RecordingUpstream() as server:
        async with gateway_to(server.port, gateway=logging_to(path, format=form)) as gateway:
            for _ in range(20):
                for request, status in ((refused, 431), (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200)):
                    async with RawClient(gateway.port) as client:
                        assert (await client.request(request)).status == status
    text = path.read_text(encoding="ascii")
    if form == "json":
        assert [line["path"] for line in lines(path)] == [target.decode(), "/"] * 20
    else:
        long = target.decode().replace('"', r"\x22")
        assert re.findall(r'"GET (\S+) HTTP/1\.1" (\d+) ', text) == [(long, "431"), ("/", "200")] * 20


async def test_an_upstream_that_is_not_there(path: Path) -> None:
    async with gateway_to(1, gateway=logging_to(path)) as gateway, RawClient(gateway.port) as client:
        assert (await client.request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).status == 502
    (line,) = lines(path)
    assert (line["status"], line["end"], line["attempts"]) == (502, "connect_failed", 2)
    assert line["upstream"] == "127.0.0.1:1"


async def test_an_upstream_that_says_nothing(path: Path) -> None:
    (line,) = await exchange(
        path, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", upstream=Answer(pause(10)), timeouts={"read": 0.05}
    )
    assert (line["status"], line["end"]) == (504, "read_timeout")
    assert line["response_ms"] is None
    assert line["total_ms"] > 40


async def test_a_client_that_leaves(path: Path) -> None:
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=logging_to(path)) as gateway:
        upstream.default = Answer(pause(10))
        async with RawClient(gateway.port) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await upstream.request()
        await until(lambda: path.stat().st_size > 0, 1.5)
    (line,) = lines(path)
    assert (line["status"], line["end"], line["bytes_out"]) == (499, "client_gone", 0)


# --- formats, sampling, files ---


async def test_the_combined_format(path: Path) -> None:
    request = b'GET /a?b="c HTTP/1.1\r\nHost: x\r\nUser-Agent: a "b" \\ \xe9\r\n\r\n'
    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, gateway=logging_to(path, format="combined")) as gateway:
            async with RawClient(gateway.port) as client:
                await client.request(request)
                await client.request(b"nonsense\r\n\r\n")
    good, bad = path.read_text(encoding="ascii").splitlines()
    time = r"\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]"
    expected = rf'127\.0\.0\.1 - - {time} "GET /a\?b=\\x22c HTTP/1\.1" 200 2 "-" "a \\x22b\\x22 \\x5c \\xe9"'
    found = re.fullmatch(expected, good)
    assert found is not None, good
    sent = dt.datetime.strptime(found[1], "%d/%b/%Y:%H:%M:%S %z")
    assert abs(dt.datetime.now(dt.UTC) - sent) < dt.timedelta(seconds=10)
    assert re.fullmatch(rf'127\.0\.0\.1 - - {time} "-" 400 \d+ "-" "-"', bad)


@asynccontextmanager
async def sampled(path: Path, sample: float) -> AsyncIterator[RawClient]:
    async with RecordingUpstream() as upstream:
        config = proxy_config(upstream.port, gateway=logging_to(path, sample=sample), route={"path": "/all/*"})
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            yield client


@pytest.mark.parametrize(("sample", "least", "most"), [(0, 0, 0), (0.3, 60, 120), (1, 300, 300)])
async def test_only_successes_are_sampled(path: Path, sample: float, least: int, most: int) -> None:
    """Of 300, a binomial of 0.3 lies outside 60 to 120 once in 10,000 times."""
    async with sampled(path, sample) as client:
        for _ in range(300):
            await client.request(b"GET /all/x HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(20):
            await client.request(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n")
    statuses = [line["status"] for line in lines(path)]
    assert least <= statuses.count(200) <= most
    assert statuses.count(404) == 20


async def test_lines_are_there_within_a_second_and_follow_a_rename(path: Path) -> None:
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=logging_to(path)) as gateway:
        async with RawClient(gateway.port) as client:
            await client.request(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: path.stat().st_size > 0, 1.5)
            moved = path.rename(path.with_suffix(".1"))
            gateway.reopen_logs()
            await until(path.exists, 1.5)
            await client.request(b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [line["path"] for line in lines(moved)] == ["/1"]
    assert [line["path"] for line in lines(path)] == ["/2"]


async def test_a_path_that_cannot_be_opened_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.access_log\.path: cannot open .*: Is a directory"):
        async with gateway_to(1, gateway=logging_to(tmp_path)):
            pass


async def test_what_a_stopping_gateway_cuts_is_not_the_clients_doing(path: Path) -> None:
    async with RecordingUpstream(default=Answer(stall())) as server:
        async with gateway_to(server.port, gateway=logging_to(path)) as gateway, RawClient(gateway.port) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await server.request(0)
            await gateway.close()
        assert gateway.metrics()["client_gone"] == 0
    (line,) = lines(path)
    assert (line["status"], line["end"]) == (503, "stopped")


@pytest.mark.parametrize("answer", [{"respond": {"body": "ok"}}, {"redirect": {"to": "/elsewhere"}}])
async def test_what_a_route_answers_by_itself_is_sampled_too(path: Path, answer: dict[str, Any]) -> None:
    config = proxy_config(1, gateway=logging_to(path, sample=0))
    config["routes"] = [{"name": "own", "path": "/*", **answer}]
    async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
        await client.request(b"GET /all/x HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.request(b"GET /all/x HTTP/1.1\r\nHost: \r\nHost: x\r\n\r\n")
    assert [line["status"] for line in lines(path)] == [400]
