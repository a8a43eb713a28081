"""The clients of a crowd, and what they say of answers that are not right."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.crowd import STEP, Client, Crowd, Outcome, judge, sum_of
from benchmarks.crowd_origin import BODY, PIECES, CrowdOrigin, body_of
from benchmarks.lanes.cache_crowd import new_path
from benchmarks.load import ask, cached_head
from benchmarks.processes import owners_of

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
GOOD = bytes(range(256)) * 2 * (STEP // 256)


@contextmanager
def server(answers: list[bytes]) -> Iterator[int]:
    """Gives each of its connections one of the answers and closes it."""

    def serve() -> None:
        for answer in answers:
            connection = listener.accept()[0]
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_what_became_of_each_client():
    other = bytes([GOOD[0] ^ 1]) + GOOD[1:]
    answers = [
        HEAD % len(GOOD) + GOOD,
        HEAD % len(GOOD) + GOOD[:-1],  # cut, and known to be
        HEAD % (len(GOOD) - 1) + GOOD[:-1],  # cut, and taken for whole
        HEAD % len(GOOD) + other,
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        b"",
    ]
    with server(answers) as port, Crowd(port, len(answers), GOOD) as crowd:
        crowd.ask(cached_head("/"), crowd.clients)
        crowd.read(10.0)
        assert judge(crowd.clients) == Outcome(right=1, cut=2, refused=1, wrong=2)
        first = crowd.clients[0]
        assert len(first.steps) == 2
        assert first.asked_at <= first.first_byte_at <= first.steps[0] <= first.steps[1] <= first.ended_at


def test_a_head_may_come_in_parts():
    client = Client(socket.socket(), GOOD)
    with client.connection:
        for part in (b"HTTP/1.1 20", b"0 OK\r\ncontent-length: 3\r\n", b"\r\n" + GOOD[:1], GOOD[1:3]):
            client.take(memoryview(part), 1.0)
        assert (client.status, client.length, client.got) == (200, 3, 3)
        assert client.whole
        assert judge([client]) == Outcome(wrong=1)  # whole, but not as long as the right one


def test_who_leaves_or_lags_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as listener, Crowd(listener.getsockname()[1], 2, GOOD) as crowd:
        crowd.leave(crowd.clients[0])
        crowd.lag(crowd.clients[1])
        crowd.read(60.0)
        assert judge(crowd.clients) == Outcome(cut=2)


def test_outcomes_are_summed():
    assert sum_of([Outcome(1, 2, 3, 4), Outcome(10, 20, 30, 40)]) == Outcome(11, 22, 33, 44)


def test_a_path_is_new_and_its_body_is_named_by_what_the_origin_sees():
    asked, seen = new_path("/patient/pieces")
    assert asked == f"/patient{seen}"
    assert seen.startswith("/pieces/")
    assert new_path("/patient/pieces") != (asked, seen)


def test_who_has_a_connection():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as connection:
            own = connection.getsockname()[1]
            assert owners_of([(own, port), (1, 1)], [os.getpid()]) == [os.getpid(), None]


@pytest.mark.needs("taskset")
@pytest.mark.skipif(sys.platform != "linux", reason="pins processes")
def test_the_origin_of_a_crowd_gives_pieces_and_remembers_who_asked():
    with CrowdOrigin(max(os.sched_getaffinity(0))) as origin:
        with Crowd(origin.port, 1, body_of("/pieces/one")) as crowd:
            crowd.ask(cached_head("/pieces/one"), crowd.clients)
            crowd.read(10.0)
            client = crowd.clients[0]
            assert judge([client]) == Outcome(right=1)
            assert b"max-age=3600" in client.head
            assert len(client.steps) == PIECES == BODY // STEP
            assert [asked["port"] for asked in origin.asked("/pieces/one")] == [client.connection.getsockname()[1]]
        assert origin.asked("/pieces/another") == []
        assert ask(origin.port, cached_head("/private/one?wait=0.01")).body == body_of("/private/one")
