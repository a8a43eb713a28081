"""Policies together on one route: generated mixtures of policies, requests and upstreams, and what must always hold.

Each answer is well-formed in one framing, is what the upstream sent after what the policies make of it, has each field
once and leaves the connection as it says; a cut never looks complete; each request is counted and logged once.
``FASTGATE_COMBINATIONS`` is how many mixtures are tried.
"""

import asyncio
import gzip
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policies.mixed_plugins import CONSTANT

from fastgate import Gateway
from fastgate.testing import (
    Answer,
    CutShort,
    RawClient,
    RecordingUpstream,
    Step,
    close,
    pause,
    pieces,
    proxy_config,
    reset,
    respond,
    start_gateway,
)
from fastgate.testing.http_messages import RecordedResponse

TEXT = json.dumps({"text": "a line of text, " * 40}).encode()
LONG = json.dumps({"text": "another line of text, " * 12000}).encode()
ORIGIN = "https://app.example"
PLAIN = b"GET /plain HTTP/1.1\r\nHost: h\r\n\r\n"
ONCE = {
    "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "date", "server", "etag",
    "x-request-id", "access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers",
    "x-content-type-options", "x-frame-options", "referrer-policy", "content-security-policy", "x-added", "x-kind",
    "location", "retry-after", "cache-control",
}  # fmt: skip
SECURITY = ("x-content-type-options", "x-frame-options", "referrer-policy", "content-security-policy")
PLUGINS: dict[str, tuple[str, dict[str, Any]]] = {
    "own": ("Mixed", {"answer": "own"}),
    "own-later": ("Mixed", {"answer": "own", "wait": True}),
    "replace": ("Mixed", {"answer": "replace"}),
    "replace-later": ("Mixed", {"answer": "replace", "wait": True}),
    "mark": ("Mixed", {"mark": True}),
    "mark-later": ("Mixed", {"mark": True, "wait": True}),
    "whole": ("Whole", {"mark": True}),
    "bodies": ("Bodies", {}),
    "errors": ("Errors", {}),
    "status": ("Status", {"status": 203}),
    "status-204": ("Status", {"status": 204}),
    "status-304": ("Status", {"status": 304}),
    "fails": ("Fails", {"when": "first"}),
    "fails-last": ("Fails", {"when": "last"}),
    "refuses": ("Fails", {"when": "refuse"}),
}
FAILING = {"fails", "fails-last", "refuses"}
CHANGING = {*FAILING, "status", "status-204", "status-304"}

SMALL = {"min_size": 1}
RETRY = {"attempts": 3, "on": ["5xx", "connect", "reset"], "backoff": "1ms", "budget": 10}
ROUTES = st.fixed_dictionaries(
    {},
    optional={
        "envelope": st.sampled_from([True, {"meta": ""}, {"max_size": 2000}]),
        "compression": st.sampled_from([True, SMALL, {**SMALL, "encodings": ["gzip"]}, {**SMALL, "encodings": ["br"]}]),
        "cors": st.sampled_from([{"origins": ["*"]}, {"origins": [ORIGIN], "credentials": True, "expose": ["*"]}]),
        "security_headers": st.sampled_from([True, {"override": True}]),
        "body_schema": st.just(""),
        "content_types": st.just(["application/json"]),
        "maintenance": st.sampled_from(
            [{"enabled": False}] * 3 + [{"enabled": True}, {"enabled": True, "allow": ["127.0.0.0/8"]}]
        ),
        "ip": st.sampled_from([{"allow": ["127.0.0.0/8"]}, {"deny": ["10.0.0.0/8"]}, {"deny": ["127.0.0.0/8"]}]),
        "response_headers": st.sampled_from(
            [{"add": {"X-Added": "1"}}, {"set": {"X-Added": "1"}}, {"remove": ["etag"]}]
        ),
        "rate_limit": st.just({"rate": 1000}),
        "concurrency": st.just({"max": 10}),
        "retry": st.sampled_from(
            [False, RETRY, {**RETRY, "hedge": {"delay": "1ms"}}, {**RETRY, "non_idempotent": True}]
        ),
        "buffer_request": st.just(True),
        "max_body": st.sampled_from(["1MB", "1MB", 400]),
        "mirror": st.just({"upstream": "mirrored"}),
        "policies": st.lists(st.sampled_from(list(PLUGINS)), max_size=3, unique=True),
    },
)
FIXED: dict[str, dict[str, Any]] = {
    "respond": {"respond": {"body": TEXT.decode(), "headers": {"content-type": "application/json"}}},
    "empty": {"respond": {"status": 204}},
    "redirect": {"redirect": {"to": "/elsewhere", "status": 308}},
}


