"""Origin and load generator against each other and against servers that misbehave."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.load import DOCUMENT, LARGE, Origin, ask, request_head, run_load

pytestmark = pytest.mark.needs("cc", "taskset")

CORE = max(os.sched_getaffinity(0))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % DOCUMENT + b"x" * DOCUMENT


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin(CORE) as started:
        yield started


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that handles its connections with ``serve``, each in a thread."""

    def accept() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    def handle(connection: socket.socket) -> None:
        with connection:
            try:
                serve(connection)
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_the_document_has_its_size(origin):
    answer = ask(origin.port, request_head())
    assert (answer.status, len(answer.body)) == (200, DOCUMENT)
    assert answer.body.startswith(b"{")
    assert answer.body.endswith(b"}")


@pytest.mark.parametrize(
    ("head", "options"),
    [
        (request_head(), {}),
        (request_head(), {"spin": True}),
        (request_head(), {"rate": 2000}),
        (request_head(connection="close"), {"fresh": True}),
        (request_head(target="/large"), {"length": LARGE, "connections": 2}),
        (request_head("POST", "/upload", content_length=str(LARGE)), {"body": LARGE, "connections": 2}),
    ],
    ids=["closed", "spinning", "fixed rate", "connection per request", "down", "up"],
)
def test_every_request_is_answered_and_counted_on_both_sides(origin, head, options):
    before = origin.counts()
    load = run_load(CORE, origin.port, head, duration=0.2, **options)
    after = origin.counts()
    assert load.errors == {}
    assert load.requests == after["requests"] - before["requests"] > 0
    assert after["body_bytes"] - before["body_bytes"] == options.get("body", 0) * load.requests
    if options.get("fresh"):
        assert after["accepted"] - before["accepted"] == load.requests + 1  # and the one that asked for the counts
    if "rate" in options:
        assert load.requests == pytest.approx(options["rate"] * 0.2, abs=1)


def test_a_body_of_another_length_is_an_error(origin):
    load = run_load(CORE, origin.port, request_head(), duration=0.05, length=DOCUMENT + 1)
    assert load.requests == 0
    assert set(load.errors) == {"length"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "status"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "framing"),
        (ANSWER + b"!", "surplus"),
        (ANSWER[:-1], "cut"),
        (b"", "cut"),
    ],
    ids=["status", "no length", "too much", "too little", "nothing"],
)
def test_an_answer_that_is_not_right_is_an_error(answer, error):
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with server(serve) as port:
        load = run_load(CORE, port, request_head(), duration=0.05, connections=1)
    assert load.requests == 0
    assert set(load.errors) == {error}


def test_a_fixed_rate_shows_a_stall_in_every_request_that_it_delayed():
    stall, rate = 0.3, 200.0
    stalled = threading.Event()

    def serve(connection: socket.socket) -> None:
        while connection.recv(65536):
            if not stalled.is_set():
                stalled.set()
                time.sleep(stall)  # the misbehaviour itself: nothing is awaited here
            connection.sendall(ANSWER)

    with server(serve) as port:
        load = run_load(CORE, port, request_head(), duration=0.6, connections=1, rate=rate)
    assert load.errors == {}
    assert load.requests == pytest.approx(0.6 * rate, abs=2)
    # A closed loop would have seen one slow request of 120: here half of them were due while the server slept.
    assert load.latency["max"] >= stall * 1e6 * 0.95
    assert load.latency["p90"] >= stall * 1e6 * 0.5
