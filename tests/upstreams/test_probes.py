"""Health probes: what is a success and what is not, when a verdict changes, and that nothing is left behind."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tls.authorities import Files

from fastgate.config import UpstreamTLS
from fastgate.testing import Answer, RecordingUpstream, close, half_close, pieces, reset, respond, stall, wait_for
from fastgate.upstreams.health_probes import Check, ProbedHealth, Prober, ProbeResult, ProbeTarget, probe
from fastgate.upstreams.tls import client_context

SOON = 0.005
LATE = 60.0


class Verdicts:
    """What a prober told, in order, and the prober."""

    def __init__(self, **options: int) -> None:
        self.changes: list[tuple[str, bool, str]] = []
        self._notice = asyncio.Event()
        self.prober = Prober(self.take, **options)

    def take(self, name: str, up: bool, reason: str) -> None:
        self.changes.append((name, up, reason))
        self._notice.set()

    async def wait_changes(self, count: int) -> list[tuple[str, bool, str]]:
        async with asyncio.timeout(5):
            while len(self.changes) < count:
                self._notice.clear()
                await self._notice.wait()
        return self.changes


@pytest.fixture
async def upstream() -> AsyncIterator[RecordingUpstream]:
    async with RecordingUpstream() as upstream:
        yield upstream


@pytest.fixture
async def verdicts() -> AsyncIterator[Verdicts]:
    verdicts = Verdicts()
    yield verdicts
    await verdicts.prober.stop()
    assert not [task for task in asyncio.all_tasks() if "_probe_on" in repr(task)]


def at(upstream: RecordingUpstream, **check: object) -> ProbeTarget:
    return ProbeTarget("127.0.0.1", upstream.port, Check(**{"interval": SOON, **check}))


# --- one probe -------------------------------------------------------------------------------------------------------


async def test_the_request(upstream: RecordingUpstream) -> None:
    result = await probe(at(upstream, path="/healthz"))
    assert result[:3] == (True, 200, "answered 200")
    assert 0 < result.latency < 5
    assert (
        upstream.requests[0].head
        == (
            f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{upstream.port}\r\n"
            "User-Agent: fastgate-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        ).encode()
    )
    # A clean end, although the upstream did not close by itself.
    assert await upstream.connections[0].wait_ended() == "eof"


async def test_host_and_fields_of_the_check(upstream: RecordingUpstream) -> None:
    target = at(upstream, headers={"user-agent": "mine", "X-Key": "1"})
    await probe(target._replace(authority="app.test"))
    await probe(target._replace(authority="app.test", check=target.check._replace(host="check.test")))
    for request, host in zip(upstream.requests, (b"app.test", b"check.test"), strict=True):
        assert request.head == (
            b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n"
            b"user-agent: mine\r\nAccept: */*\r\nConnection: close\r\nX-Key: 1\r\n\r\n"
        )


async def test_another_port(upstream: RecordingUpstream) -> None:
    target = ProbeTarget("127.0.0.1", 1, Check(port=upstream.port))
    assert (await probe(target)).success
    assert b"\r\nHost: 127.0.0.1:1\r\n" in upstream.requests[0].head


@pytest.mark.parametrize(
    ("accepted", "status", "reason"),
    [
        (("2xx", "3xx"), "200 OK", ""),
        (("2xx", "3xx"), "302 Found", ""),
        (("2xx", "3xx"), "503 Down", "503 is not 2xx or 3xx"),
        (("2xx", "3xx"), "404 None", "404 is not 2xx or 3xx"),
        (("204",), "204 None", ""),
        (("204",), "200 OK", "200 is not 204"),
        (("200", "204", "4xx"), "418 Tea", ""),
        (("200", "204", "4xx"), "301 Moved", "301 is not 200, 204 or 4xx"),
    ],
)
async def test_statuses(upstream: RecordingUpstream, accepted: tuple[str, ...], status: str, reason: str) -> None:
    upstream.script(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    result = await probe(at(upstream, status=accepted))
    assert result[:3] == (not reason, int(status[:3]), reason or f"answered {status[:3]}")
    assert await upstream.connections[0].wait_ended() == "eof"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MISSING = 'the body does not contain "all well"'


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([respond(b"so far all well here")], ""),
        ([pieces(respond(b"so far all well here"))], ""),
        ([CHUNKED + b"5\r\nall w\r\n3\r\nell\r\n", stall()], ""),
        ([b"HTTP/1.1 200 OK\r\n\r\nall well", stall()], ""),
        ([b"HTTP/1.0 200 OK\r\n\r\nall well", close()], ""),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nall well", close()], ""),
        ([respond(b"all is not well")], MISSING),
        ([respond(b"")], MISSING),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], MISSING),
        ([CHUNKED + b"5\r\nall w\r\n0\r\n\r\n"], MISSING),
        ([CHUNKED + b"5\r\nall w\r\n", close()], MISSING),
        ([b"HTTP/1.1 200 OK\r\n\r\nall w", half_close(), stall()], MISSING),
        ([respond(bytes(65536 - 8) + b"all well")], ""),
        ([respond(bytes(65536 - 7) + b"all well"), stall()], MISSING),
        ([b"HTTP/1.1 200 OK\r\nall well: yes\r\n\r\n"], "not a valid HTTP response: Invalid header token"),
        ([respond(b"all well", "500 No")], "500 is not 2xx or 3xx"),
    ],
)
async def test_bodies(upstream: RecordingUpstream, steps: list, reason: str) -> None:
    upstream.script(Answer(*steps))
    result = await probe(at(upstream, body="all well"))
    assert (result.success, result.reason) == (not reason, reason or "answered 200")


async def test_a_body_that_nobody_asked_for_is_not_waited_for(upstream: RecordingUpstream) -> None:
    upstream.script(Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", stall()))
    assert (await probe(at(upstream, timeout=LATE))).success


def endless(piece: bytes):
    async def step(exchange) -> None:
        while True:
            await exchange.send(piece)

    return step


@pytest.mark.parametrize(
    ("begin", "piece", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Again: " + b"x" * 1000 + b"\r\n", "the response head is larger than 64 KB"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 1000, "the response head is larger than 64 KB"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 50, "the response head is larger than 64 KB"),
        (CHUNKED, b"8\r\nall ill \r\n" * 50, MISSING),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"all ill " * 50, MISSING),
    ],
)
async def test_what_never_ends_is_left(upstream: RecordingUpstream, begin: bytes, piece: bytes, reason: str) -> None:
    upstream.script(Answer(begin, endless(piece)))
    result = await probe(at(upstream, body="all well", timeout=LATE))
    assert (result.success, result.reason) == (False, reason)
    await upstream.connections[0].over.wait()


async def test_interim_responses_are_passed_over(upstream: RecordingUpstream) -> None:
    upstream.script(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + respond(b"", "503 Down"))
    assert (await probe(at(upstream)))[:3] == (False, 503, "503 is not 2xx or 3xx")


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([stall()], "timeout after 0.05 s"),
        ([b"HTTP/1.1 200 OK\r\n", stall()], "timeout after 0.05 s"),
        ([pieces(respond(b"ok"), 1, 0.02)], "timeout after 0.05 s"),
        ([reset()], "connection reset"),
        ([b"HTTP/1.1 200 OK\r\n", reset()], "connection reset"),
        ([close()], "closed without a response"),
        ([half_close(), stall()], "closed without a response"),
        ([b"HTTP/1.1 200 OK\r\n", close()], "closed before the response was complete"),
        ([b"SSH-2.0-server\r\n"], "not a valid HTTP response: Expected HTTP/"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"], "not a valid HTTP response: "),
    ],
)
async def test_no_response(upstream: RecordingUpstream, steps: list, reason: str) -> None:
    upstream.script(Answer(*steps))
    result = await probe(at(upstream, timeout=0.05 if "timeout" in reason else 5.0))
    assert result[:2] == (False, 0)
    assert result.reason.startswith(reason)
    await asyncio.wait_for(upstream.connections[0].over.wait(), 5)


async def test_nobody_there(upstream: RecordingUpstream) -> None:
    target = at(upstream)
    upstream.stop_listening()
    assert (await probe(target))[:3] == (False, 0, "connection refused")
    assert (await probe(target._replace(check=Check(type="tcp"))))[:3] == (False, 0, "connection refused")


async def test_connecting_is_enough_for_tcp(upstream: RecordingUpstream) -> None:
    assert (await probe(at(upstream, type="tcp")))[:3] == (True, 0, "connected")
    connection = await upstream.connection()
    assert await connection.wait_ended() == "eof"
    assert connection.received == b""


@pytest.mark.parametrize("type", ["http", "tcp"])
async def test_unix_sockets(tmp_path: Path, type: str) -> None:
    path = str(tmp_path / "app.sock")
    target = ProbeTarget("", 0, Check(type=type), unix=path)
    assert (await probe(target))[:3] == (False, 0, "no such file or directory")
    async with RecordingUpstream(path) as upstream:
        assert (await probe(target)).success
        if type == "http":
            assert b"\r\nHost: localhost\r\n" in upstream.requests[0].head


class TLSFiles(Files):
    def server(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued = self.issue("server", *names, expired=expired)
        context.load_cert_chain(issued.cert, issued.key)
        return context


@pytest.fixture
def files(tmp_path: Path) -> TLSFiles:
    return TLSFiles(tmp_path)


@pytest.mark.parametrize("type", ["http", "tcp"])
@pytest.mark.parametrize(
    ("server_name", "expired", "trusted", "reason"),
    [
        ("app.test", False, True, ""),
        ("other.test", False, True, "TLS: Hostname mismatch, certificate is not valid for 'other.test'"),
        ("", False, True, "TLS: IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ("app.test", True, True, "TLS: certificate has expired"),
        ("app.test", False, False, "TLS: unable to get local issuer certificate"),
    ],
)
async def test_tls(files: TLSFiles, type: str, server_name: str, expired: bool, trusted: bool, reason: str) -> None:
    context = client_context(UpstreamTLS(ca=files.ca) if trusted else None)
    async with RecordingUpstream(tls=files.server("app.test", expired=expired)) as upstream:
        result = await probe(at(upstream, type=type)._replace(tls=context, server_name=server_name))
    assert (result.success, result.reason) == (not reason, reason or ("connected" if type == "tcp" else "answered 200"))


async def test_tls_where_none_is_spoken(files: TLSFiles, upstream: RecordingUpstream) -> None:
    async def greet(connection) -> None:
        await connection.wire.send(b"220 welcome\r\n")

    upstream.on_connect = greet
    result = await probe(at(upstream)._replace(tls=client_context(UpstreamTLS(verify=False))))
    assert result[:2] == (False, 0)
    assert result.reason.startswith("TLS: ")


async def test_a_handshake_that_hangs(files: TLSFiles, upstream: RecordingUpstream) -> None:
    upstream.pause_accepting()
    target = at(upstream, timeout=0.05)._replace(tls=client_context(UpstreamTLS(verify=False)))
    assert (await probe(target)).reason == "timeout after 0.05 s"


async def test_tls_over_a_unix_socket_without_a_name(files: TLSFiles, tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    async with RecordingUpstream(path, tls=files.server("app.test")) as upstream:
        target = ProbeTarget("", 0, Check(), unix=path, tls=client_context(UpstreamTLS(ca=files.ca)))
        nameless = await probe(target)
        assert nameless[:2] == (False, 0)
        assert nameless.reason == "TLS: the target has no host name to verify its certificate against"
        assert (await probe(target._replace(server_name="app.test"))).success
        assert len(upstream.requests) == 1


# --- verdicts --------------------------------------------------------------------------------------------------------


class ReferenceHealth:
    """The rule as it is said, over the whole history."""

    def __init__(self, healthy: int, unhealthy: int) -> None:
        self.needed = {True: healthy, False: unhealthy}
        self.history: list[bool] = []
        self.up: bool | None = None

    def count(self, success: bool) -> bool:
        self.history.append(success)
        if self.up is None:
            self.up = success
            self.history = []
            return True
        last = self.history[-self.needed[success] :]
        if success == self.up or len(last) < self.needed[success] or not all(one == success for one in last):
            return False
        self.up = success
        self.history = []
        return True


@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.booleans(), max_size=60))
def test_any_results(healthy: int, unhealthy: int, results: list[bool]) -> None:
    check = Check(healthy=healthy, unhealthy=unhealthy)
    health, reference = ProbedHealth(), ReferenceHealth(healthy, unhealthy)
    for success in results:
        result = ProbeResult(success, 0, "", 0.0, 0.0)
        assert health.count(result, check) == reference.count(success)
        assert health.up == reference.up
        assert health.last == result


def down(status: str = "503 Down") -> bytes:
    return respond(b"", status)


def good() -> bytes:
    return respond(b"ok")


async def test_a_target_that_goes_down_and_comes_back(upstream: RecordingUpstream, verdicts: Verdicts) -> None:
    upstream.script(good(), down(), down(), good(), down(), down(), down("500 No"), good(), down(), good())
    verdicts.prober.update({"app": at(upstream, healthy=2, unhealthy=3)})
    assert await verdicts.wait_changes(3) == [
        ("app", True, "answered 200"),
        ("app", False, "500 is not 2xx or 3xx"),
        ("app", True, "answered 200"),
    ]
    # Seven probes to go down, then two successes in a row: the tenth and the first that is not scripted.
    assert len(upstream.requests) == 11
    health = verdicts.prober.health["app"]
    assert health.up
    assert health.last is not None
    assert health.last.success


async def test_the_first_result_counts_at_once(upstream: RecordingUpstream, verdicts: Verdicts) -> None:
    upstream.default = Answer(down())
    verdicts.prober.update({"app": at(upstream, interval=LATE, unhealthy=5)})
    assert verdicts.prober.health["app"].up is None
    assert await verdicts.wait_changes(1) == [("app", False, "503 is not 2xx or 3xx")]
    assert verdicts.prober.health["app"].last[:3] == (False, 503, "503 is not 2xx or 3xx")


async def test_flapping_within_the_thresholds_changes_nothing(upstream: RecordingUpstream, verdicts: Verdicts) -> None:
    upstream.script(good(), *([down(), down(), good()] * 10))
    verdicts.prober.update({"app": at(upstream, healthy=1, unhealthy=3)})
    await upstream.request(30)
    assert verdicts.changes == [("app", True, "answered 200")]


async def test_a_server_that_stops_and_returns(tmp_path: Path, verdicts: Verdicts) -> None:
    path = str(tmp_path / "app.sock")
    target = ProbeTarget("", 0, Check(interval=SOON, healthy=1, unhealthy=1), unix=path)
    async with RecordingUpstream(path):
        verdicts.prober.update({"app": target})
        await verdicts.wait_changes(1)
    assert (await verdicts.wait_changes(2))[1] == ("app", False, "connection refused")
    Path(path).unlink()
    async with RecordingUpstream(path):
        assert (await verdicts.wait_changes(3))[2] == ("app", True, "answered 200")
        await verdicts.prober.stop()


async def test_an_update_leaves_what_stays_alone(upstream: RecordingUpstream, verdicts: Verdicts) -> None:
    upstream.default = Answer(stall())
    kept, gone, new = (at(upstream, path=f"/{name}", timeout=LATE) for name in ("kept", "gone", "new"))
    verdicts.prober.update({"kept": kept, "gone": gone})
    await upstream.request(1)
    verdicts.prober.update({"kept": kept, "new": new})
    await upstream.request(2)
    ended = {connection.requests[0].head.split()[1]: connection for connection in upstream.connections}
    await ended[b"/gone"].wait_ended()
    assert ended[b"/kept"].ended is None
    assert ended[b"/new"].ended is None
    assert set(verdicts.prober.health) == {"kept", "new"}
    assert len(upstream.requests) == 3


async def test_a_changed_check_keeps_the_verdict(upstream: RecordingUpstream, verdicts: Verdicts) -> None:
    verdicts.prober.update({"app": at(upstream, interval=LATE)})
    await verdicts.wait_changes(1)
    upstream.default = Answer(down())
    verdicts.prober.update({"app": at(upstream, unhealthy=3)})
    await verdicts.wait_changes(2)
    assert verdicts.changes == [("app", True, "answered 200"), ("app", False, "503 is not 2xx or 3xx")]
    assert len(upstream.requests) == 1 + 3


async def test_another_address_is_unknown_again(upstream: RecordingUpstream, verdicts: Verdicts) -> None:
    verdicts.prober.update({"app": at(upstream, interval=LATE)})
    await verdicts.wait_changes(1)
    async with RecordingUpstream(default=Answer(down())) as other:
        verdicts.prober.update({"app": at(other, interval=LATE)})
        assert verdicts.prober.health["app"].up is None
        assert (await verdicts.wait_changes(2))[1] == ("app", False, "503 is not 2xx or 3xx")


async def test_stopping_closes_what_is_open(upstream: RecordingUpstream, verdicts: Verdicts) -> None:
    upstream.default = Answer(stall())
    verdicts.prober.update({str(number): at(upstream, path=f"/{number}", timeout=LATE) for number in range(5)})
    await upstream.request(4)
    await verdicts.prober.stop()
    for connection in upstream.connections:
        await connection.wait_ended()
    assert verdicts.changes == []
    assert verdicts.prober.health == {}


async def test_so_many_probes_at_a_time(upstream: RecordingUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgate.upstreams.health_probes._SPREAD", 0.0)
    verdicts = Verdicts(at_once=3)
    go_on = asyncio.Event()
    upstream.default = Answer(wait_for(go_on), good(), close())
    verdicts.prober.update({str(number): at(upstream, interval=LATE) for number in range(30)})
    await upstream.request(2)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(upstream.connections) == 3
    go_on.set()
    await verdicts.wait_changes(30)
    assert all(up for _, up, _ in verdicts.changes)
    await verdicts.prober.stop()


async def test_waiting_for_a_turn_is_not_the_targets_fault(upstream: RecordingUpstream) -> None:
    verdicts = Verdicts(at_once=1)
    upstream.script(Answer(stall()))
    slow = at(upstream, interval=LATE, timeout=0.2)
    quick = at(upstream, interval=LATE, timeout=0.1)
    verdicts.prober.update({"slow": slow})
    await upstream.request()
    verdicts.prober.update({"slow": slow, "quick": quick})
    assert await verdicts.wait_changes(2) == [
        ("slow", False, "timeout after 0.2 s"),
        ("quick", True, "answered 200"),
    ]
    await verdicts.prober.stop()


async def test_a_callback_that_fails_does_not_end_it(
    upstream: RecordingUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    verdicts = Verdicts()

    def fail(name: str, up: bool, reason: str) -> None:
        verdicts.take(name, up, reason)
        raise RuntimeError("mine")

    prober = Prober(fail)
    upstream.script(good(), down())
    prober.update({"app": at(upstream, healthy=1, unhealthy=1)})
    await verdicts.wait_changes(3)
    await prober.stop()
    assert [up for _, up, _ in verdicts.changes] == [True, False, True]
    assert "RuntimeError: mine" in caplog.text