@dataclass
class Case:
    route: dict[str, Any]
    fixed: str  # the name of an answer without an upstream
    kind: str  # of the request
    accept: str
    leaves: str  # when a first client does
    first: str  # what the upstream does before it answers
    status: int
    framing: str
    body: bytes
    media: str
    fields: list[str]
    whole: bool  # in one write
    end: str

    @property
    def plugins(self) -> set[str]:
        return set(self.route.get("policies", ()))

    @property
    def complete(self) -> bool:
        """Whether the upstream sends an answer, and all of it."""
        if self.end in ("cut", "reset"):
            # Without a length or chunks the end of the connection is that of the body.
            return self.status in (204, 304) or not self.sent_body or (self.end == "cut" and self.framing == "close")
        return self.end not in ("nothing", "broken")

    @property
    def sent_body(self) -> bytes:
        if self.status in (204, 304):
            return b""
        return gzip.compress(self.body, mtime=0) if "Content-Encoding: gzip" in self.fields else self.body

    def answer(self) -> Answer:
        if self.end == "nothing":
            return Answer(close())
        if self.end == "broken":
            return Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx")
        content = self.sent_body
        lines = [f"HTTP/1.1 {self.status} Said", f"Content-Type: {self.media}", *self.fields]
        if self.status == 206:
            lines.append(f"Content-Range: bytes 0-{max(len(content) - 1, 0)}/1000000")
        if self.framing == "length" and self.status != 204:
            lines.append(f"Content-Length: {len(content) if self.status != 304 else 500}")
        elif self.framing == "chunked" and self.status not in (204, 304):
            lines.append("Transfer-Encoding: chunked")
            step = max(1, len(content) // 3)
            parts = [content[at : at + step] for at in range(0, len(content), step)]
            content = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        if not self.complete:
            content = content[: len(content) // 2]
        head = "\r\n".join([*lines, "", ""]).encode()
        steps: list[Step] = (
            [head + content] if self.whole or not content else [head, pieces(content, len(content) // 3 + 1)]
        )
        if self.end == "reset" and not self.complete:
            steps.append(reset())
        elif not self.complete or (self.framing == "close" and self.status not in (204, 304)):
            steps.append(close())
        return Answer(*steps, early=self.end == "early")

    def before(self) -> list[Answer | bytes]:
        """Answers before the one that counts."""
        if self.first == "busy":
            return [respond(b'{"a": 1}', "503 Busy", "Content-Type: application/json", "Retry-After: 0", 'ETag: "no"')]
        if self.first == "slow":
            answer = self.answer()
            return [Answer(pause(0.004), *answer.steps, early=answer.early)]
        return [Answer(reset())] if self.first == "reset" else []

    def request(self, accept: str | None = None, method: str = "GET") -> list[bytes]:
        """The request, in the parts in which it is sent."""
        accept = self.accept if accept is None else accept
        fields = ["Host: h", f"Origin: {ORIGIN}", *([f"Accept-Encoding: {accept}"] if accept else [])]
        version, body = "1.1", b""
        match self.kind:
            case "HEAD":
                method = "HEAD"
            case "HTTP/1.0":
                version = "1.0"
            case "kept HTTP/1.0":
                version, fields = "1.0", [*fields, "Connection: keep-alive"]
            case "range":
                fields.append("Range: bytes=0-")
            case "conditional":
                fields.append('If-None-Match: W/"abc"')
            case "upgrade":
                fields += ["Connection: upgrade", "Upgrade: websocket"]
            case "preflight":
                method, fields = "OPTIONS", [*fields, "Access-Control-Request-Method: GET"]
            case "length" | "chunks" | "expects" | "expects and sends" | "wrong body":
                method, body = "POST", b'{"text": "a word of data"}' if self.kind != "wrong body" else b'{"a": '
                fields.append("Content-Type: application/json")
                if self.kind == "chunks":
                    fields.append("Transfer-Encoding: chunked")
                    body = b"5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (body[:5], len(body) - 5, body[5:])
                else:
                    fields.append(f"Content-Length: {len(body)}")
                if self.kind.startswith("expects"):
                    fields.append("Expect: 100-continue")
        head = "\r\n".join([f"{method} / HTTP/{version}", *fields, "", ""]).encode()
        if self.kind == "chunks":
            return [head + body[:9], body[9:]]
        return [head, body] if self.kind == "expects" else [head + body]


CASES = st.builds(
    Case,
    route=ROUTES,
    fixed=st.sampled_from(["", "", "", "", *FIXED]),
    kind=st.sampled_from(
        [
            "GET",
            "GET",
            "HEAD",
            "length",
            "chunks",
            "expects",
            "expects and sends",
            "HTTP/1.0",
            "kept HTTP/1.0",
            "pipelined",
            "range",
            "conditional",
            "upgrade",
            "preflight",
            "wrong body",
        ]
    ),
    accept=st.sampled_from(["", "gzip", "br", "zstd", "gzip, br, zstd", "identity;q=0, gzip", "*;q=0"]),
    leaves=st.sampled_from(["", "", "", "at once", "after the head", "in the body"]),
    first=st.sampled_from(["", "", "", "busy", "reset", "slow"]),
    status=st.sampled_from([200, 200, 200, 200, 404, 503, 204, 304, 206, 205]),
    framing=st.sampled_from(["length", "chunked", "close"]),
    body=st.sampled_from([TEXT, TEXT, LONG, b"", b"[]", b'{"text": ']),
    media=st.sampled_from(
        [
            "application/json",
            "application/json",
            "text/plain",
            "image/png",
            "text/event-stream",
            "application/problem+json",
        ]
    ),
    fields=st.lists(
        st.sampled_from(
            [
                'ETag: "abc"',
                "Vary: Accept",
                "Vary: Origin",
                "Cache-Control: no-transform",
                "X-Frame-Options: DENY",
                "Access-Control-Allow-Origin: https://evil.example",
                "Content-Encoding: gzip",
                "Accept-Ranges: bytes",
                "Date: Thu, 01 Jan 2026 00:00:00 GMT",
                "Set-Cookie: a=b",
                "Connection: x-hop\r\nX-Hop: 1",
            ]
        ),
        max_size=4,
        unique=True,
    ),
    whole=st.booleans(),
    end=st.sampled_from(["whole", "whole", "whole", "cut", "reset", "early", "nothing", "broken"]),
)


def decoded(response: RecordedResponse) -> bytes:
    """The body without its coding, whose end is there."""
    coding = response.fields.get("content-encoding")
    if not response.body or coding is None:
        return response.body
    if coding == "br":
        import brotli

        return bytes(brotli.decompress(response.body))
    if coding == "zstd":
        import zstandard

        coder: Any = zstandard.ZstdDecompressor().decompressobj()
    else:
        assert coding == "gzip"
        coder = zlib.decompressobj(31)
    made: bytes = coder.decompress(response.body)
    assert coder.eof
    assert not coder.unused_data
    return made


def listed(response: RecordedResponse, name: str) -> list[str]:
    return [word.strip().lower() for value in response.fields.get_all(name) for word in value.split(",")]


async def exchange(client: RawClient, parts: list[bytes]) -> RecordedResponse | None:
    """The answer; None where it broke off."""
    method = parts[0].split(b" ", 1)[0].decode()
    try:
        await client.send(parts[0])
        if b"Expect:" in parts[0] and len(parts) > 1:
            # The body follows if it is asked for.
            while b"\r\n\r\n" not in client.reader.buffer:
                if not await client.reader.more():
                    return None
            if not client.reader.buffer.startswith(b"HTTP/1.1 100 "):
                return await client.response(method)
        for part in parts[1:]:
            await asyncio.sleep(0)
            await client.send(part)
        return await client.response(method)
    except (CutShort, ConnectionError):
        return None


def check_head(case: Case, response: RecordedResponse) -> None:
    names, route = response.fields.names, case.route
    for name in ONCE:
        assert names.count(name) <= 1, (name, response.head)
    assert names.count("content-length") + names.count("transfer-encoding") <= 1, response.head
    assert not {"keep-alive", "x-hop"} & set(names)
    varies = listed(response, "vary")
    assert len(varies) == len(set(varies)), response.head
    if "cors" in route:
        alone = route["cors"]["origins"] == ["*"]
        assert response.fields["access-control-allow-origin"] == ("*" if alone else ORIGIN)
        assert alone or {"origin", "*"} & set(varies), response.head
    if "security_headers" in route:
        assert all(names.count(name) == 1 for name in SECURITY), response.head
    coding = response.fields.get("content-encoding")
    if coding is not None and "Content-Encoding: gzip" not in case.fields:
        assert "compression" in route
        assert coding in case.accept or case.accept == ""
        assert {"accept-encoding", "*"} & set(varies), response.head
        assert (response.fields.get("etag") or "W/").startswith("W/"), response.head
        assert "accept-ranges" not in names


def check_body(case: Case, response: RecordedResponse) -> None:
    """The answer's status and body, where they follow from what the upstream or a policy said."""
    route = case.route
    if case.kind in ("HEAD", "preflight", "upgrade", "wrong body"):
        return
    if route.get("maintenance") == {"enabled": True} or route.get("ip") == {"deny": ["127.0.0.0/8"]}:
        assert response.status in (403, 503)
        return
    own = response.fields.get("x-kind") == "constant"
    if not own and not case.fixed and not case.complete and case.first != "busy":
        assert response.status in (204, 304) or response.status >= 400, "a cut looks complete"
        return
    problem = response.fields.get("content-type") == "application/problem+json" != case.media
    if problem or CHANGING & case.plugins or (case.first in ("busy", "reset") and not case.fixed and not own):
        return
    body = decoded(response) if own or case.fixed or "Content-Encoding: gzip" not in case.fields else response.body
    if "errors" in case.plugins and body.startswith(b'{"cause"'):
        return
    if own:
        source, status, media, plain = CONSTANT.body(), 200, "application/json", True
    elif case.fixed:
        source, status, media, plain = TEXT, 200, "application/json", True
        if case.fixed != "respond":
            assert response.status in (204, 308)
            return
    else:
        source, status, media = case.sent_body, case.status, case.media
        plain = status not in (204, 206, 304) and "Content-Encoding: gzip" not in case.fields \
            and "Cache-Control: no-transform" not in case.fields  # fmt: skip
    assert response.status == status
    made = source.replace(b"a", b"aa") if "bodies" in case.plugins else source
    if not route.get("envelope") or not plain or media != "application/json" or not is_json(made):
        assert body == made
        return
    assert body.startswith(b'{"data":' + made)
    meta = json.loads(body).get("meta")
    assert meta is None if route["envelope"] == {"meta": ""} else meta["status"] == status


def is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


async def check_caches(case: Case, gateway: Gateway) -> int:
    """The same resource for a client without and one with codings: caches can tell them apart. How many were sent."""
    answers = []
    for accept in ("", case.accept or "gzip"):
        async with RawClient(gateway.port) as client:
            answers.append(await exchange(client, case.request(accept)))
    one, other = answers
    if one is not None and other is not None and one.status == other.status:
        varies = ["accept-encoding" in listed(each, "vary") for each in (one, other)]
        assert varies[0] == varies[1], (one.head, other.head)
        if one.fields.get("content-encoding") != other.fields.get("content-encoding"):
            assert varies == [True, True]
    return len(answers)


async def leave(case: Case, gateway: Gateway) -> None:
    """A client that does not wait for all of its answer."""
    async with RawClient(gateway.port) as client:
        try:
            await client.send(b"".join(case.request()))
            if case.leaves != "at once":
                response = await client.head("HEAD" if case.kind == "HEAD" else "GET")
                if case.leaves == "in the body":
                    await client.body(response, limit=20_000)
        except (CutShort, ConnectionError):
            return
        client.reset()


def configured(case: Case, ports: list[int], mirror: int, folder: Path) -> dict[str, Any]:
    route = {key: value for key, value in case.route.items() if not case.fixed or key not in ("retry", "mirror")}
    if "policies" in route:
        route["policies"] = [{"use": name} for name in route["policies"]]
    if "body_schema" in route:
        route["body_schema"] = str(folder / "schema.json")
    config = proxy_config(
        *ports,
        gateway={"access_log": {"path": str(folder / "log")}},
        route={**route, **FIXED.get(case.fixed, {})},
    )
    config["plugins"] = [
        {"name": name, "use": f"policies.mixed_plugins:{PLUGINS[name][0]}", "options": PLUGINS[name][1]}
        for name in sorted(case.plugins)
    ]
    config["routes"].append({"name": "plain", "path": "/plain", "respond": {"body": "plain"}})
    if case.fixed:
        del config["routes"][0]["upstream"], config["upstreams"]
    elif "mirror" in route:
        config["upstreams"]["mirrored"] = {"targets": [{"host": "127.0.0.1", "port": mirror}]}
    return config


async def play(case: Case, folder: Path) -> None:
    raised: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    (folder / "log").unlink(missing_ok=True)
    (folder / "schema.json").write_text('{"type": "object", "required": ["text"]}')
    answer = case.answer()
    async with (
        RecordingUpstream(default=answer) as upstream,
        RecordingUpstream(default=answer) as other,
        RecordingUpstream() as mirror,
    ):
        config = configured(case, [upstream.port, other.port], mirror.port, folder)
        async with start_gateway(config) as gateway:
            if case.leaves:
                await leave(case, gateway)
            for each in (upstream, other):
                each.script(*case.before())
            sent = 1
            async with RawClient(gateway.port) as client:
                parts = case.request()
                if case.kind == "pipelined":
                    sent, parts = 2, parts * 2
                response = last = await exchange(client, parts)
                if response is None:
                    assert not case.complete or FAILING & case.plugins or case.first == "reset"
                    sent = 0
                else:
                    check_head(case, response)
                    check_body(case, response)
                    if case.kind == "pipelined" and response.fields.get("connection") != "close":
                        last = await exchange(client, [b""])
                        assert last is not None or not case.complete or FAILING & case.plugins or case.first == "reset"
                    if last is not None and (last.fields.get("connection") == "close" or last.framing == "close"):
                        await client.rest()
                    elif last is not None:
                        assert (await client.request(PLAIN)).body == b"plain"
                        sent += 1
            if case.kind in ("GET", "range", "conditional") and not FAILING & case.plugins:
                sent += await check_caches(case, gateway)
        counts = gateway.metrics()
    assert counts["requests"] == len((folder / "log").read_text().splitlines())
    assert case.leaves or case.kind == "pipelined" or sent == 0 or response is None or counts["requests"] == sent
    assert CONSTANT.headers.items() == [("x-kind", "constant"), ("Content-Type", "application/json")]
    assert not raised, raised


@settings(
    max_examples=int(os.environ.get("FASTGATE_COMBINATIONS", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(case=CASES)
async def test_policies_together(tmp_path: Path, case: Case) -> None:
    await play(case, tmp_path)
