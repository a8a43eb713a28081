"""The other side of the proxy: the origin, the load generators, and one request asked by hand.

The two C programs of ``native/`` are compiled on first use (the compiler that builds the gateway is there already) into
``benchmarks/.work``; wrk is used where a lane asks for it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.machine import FILES, ROOT, Unavailable, pinned, raise_file_limit
from benchmarks.processes import Cpu, cpu_of

HERE = Path(__file__).resolve().parent
WORK = HERE / ".work"

DOCUMENT = 110
"""Bytes of the origin's JSON answer."""

LARGE = 1 << 20
"""Bytes of a large body, either direction."""

ORDINARY_FIELDS = {
    "Host": "api.example.com",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "application/json, text/plain, */*",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "https://app.example.com/orders/overview",
    "Origin": "https://app.example.com",
    "Cookie": "session=5f2b7c1e9a8d4f60b3c2; theme=dark",
    "Authorization": "Bearer 0123456789abcdef0123456789abcdef",
    "Cache-Control": "no-cache",
}
"""The ten header fields of every request."""


BROWSED_FIELDS = {name: ORDINARY_FIELDS[name] for name in ORDINARY_FIELDS if name not in (
    "Cookie", "Authorization", "Cache-Control"
)} | {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-site"}  # fmt: skip
"""Ten header fields of a request that any cache may answer from what it has stored: nobody's own, nothing forbidden."""


def request_head(method: str = "GET", target: str = "/api/users/4711", **extra: str) -> bytes:
    """A complete request head with the ten ordinary fields; ``content_length="5"`` adds ``Content-Length: 5``."""
    fields = ORDINARY_FIELDS | {name.replace("_", "-").title(): value for name, value in extra.items()}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


TRACED = {"Traceparent": f"00-{'0' * 32}-{'1' * 16}-01"}
"""A field that is another one in each request, where the load counts them."""


def cached_head(target: str, **extra: str) -> bytes:
    """A complete head of a request that a cache may answer."""
    fields = (f"{name}: {value}" for name, value in (BROWSED_FIELDS | extra).items())
    return "\r\n".join([f"GET {target} HTTP/1.1", *fields, "", ""]).encode("latin-1")


def native(name: str) -> Path:
    """Path of the compiled ``native/NAME.c``; compiled when missing or older than its source."""
    source, program = HERE / "native" / f"{name}.c", WORK / name
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Unavailable("no C compiler: the origin and the load generator cannot be built")
    WORK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        # Another process may be doing the same; whoever is last replaces a complete program by a complete one.
        fresh = Path(folder, name)
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(fresh), str(source)], check=True)
        fresh.replace(program)
    return program


@dataclass(frozen=True)
class Answer:
    """A response as ``ask`` saw it. ``size`` counts every byte of head and body."""

    status: int
    body: bytes
    size: int


