"""Whatever happens, in whatever order: nothing breaks and nothing is left behind."""

import asyncio
import re
from typing import Any

from core.playbook import Transport, World, get, world
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.exchange.views import Request, Response

# What a client and an upstream may send at any time, sensible or not.
CLIENT = [
    get(b"/1"), get(b"/hook"), get(b"/body", b"Content-Length: 4", method=b"POST"), b"abcd", b"ab",
    get(b"/2", b"Transfer-Encoding: chunked", method=b"POST"), b"2\r\nab\r\n", b"0\r\n\r\n", b"zz\r\n",
    get(b"/3", b"Connection: upgrade", b"Upgrade: websocket"), get(b"/4", b"Connection: close"), get(b"/5") * 40,
    get(b"/6", b"Content-Length: 4", b"Expect: 100-continue", method=b"PUT"),
    b"GET / HT", b"TP/1.1\r\nHost: h\r\n\r\n",
    b"bad\r\n", get(b"/late"), get(b"/buffered", b"Content-Length: 4", method=b"POST"), get(b"/7", version=b"1.0"),
    b"x" * 40_000, get(b"/answer"), get(b"/head", method=b"HEAD"), get(b"/raise"),
]
UPSTREAM = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok", b"ok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n", b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nok",
    b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n", b"nonsense\r\n", b"HTTP/1.1 200", b" OK\r\nConnection: close\r\n\r\n",
    b"o" * 40_000,
]
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 2), st.sampled_from(CLIENT)),
        st.tuples(st.just("answer"), st.integers(0, 2), st.sampled_from(UPSTREAM)),
        st.tuples(st.just("answer"), st.integers(0, 2), st.just(UPSTREAM[0])),
        st.tuples(
            st.sampled_from([
                "client eof", "client lost", "client stops", "client goes on", "upstream eof", "upstream lost",
                "upstream stops", "upstream goes on", "connect", "connect fails", "slow connect", "go", "time", "drain",
            ]),
            st.integers(0, 2),
            st.integers(0, 70),
        ),
    ),
    max_size=30,
)


class Course:
    """A world in which anything may happen."""

    def __init__(self, play: World) -> None:
        self.play = play
        self.waiting: list[asyncio.Future[None]] = []
        self.connecting: list[asyncio.Future[None]] = []
        self.clients: dict[int, Transport] = {}
        self.sent: dict[Transport, bytes] = {}

    async def late(self, *_: Any) -> None:
        self.waiting.append(self.play.loop.create_future())
        await self.waiting[-1]

    def client(self, number: int) -> Transport:
        client = self.clients.get(number)
        if client is None or client.closed:
            client = self.clients[number] = self.play.client()
        return client

    def upstream(self, number: int) -> Transport | None:
        open_ones = [each for each in self.play.upstreams if not each.closed]
        return open_ones[number % len(open_ones)] if open_ones else None

    def act(self, kind: str, number: int, what: Any) -> None:
        play = self.play
        who, _, how = kind.partition(" ")
        if who == "ask":
            self.client(number).send(what)
        elif who == "client":
            self.side(self.client(number), how)
        elif who in ("answer", "upstream"):
            upstream = self.upstream(number)
            if upstream is not None and who == "answer":
                upstream.send(what)
            elif upstream is not None:
                self.side(upstream, how)
        elif kind == "slow connect":
            self.connecting.append(play.loop.create_future())
            play.connecting.append(self.connecting[-1])
        elif who == "connect":
            if self.connecting:
                future = self.connecting.pop()
                if not future.done() and how:
                    future.set_exception(ConnectionRefusedError())
                elif not future.done():
                    future.set_result(None)
            elif how:
                play.connecting.append(ConnectionRefusedError())
        elif who == "go":
            if self.waiting and not (future := self.waiting.pop(0)).done():
                future.set_result(None)
        elif who == "time":
            play.pass_time(what)
        else:
            play.engine.close_idle()
        play.loop.run()

    def side(self, side: Transport, how: str) -> None:
        if how == "eof":
            side.eof()
        elif how == "lost":
            side.lose()
        elif not side.closed:
            side.stop_taking() if how == "stops" else side.take_on()


HEADS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n")


@settings(max_examples=400, deadline=None)
@given(ACTS)
def test_any_course_of_things(acts: list[tuple[str, int, Any]]) -> None:
    course: list[Course] = []

    async def late(*_: Any) -> None:
        await course[0].late()

    async def body(request: Request) -> None:
        await request.body()

    def wrong(request: Request) -> None:
        raise ValueError("wrong")

    routes: dict[str, dict[str, Any]] = {
        "/*": {},
        "/hook": {"on_request": [lambda request: None, late], "on_response": [late], "on_error": [late]},
        "/late": {"on_response": [late]},
        "/body": {"on_request": [body, late], "read_request": True},
        "/buffered": {"on_request": [body], "on_response": [late], "buffer_request": True, "buffer_response": True,
                      "read_request": True, "max_body": 10_000},
        "/answer": {"on_request": [lambda request: Response(403, "no")], "on_response": [late]},
        "/raise": {"on_request": [wrong]},
    }
    with world(routes, pool={"max_connections": 2, "queue": 2}) as play:
        course.append(Course(play))
        for kind, number, what in acts:
            course[0].act(kind, number, what)
        for client in course[0].clients.values():
            sent = client.taken()
            assert not sent or HEADS.match(sent) is not None
        for waiting in course[0].waiting:
            waiting.cancel()
        play.loop.run()
        course.clear()
