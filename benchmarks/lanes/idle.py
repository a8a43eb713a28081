"""Memory of an idle keep-alive connection: 10,000 of them, each of which has had one request; plain and over TLS.

Growth of the serving process (PSS, and RSS beside it) from after its first answer to after the last of them, divided by
their number. Sockets in the kernel are not in it. The client keeps a TLS connection as a bare descriptor after its
request, so that its own memory stays small; the server cannot tell.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import ExitStack

from benchmarks.arithmetic import per_connection
from benchmarks.contest import FIELD, Options, say
from benchmarks.load import DOCUMENT, Origin, request_head
from benchmarks.machine import Unavailable, cores, raise_file_limit
from benchmarks.processes import Memory, memory_of
from benchmarks.proxies import Certificate, Proxy

TITLE = "Memory of idle keep-alive connections"


def one_request(connection: socket.socket) -> None:
    """Send one request and read its answer. Raises ``OSError`` for anything but a whole 200."""
    connection.sendall(request_head())
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < DOCUMENT:
        part = connection.recv(4096)
        if not part:
            raise OSError(f"closed after {answer!r}")
        answer += part
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise OSError(f"answered {answer[:64]!r}")


def open_connection(port: int, context: ssl.SSLContext | None) -> socket.socket:
    """A connection that has had its one request; under TLS what is returned is the socket below."""
    plain = socket.create_connection(("127.0.0.1", port), 10)
    if context is None:
        one_request(plain)
        return plain
    with context.wrap_socket(plain, server_hostname="localhost") as secured:
        one_request(secured)
        return socket.socket(fileno=secured.detach())


def settled(pid: int, limit: float = 3.0) -> Memory:
    """The process's memory once it has stopped changing."""
    end, last = time.monotonic() + limit, memory_of(pid)
    while time.monotonic() < end:
        time.sleep(0.2)
        current = memory_of(pid)
        if abs(current.rss - last.rss) < 65536:
            return current
        last = current
    return last


def measure(kind: str, origin: int, core: int, connections: int, certificate: Certificate | None) -> dict[str, object]:
    """Memory of one contender before and after ``connections``."""
    context = None
    if certificate is not None:
        context = ssl.create_default_context(cafile=str(certificate.cert))
    with Proxy(kind, origin, core, certificate=certificate) as proxy, ExitStack() as held:
        held.callback(open_connection(proxy.port, context).close)
        worker = proxy.process.worker()
        before = settled(worker)
        for _ in range(connections):
            held.callback(open_connection(proxy.port, context).close)
        after = settled(worker)
        return {
            "kind": kind,
            "connections": connections,
            "bytes_each_pss": per_connection(before.pss, after.pss, connections),
            "bytes_each_rss": per_connection(before.rss, after.rss, connections),
            "before": {"pss": before.pss, "rss": before.rss},
            "after": {"pss": after.pss, "rss": after.rss},
        }


def run(options: Options) -> dict[str, object]:
    """Every contender, plain and TLS."""
    proxy_core, load_core = cores()
    connections = min(options.idle, (raise_file_limit(40_000) - 400) // 2)
    result: dict[str, object] = {"settings": {"connections": connections}}
    skipped: dict[str, str] = {}
    with Origin(load_core) as origin:
        for name, secured in (("rows", False), ("tls_rows", True)):
            rows = []
            for kind in (kind for kind in FIELD if kind in options.only):
                try:
                    certificate = Certificate.make() if secured else None
                    row = measure(kind, origin.port, proxy_core, connections, certificate)
                except (Unavailable, OSError) as reason:
                    skipped[f"{kind} (TLS)" if secured else kind] = str(reason)
                    say(f"  skipped: {kind}: {reason}")
                    continue
                say(f"  {kind}{' TLS' if secured else ''}: {row['bytes_each_pss']:.0f} bytes a connection")
                rows.append(row)
            result[name] = rows
    return {**result, "skipped": skipped}