def ask(port: int, head: bytes, body: bytes = b"", *, timeout: float = 5.0) -> Answer:
    """Send one request to a loopback port and read its whole answer. Raises ``OSError`` when that fails."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(head + body)
        response = http.client.HTTPResponse(connection)
        try:
            response.begin()
            content = response.read()
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP answer: {error!r}") from error
        fields = sum(len(name) + len(value) + 4 for name, value in response.getheaders())
        line = len("HTTP/1.1 ") + len(f"{response.status} {response.reason}") + 2
        return Answer(response.status, content, line + fields + 2 + len(content))


class Listening:
    """A program on ``core`` that prints its port and serves until it is ended. A context manager.

    Raises `Unavailable` when it ends at once.
    """

    def __init__(self, core: int, command: list[str]) -> None:
        self.child = subprocess.Popen(pinned(core, command), stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise Unavailable(f"{command[0]} ended at once")
        self.port = int(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.terminate()
        self.child.wait()
        assert self.child.stdout is not None
        self.child.stdout.close()


class Origin(Listening):
    """The C origin, pinned to ``core``, at ``addresses`` of the loopback. A context manager."""

    def __init__(self, core: int, addresses: int = 1) -> None:
        # As many connections as a proxy may have.
        raise_file_limit(FILES)
        super().__init__(core, [str(native("origin")), "--large", str(LARGE), "--addresses", str(addresses)])

    def cpu(self) -> Cpu:
        """Processor time so far."""
        return cpu_of(self.child.pid)

    def counts(self) -> dict[str, int]:
        """Requests answered, connections accepted and body bytes read since the start."""
        found: dict[str, int] = json.loads(ask(self.port, request_head(target="/count")).body)
        return found


@dataclass(frozen=True)
class Load:
    """What a load generator saw. Latencies in microseconds; ``wrong`` counts everything that was not a right answer."""

    requests: int
    seconds: float
    bytes_in: int
    bytes_out: int
    wrong: int
    cpu_seconds: float
    latency: dict[str, float] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def parse_load(text: str) -> Load:
    """The line of JSON that ``native/load.c`` prints."""
    seen: dict[str, Any] = json.loads(text)
    errors: dict[str, int] = seen["errors"]
    return Load(
        requests=seen["requests"],
        seconds=seen["seconds"],
        bytes_in=seen["bytes_in"],
        bytes_out=seen["bytes_out"],
        wrong=sum(errors.values()),
        cpu_seconds=seen["cpu_seconds"],
        latency=seen["latency_us"],
        errors={name: count for name, count in errors.items() if count},
    )


def run_load(
    core: int,
    port: int,
    head: bytes,
    *,
    duration: float,
    connections: int = 32,
    body: int = 0,
    length: int = DOCUMENT,
    fresh: bool = False,
    rate: float = 0.0,
    count: bool = False,
    spin: bool = False,
) -> Load:
    """Run ``native/load.c`` on ``core``: see its opening comment for the meaning of the options."""
    command = [str(native("load")), "--port", str(port), "--head", "/dev/stdin"]
    command += ["--connections", str(connections), "--duration", str(duration), "--body", str(body)]
    command += ["--length", str(length), *(["--fresh"] if fresh else []), *(["--rate", str(rate)] if rate else [])]
    command += [*(["--count"] if count else []), *(["--spin"] if spin else [])]
    done = subprocess.run(pinned(core, command), input=head, capture_output=True, timeout=duration + 30, check=True)
    return parse_load(done.stdout.decode())


SCRIPT = """\
wrk.method = "GET"
wrk.path = "{target}"
wrk.headers = {{ {fields} }}
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "RESULT %d %d %d %d %d %d %d %d %.1f %.1f %.1f %.1f %.1f\\n",
    summary.requests, summary.duration, summary.bytes, errors.connect, errors.read, errors.write, errors.status,
    errors.timeout, latency.mean, latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
"""


def wrk_script(target: str = "/api/users/4711") -> str:
    """A wrk script that sends the ten ordinary fields and prints one line of numbers at the end."""
    fields = ", ".join(f'["{name}"] = "{value}"' for name, value in ORDINARY_FIELDS.items())
    return SCRIPT.format(target=target, fields=fields)


def parse_wrk(text: str, response_size: int, connections: int) -> Load:
    """The numbers of a wrk run, with its bytes checked against its responses.

    wrk counts complete responses and non-2xx statuses but does not look at lengths. All responses have the same size,
    so the bytes it read must be ``requests * response_size`` plus at most one unfinished response a connection;
    otherwise the run is counted as wrong by the number of responses that the difference is worth.
    """
    match = re.search(r"^RESULT (.+)$", text, re.MULTILINE)
    if match is None:
        raise ValueError(f"wrk printed no result: {text[-500:]!r}")
    values = [float(word) for word in match.group(1).split()]
    requests, duration, size = int(values[0]), values[1] / 1e6, int(values[2])
    errors = dict(zip(("connect", "read", "write", "status", "timeout"), map(int, values[3:8]), strict=True))
    surplus = size - requests * response_size
    if not 0 <= surplus <= connections * response_size:
        errors["length"] = max(1, abs(surplus) // response_size)
    latency = dict(zip(("mean", "p50", "p90", "p99", "max"), values[8:13], strict=True))
    return Load(
        requests=requests,
        seconds=duration,
        bytes_in=size,
        bytes_out=0,
        wrong=sum(errors.values()),
        cpu_seconds=0.0,
        latency=latency,
        errors={name: count for name, count in errors.items() if count},
    )


def run_wrk(core: int, port: int, *, duration: float, connections: int = 32) -> Load:
    """Run wrk on ``core``, keep-alive, with one thread; its processor time is that of a child that has ended."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise Unavailable("wrk is not installed")
    answer = ask(port, request_head())
    if answer.status != 200 or len(answer.body) != DOCUMENT:
        raise Unavailable(f"answered {answer.status} with {len(answer.body)} bytes, not the origin's document")
    WORK.mkdir(exist_ok=True)
    script = WORK / "wrk.lua"
    script.write_text(wrk_script())
    command = [wrk, "-t1", f"-c{connections}", f"-d{duration:g}s", "-s", str(script), f"http://127.0.0.1:{port}/"]
    before = os.times()
    done = subprocess.run(pinned(core, command), capture_output=True, text=True, timeout=duration + 30, check=True)
    after = os.times()
    load = parse_wrk(done.stdout, answer.size, connections)
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Load(**{**load.__dict__, "cpu_seconds": spent})
