"""Whoever is slow, stale, retried, hedged or gone: each answer goes to the request that it was given for.

Every request carries a tag in its path, and an upstream answers with the tag of the request that it got on that
connection. So what a client gets says whose it is, and what upstreams got says how often.
"""

import asyncio
import re
from collections import Counter, defaultdict, deque
from typing import Any

from core.playbook import Transport, World, answer, get, post, world
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.delivery.retry import RetryRule
from fastgate._core.exchange.views import Response

RULE = {"attempts": 3, "budget": 1.0, "backoff": 0.05, "on": ["connect", "reset", "timeout", "5xx"]}
KINDS = ["hedge", "hedge", "hedge", "retry", "late", "slow", "pay"]

ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 2), st.sampled_from(KINDS)),
        st.tuples(st.just("answer"), st.integers(0, 3), st.sampled_from([200, 200, 200, 503])),
        st.tuples(st.just("begin"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("lose"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("answer and lose"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("leave"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("connect later"), st.just(0), st.just(0)),
        st.tuples(st.just("connect"), st.just(0), st.booleans()),
        st.tuples(st.just("go"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("stale"), st.integers(0, 2), st.sampled_from(KINDS)),
        st.tuples(st.just("time"), st.integers(0, 2), st.sampled_from([60, 120, 250])),
    ),
    min_size=10,
    max_size=40,
)


class Client:
    """A connection of a client, and the requests whose answers it waits for."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.asked: deque[bytes] = deque()
        self.received = b""

    def look(self) -> None:
        """What came is an answer to what was asked, in its order; or one of the gateway's own, which says which."""
        self.received += self.transport.taken()
        while match := re.match(rb"HTTP/1\.1 \d{3} [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n", self.received):
            length = re.search(rb"\r\nContent-Length: (\d+)\r\n", match[0])
            assert length is not None
            end = match.end() + int(length[1])
            if len(self.received) < end:
                break
            body, self.received = self.received[match.end() : end], self.received[end:]
            tag = self.asked.popleft()
            assert tag in body, (tag, body)


class Course:
    def __init__(self, play: World) -> None:
        self.play = play
        self.clients: dict[int, Client] = {}
        self.pending: dict[Transport, deque[bytes]] = defaultdict(deque)
        self.heads: dict[Transport, bytes] = defaultdict(bytes)
        self.begun: dict[Transport, bytes] = {}
        self.reached: Counter[bytes] = Counter()
        self.connecting: list[asyncio.Future[None]] = []
        self.hooks: list[asyncio.Future[None]] = []
        self.number = 0

    async def hook(self, *_: Any) -> None:
        self.hooks.append(self.play.loop.create_future())
        await self.hooks[-1]

    def collect(self) -> None:
        """What the upstreams got since the last look."""
        self.play.loop.run()
        for upstream in self.play.upstreams:
            self.heads[upstream] += upstream.taken()
            *heads, self.heads[upstream] = self.heads[upstream].split(b"\r\n\r\n")
            for head in heads:
                self.heads[upstream] = self.heads[upstream].removeprefix(b"x")
                found = re.search(rb"(?:GET|POST) (/\w+-\d+-) HTTP", head)
                assert found is not None, head
                self.pending[upstream].append(found[1])
                self.reached[found[1]] += 1

    def busy(self, number: int) -> Transport | None:
        busy = [each for each in self.play.upstreams if self.pending[each] and not each.closed]
        return busy[number % len(busy)] if busy else None

    def act(self, kind: str, number: int, what: Any) -> None:
        play = self.play
        self.collect()
        if kind == "ask":
            client = self.clients.get(number)
            if client is None or client.transport.closed:
                client = self.clients[number] = Client(play.client())
            self.number += 1
            tag = b"/%b-%d-" % (what.encode(), self.number)
            client.asked.append(tag)
            client.transport.send(post(b"x", tag) if what == "pay" else get(tag))
        elif kind in ("answer", "begin", "lose", "answer and lose"):
            upstream = self.busy(number)
            if upstream is not None and kind == "lose":
                upstream.lose()
            elif upstream is not None:
                tag = self.pending[upstream][0]
                whole = self.begun.pop(upstream, None) or answer(
                    b"for " + tag, status=b"503 Unavailable" if what == 503 else b"200 OK"
                )
                if kind == "begin":
                    upstream.send(whole[: len(whole) // 2])
                    self.begun[upstream] = whole[len(whole) // 2 :]
                else:
                    self.pending[upstream].popleft()
                    upstream.send(whole)
                    if kind == "answer and lose":
                        upstream.lose()
        elif kind == "time":
            play.pass_time(what / 1000)
        elif kind == "stale":
            # Asked over a connection that has rested, which ends unanswered a moment later.
            self.act("ask", number, what)
            self.act("time", 0, 60)
            self.act("lose", -1, 0)
        elif kind == "leave":
            client = self.clients.pop(number, None)
            if client is not None:
                client.look()
                client.transport.lose()
        elif kind == "connect later":
            self.connecting.append(play.loop.create_future())
            play.connecting.append(self.connecting[-1])
        elif kind == "connect":
            if self.connecting and not (future := self.connecting.pop()).done():
                future.set_result(None) if what else future.set_exception(ConnectionRefusedError())
        elif self.hooks and not (future := self.hooks.pop(number % len(self.hooks))).done():
            future.set_result(None)
        play.loop.run()
        for client in self.clients.values():
            client.look()


def check(acts: list[tuple[str, int, Any]]) -> None:
    course: list[Course] = []

    async def hook(*_: Any) -> None:
        await course[0].hook()

    async def sorry(request: Any, error: Any) -> Response:
        await course[0].hook()
        return Response(503, "sorry " + request.raw_path)

    routes: dict[str, dict[str, Any]] = {
        "~/hedge-.*": {"retry": RetryRule(**RULE, hedge_delay=0.1)},
        "~/retry-.*": {"retry": RetryRule(**RULE)},
        "~/late-.*": {"retry": RetryRule(**RULE), "on_request": [hook], "on_response": [hook], "on_error": [sorry]},
        "~/slow-.*": {"retry": RetryRule(**RULE, hedge_delay=0.1, try_timeout=0.2), "total_timeout": 0.5,
                      "on_request": [hook], "on_error": [sorry]},
        "~/pay-.*": {"retry": None},
    }
    with world(routes, targets=3, pool={"max_connections": 2, "queue": 2}) as play:
        course.append(Course(play))
        for kind in ("ask", "answer") * 3:
            # A connection to each target rests in the pool, and can turn out to be stale.
            course[0].act(kind, 0, "retry" if kind == "ask" else 200)
        for kind, number, what in acts:
            course[0].act(kind, number, what)
        course[0].collect()
        for tag, times in course[0].reached.items():
            assert times == 1 or not tag.startswith(b"/pay"), f"{tag!r} was sent {times} times"
        for waiting in course[0].hooks + course[0].connecting:
            waiting.cancel()
        play.loop.run()
        course.clear()


@settings(max_examples=1000, deadline=None)
@given(ACTS)
def test_each_answer_goes_to_its_own_request(acts: list[tuple[str, int, Any]]) -> None:
    check(acts)
