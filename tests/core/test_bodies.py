"""Large pieces on their way through a slow filter: in slices, one a turn of the loop, with the upstream held."""

from collections.abc import Callable
from typing import Any

import pytest
from core.playbook import World, chunks, get, head, world

from fastgate._core.policies.compression import Coding, Compression

SLICE = 65536
KIND = b"Content-Type: text/plain"
ASK = get(b"/", b"Accept-Encoding: fake")


class Fake:
    """A coding that changes nothing and notes what it is given, and in which turn of the loop."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, int]] = []
        self.turns: list[int] = []
        self.play: World | None = None

    def note(self, what: str) -> Callable[..., bytes]:
        def noted(piece: bytes = b"") -> bytes:
            assert self.play is not None
            self.notes.append((what, len(piece)))
            self.turns.append(self.play.loop.turns)
            return piece

        return noted

    def route(self) -> dict[str, Any]:
        coding = Coding(
            "fake", whole=self.note("whole"), stream=lambda: (self.note("take"), self.note("flush"), self.note("end"))
        )
        return {"response_filters": [Compression([coding], types=["text/plain"], min_size=1)]}


def sent(data: bytes) -> bytes:
    """The body of a chunked answer, which ends."""
    rest = data.partition(b"\r\n\r\n")[2]
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            assert rest == b"\r\n"
            return body
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]


@pytest.mark.parametrize("size", [1, SLICE, SLICE + 1, 3 * SLICE, 3 * SLICE + 5])
def test_a_body_that_is_there_at_once(size: int) -> None:
    fake = Fake()
    body = bytes(n % 251 for n in range(size))
    with world({"/": fake.route()}) as play:
        fake.play = play
        client = play.client()
        client.send(ASK)
        play.upstream.send(head(KIND, b"Content-Length: %d" % size) + body)
        play.loop.run()
        data = client.taken()
        if size <= SLICE:
            assert fake.notes == [("whole", size)]
            assert data.endswith(b"\r\nContent-Length: %d\r\n\r\n" % size + body)
        else:
            taken = [length for what, length in fake.notes if what == "take"]
            assert sum(taken) == size
            assert max(taken) == SLICE
            # The first at once, each other in a turn of its own; a body of known length is not flushed before its end.
            turns = fake.turns[1 : len(taken)]
            assert turns == sorted(set(turns))
            assert [what for what, _ in fake.notes if what != "take"] == ["end"]
            assert sent(data) == body


def test_the_upstream_is_held_meanwhile_and_what_it_had_written_waits() -> None:
    fake = Fake()
    with world({"/": fake.route()}) as play:
        fake.play = play
        client = play.client()
        client.send(ASK)
        upstream = play.upstream
        one, two = b"a" * (2 * SLICE + 1), b"b" * 10
        play.loop.call_soon(lambda: None)
        upstream.send(head(KIND, b"Transfer-Encoding: chunked") + chunks(one, last=False))
        upstream.send(chunks(two))
        play.loop.run()
        assert sent(client.taken()) == one + two
        # What was written before a pause of the upstream is flushed, not what lies between two slices.
        whats = [what for what, _ in fake.notes]
        assert whats == ["take", "take", "take", "flush", "take", "end"]


def test_a_client_that_leaves_between_two_slices() -> None:
    fake = Fake()
    with world({"/": fake.route(), "/other": {}}) as play:
        fake.play = play
        client = play.client()
        client.send(ASK)
        upstream = play.upstream
        play.loop.call_soon(lambda: client.lose(ConnectionResetError()))
        upstream.send(head(KIND, b"Content-Length: %d" % (4 * SLICE)) + b"a" * 4 * SLICE)
        play.loop.run()
        assert [what for what, _ in fake.notes if what == "end"] == []
        assert play.metrics()["client_gone"] == 1
        other = play.client()
        other.send(get(b"/other"))
        play.upstream.send(head(b"Content-Length: 2") + b"ok")
        assert other.taken().endswith(b"ok")
