"""The runner of policies between fake transports: hooks at once, later and failing, bodies for them, on either side."""

import asyncio
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
from core.playbook import World, answer, asked, chunks, closes, get, head, post, status_of, world

from fastgate._core.exchange.views import ExchangeError, Headers, Request, Response
from fastgate._core.memory.plugin_times import plugin_times

Hook = Callable[..., Any]


class Later:
    """Hooks that wait for `go`."""

    def __init__(self) -> None:
        self.play: World | None = None
        self.waiting: list[asyncio.Future[Any]] = []

    def hook(self, result: Callable[..., Any] = lambda *_: None) -> Hook:
        async def wait(*seen: Any) -> Any:
            assert self.play is not None
            future = self.play.loop.create_future()
            self.waiting.append(future)
            await future
            return result(*seen)

        return wait

    def go(self) -> None:
        assert self.play is not None
        self.play.loop.run()
        self.waiting.pop(0).set_result(None)
        self.play.loop.run()


def noting(notes: list[str], name: str, result: object = None) -> Hook:
    def hook(*seen: Any) -> object:
        notes.append(name)
        return result

    return hook


def raising(error: type[BaseException]) -> Hook:
    def hook(*seen: Any) -> None:
        raise error("wrong")

    return hook


def failing_later(error: type[BaseException]) -> Hook:
    async def hook(*seen: Any) -> None:
        raise error("wrong")

    return hook


class Harsh(BaseException):
    """Something that is no Exception."""


def endless(*seen: Any) -> Any:
    return endless(*seen)


class Plain:
    """An awaitable whose iterator has neither send nor throw. It waits for a future, or is wrong."""

    def __init__(self, future: "asyncio.Future[Any] | None") -> None:
        self.future = future

    def __await__(self) -> Any:
        if self.future is None:
            raise ValueError("wrong")
        return chain(self.future.__await__())


# -- request side

def test_hooks_run_in_order_and_then_the_request_goes_on() -> None:
    notes: list[str] = []
    hooks = [noting(notes, "a"), noting(notes, "b"), noting(notes, "c")]
    with world({"/*": {"on_request": hooks}}) as play:
        client = play.client()
        client.send(get())
        assert play.upstream.taken() == asked(b"GET /")
        assert notes == ["a", "b", "c"]
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_a_hook_that_waits_holds_the_rest_and_nobody_else() -> None:
    notes: list[str] = []
    later = Later()
    hooks = [noting(notes, "a"), later.hook(), noting(notes, "b"), later.hook(), noting(notes, "c")]
    with world({"/*": {"on_request": hooks}, "/plain": {}}) as play:
        later.play = play
        client, other = play.client(), play.client()
        client.send(get(b"/x"))
        assert (notes, play.upstreams) == (["a"], [])
        other.send(get(b"/plain"))
        play.upstream.send(answer(b"plain"))
        assert other.taken() == answer(b"plain")
        later.go()
        assert notes == ["a", "b"]
        later.go()
        assert notes == ["a", "b", "c"]
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_whatever_can_be_awaited_is_waited_for() -> None:
    waited: list[asyncio.Future[Any]] = []
    hooks = [lambda request: waited[0], lambda request: Plain(waited[1]), lambda request: waited[2]]
    with world({"/*": {"on_request": hooks}}) as play:
        waited += [play.loop.create_future() for _ in range(3)]
        client = play.client()
        client.send(get())
        for future in waited[:2]:
            play.loop.run()
            future.set_result(None)
        play.loop.run()
        assert play.upstreams == []
        waited[2].set_result(Response(418, "enough"))
        assert status_of(client.taken()) == 418
        times = plugin_times(play.segment.region("plugins"), ["play"])["play"]
        assert (times["running"].count, times["waiting"].count) == (3, 3)


@pytest.mark.parametrize("kind", [lambda future: future, Plain])
def test_a_client_that_leaves_ends_whatever_is_waited_for(kind: Callable[[Any], Any]) -> None:
    waited: list[asyncio.Future[Any]] = []
    with world({"/*": {"on_request": [lambda request: kind(waited[0])]}}) as play:
        waited.append(play.loop.create_future())
        client = play.client()
        client.send(get())
        play.loop.run()
        client.lose()
        play.loop.run()
        assert waited[0].cancelled()
        assert play.logged == []


@pytest.mark.parametrize("awaited", [False, True])
def test_a_response_answers_the_request_here(awaited: bool) -> None:
    notes: list[str] = []

    def refuse(request: Request) -> Response:
        return Response(403, "no", headers={"X-Why": "because"})

    async def refuse_later(request: Request) -> Response:
        return refuse(request)

    with world({"/*": {"on_request": [refuse_later if awaited else refuse, noting(notes, "never")]}}) as play:
        client = play.client()
        for _ in range(2):
            sent = client.ask(get())
            assert status_of(sent) == 403
            assert sent.endswith(b"\r\n\r\nno")
            assert b"\r\nX-Why: because\r\n" in sent
            assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in sent
            assert b"\r\nContent-Length: 2\r\n" in sent
        sent = client.ask(get(method=b"HEAD"))
        assert sent.endswith(b"\r\n\r\n")
        assert b"\r\nContent-Length: 2\r\n" in sent
        assert (notes, play.upstreams, client.closed) == ([], [], False)


def test_an_answer_to_a_request_whose_body_is_still_coming() -> None:
    with world({"/*": {"on_request": [lambda request: Response(401)]}, "/next": {}}) as play:
        client = play.client()
        assert status_of(client.ask(get(b"/", b"Content-Length: 10", method=b"POST") + b"01")) == 401
        client.send(b"23456789" + get(b"/next"))
        assert play.upstream.taken() == asked(b"GET /next")
        sent = play.client().ask(get(b"/", b"Content-Length: 10", b"Expect: 100-continue", method=b"POST"))
        assert status_of(sent) == 401
        assert closes(sent)


@pytest.mark.parametrize(
    "hook",
    [
        raising(ValueError), failing_later(ValueError), lambda *_: 5, lambda *_: "text",
        raising(asyncio.TimeoutError), failing_later(asyncio.CancelledError), lambda *_: Response,
        raising(asyncio.CancelledError), raising(SystemExit), raising(GeneratorExit), raising(KeyboardInterrupt),
        raising(Harsh), endless, failing_later(KeyboardInterrupt),
        failing_later(SystemExit), failing_later(GeneratorExit), failing_later(Harsh), lambda *_: Plain(None),
    ],
)
@pytest.mark.parametrize("side", ["on_request", "on_response"])
def test_a_hook_that_fails_is_500_and_logged_once_with_its_route(hook: Hook, side: str) -> None:
    with world({"/bad": {side: [hook]}, "/*": {}}) as play:
        client = play.client()
        for number in range(1, 4):
            client.send(get(b"/bad"))
            if side == "on_response":
                play.upstream.send(answer(b"secret"))
            sent = client.taken()
            assert status_of(sent) == 500
            assert b"secret" not in sent
            assert b"wrong" not in sent
            assert [level for level, _ in play.logged] == ["error"] * number
            assert "'/bad'" in play.logged[-1][1]
            assert play.metrics()["policy_errors"] == number
        client.send(get(b"/good"))
        play.upstream.taken()
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_what_a_hook_changes_is_what_the_upstream_gets() -> None:
    def change(request: Request) -> None:
        request.headers.set("X-New", "1")
        request.headers.add("x-old", "3")
        request.headers.set("Both", "new")
        request.headers.remove("secret")

    with world({"/*": {"on_request": [change]}}) as play:
        play.client().send(get(b"/", b"X-Old: 2", b"Secret: a", b"both: 1", b"BOTH: 2", b"SECRET: b"))
        assert play.upstream.taken() == asked(b"GET /", b"X-Old: 2", after=(b"X-New: 1", b"x-old: 3", b"Both: new"))


# -- request bodies

@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_that_a_policy_reads_whole(framing: str) -> None:
    seen: list[bytes] = []

    async def read(request: Request) -> None:
        seen.append(await request.body())
        seen.append(await request.body())

    options = {"on_request": [read, read], "read_request": True, "buffer_request": True}
    with world({"/*": options}) as play:
        for size in (0, 1, 5, 20_000, 200_000):
            body = bytes(number % 251 for number in range(size))
            seen.clear()
            client = play.client()
            if framing == "length":
                client.send(*cut(post(body)))
            else:
                parts = [body[at : at + 7000] for at in range(0, size, 7000)]
                client.send(*cut(get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + chunks(*parts)))
            assert seen == [body] * 4
            got = play.upstream.taken()
            assert unframed(got) == body
            assert b"\r\nContent-Length: %d\r\n" % size in got or size < 9000, "what came in one read may stay chunked"
            play.upstream.send(answer(b"ok"))
            assert client.taken() == answer(b"ok")


def cut(data: bytes) -> list[bytes]:
    return [data[at : at + 9000] for at in range(0, len(data), 9000)]


def test_a_body_that_came_whole_with_its_head_is_read_at_once() -> None:
    seen: list[bytes] = []

    async def read(request: Request) -> None:
        seen.append(await request.body())

    with world({"/*": {"on_request": [read], "read_request": True, "buffer_request": True}}) as play:
        client = play.client()
        client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + chunks(b"ab", b"cd"))
        assert seen == [b"abcd"]
        got = play.upstream.taken()
        assert unframed(got) == b"abcd"


def unframed(message: bytes) -> bytes:
    begin, _, body = message.partition(b"\r\n\r\n")
    return body if b"chunked" not in begin else b"".join(body.split(b"\r\n")[1::2])


def test_a_body_that_a_policy_peeks_into_streams_on() -> None:
    seen: list[bytes] = []

    async def read(request: Request) -> None:
        seen.append(await request.body())

    with world({"/*": {"on_request": [read], "read_request": True}}) as play:
        body = bytes(number % 251 for number in range(100_000))
        client = play.client()
        client.send(get(b"/", b"Content-Length: 100000", method=b"POST"), body[:10_000])
        assert (seen, play.upstreams) == ([], [])
        client.send(body[10_000:20_000])
        assert seen == [body[:16384]]
        got = play.upstream.taken()
        assert got.endswith(b"\r\n\r\n" + body[:20_000])
        client.send(body[20_000:60_000], body[60_000:])
        assert play.upstream.taken() == body[20_000:]
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_a_short_body_is_peeked_whole() -> None:
    seen: list[bytes] = []

    async def read(request: Request) -> None:
        seen.append(await request.body())

    with world({"/*": {"on_request": [read], "read_request": True}}) as play:
        client = play.client()
        client.send(get(b"/", b"Content-Length: 4", method=b"POST"), b"ab")
        assert seen == []
        client.send(b"cd")
        assert seen == [b"abcd"]
        assert play.upstream.taken().endswith(b"\r\n\r\nabcd")


def test_a_policy_that_reads_a_body_makes_the_client_go_on() -> None:
    async def read(request: Request) -> None:
        assert await request.body() == b"ab"

    for buffer in (True, False):
        with world({"/*": {"on_request": [read], "read_request": True, "buffer_request": buffer}}) as play:
            client = play.client()
            sent = client.ask(get(b"/", b"Content-Length: 2", b"Expect: 100-continue", method=b"POST"))
            assert sent == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(b"ab")
            assert play.upstream.taken() == asked(b"POST /", after=(b"Content-Length: 2",)) + b"ab" or buffer
            play.upstream.send(answer(b"ok"))
            assert client.taken() == answer(b"ok")


def test_a_body_that_no_policy_declared_cannot_be_read() -> None:
    def read(request: Request) -> None:
        with pytest.raises(RuntimeError, match="body"):
            request.body()

    with world({"/*": {"on_request": [read]}}) as play:
        client = play.client()
        client.send(post(b"x"))
        assert play.logged == []
        assert play.upstream.taken().endswith(b"x")


def test_a_buffered_body_over_the_limit() -> None:
    async def read(request: Request) -> None:
        await request.body()

    with world({"/*": {"on_request": [read], "read_request": True, "buffer_request": True, "max_body": 10}}) as play:
        client = play.client()
        client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST"), chunks(b"0123456789", last=False))
        assert status_of(client.ask(chunks(b"x"))) == 413
        assert (play.upstreams, play.logged) == ([], [])


def test_a_waiting_policy_holds_back_a_client_that_sends_much() -> None:
    later = Later()
    with world({"/*": {"on_request": [later.hook()]}}) as play:
        later.play = play
        client = play.client()
        body = b"x" * 200_000
        client.send(get(b"/", b"Content-Length: 200000", method=b"POST"), body[:50_000], body[50_000:100_000])
        assert not client.reading
        client.send(body[100_000:150_000], body[150_000:])
        later.go()
        assert client.reading
        assert play.upstream.taken().endswith(b"\r\n\r\n" + body)
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_route_may_buffer_without_a_policy(framing: str) -> None:
    with world({"/*": {"buffer_request": True}}) as play:
        client = play.client()
        if framing == "length":
            client.send(get(b"/", b"Content-Length: 4", method=b"POST"), b"ab")
        else:
            client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST"), chunks(b"ab", last=False))
        assert play.upstreams == []
        client.send(b"cd" if framing == "length" else chunks(b"cd"))
        assert play.upstream.taken() == asked(b"POST /", after=(b"Content-Length: 4",)) + b"abcd"
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        assert not play.upstream.closed


# -- response side

def test_response_hooks_see_and_change_the_head() -> None:
    def change(request: Request, response: Response) -> None:
        assert (request.method, response.status, response.headers["x-up"]) == ("GET", 200, "1")
        response.status = 201
        response.headers.set("X-New", "2")
        response.headers.remove("X-Up")

    with world({"/*": {"on_response": [change]}}) as play:
        client = play.client()
        for framing, body in (((b"Content-Length: 2",), b"ok"), ((b"Transfer-Encoding: chunked",), chunks(b"o", b"k"))):
            client.send(get())
            play.upstream.send(head(*framing, b"X-Up: 1") + body)
            begin, _, rest = client.taken().partition(b"\r\n\r\n")
            assert begin.startswith(b"HTTP/1.1 201 Created\r\n")
            assert b"\r\nX-New: 2" in begin
            assert b"X-Up" not in begin
            assert rest in (b"ok", chunks(b"ok"), chunks(b"o", b"k"))


def test_response_hooks_that_wait_hold_the_body_and_the_upstream() -> None:
    later = Later()
    with world({"/*": {"on_response": [later.hook(), later.hook()]}}) as play:
        later.play = play
        client = play.client()
        client.send(get())
        body = b"x" * 200_000
        play.upstream.send(head(b"Content-Length: 200000") + body[:10], body[10:50_000], body[50_000:100_000])
        assert not play.upstream.reading
        play.upstream.send(body[100_000:])
        later.go()
        assert client.taken() == b""
        later.go()
        assert client.taken() == head(b"Content-Length: 200000") + body
        client.send(get())
        play.upstream.send(answer(b"short"))
        later.go()
        later.go()
        assert client.taken() == answer(b"short")


@pytest.mark.parametrize("whole", [True, False])
def test_a_response_body_that_a_policy_reads(whole: bool) -> None:
    seen: list[bytes] = []

    def read(request: Request, response: Response) -> None:
        seen.append(response.body())

    with world({"/*": {"on_response": [read, read], "buffer_response": True}}) as play:
        client = play.client()
        for response in (answer(b"hello"), head(b"Transfer-Encoding: chunked") + chunks(b"hel", b"lo"), answer()):
            seen.clear()
            client.send(get())
            play.upstream.send(*([response] if whole else [response[at : at + 1] for at in range(len(response))]))
            body = b"" if response == answer() else b"hello"
            assert seen == [body, body]
            sent = client.taken()
            assert sent.endswith(b"\r\n\r\n" + body)
            assert b"\r\nContent-Length: %d\r\n" % len(body) in sent
            assert b"chunked" not in sent
            assert not play.upstream.closed
        client.send(get())
        play.upstream.send(head() + b"hel")
        play.upstream.send(b"lo")
        play.upstream.eof()
        assert client.taken().endswith(b"\r\n\r\nhello")


def test_a_head_request_keeps_its_length_through_a_buffering_route() -> None:
    with world({"/*": {"on_response": [lambda request, response: None], "buffer_response": True}}) as play:
        client = play.client()
        client.send(get(method=b"HEAD"))
        play.upstream.send(head(b"Content-Length: 1234"))
        sent = client.taken()
        assert b"\r\nContent-Length: 1234\r\n" in sent
        client.send(get())
        play.upstream.send(head(b"Content-Length: 1234", status=b"304 Not Modified"))
        assert b"Content-Length: 0" not in client.taken()


def test_another_response_in_place_of_the_upstreams() -> None:
    def replace(request: Request, response: Response) -> Response:
        return Response(418, "other")

    def look(request: Request, response: Response) -> None:
        assert (response.status, response.body()) == (418, b"other")
        response.headers.set("X-Seen", "1")

    with world({"/*": {"on_response": [replace, look]}}) as play:
        client = play.client()
        client.send(get())
        upstream = play.upstream
        upstream.send(head(b"Content-Length: 10") + b"x")
        sent = client.taken()
        assert status_of(sent) == 418
        assert sent.endswith(b"\r\n\r\nother")
        assert b"\r\nX-Seen: 1\r\n" in sent
        assert upstream.aborted
        client.send(get())
        play.upstream.send(answer(b"whole"))
        assert client.taken().endswith(b"other")


def test_response_hooks_also_see_the_answer_of_a_request_hook() -> None:
    def look(request: Request, response: Response) -> None:
        assert (response.status, response.body()) == (403, b"no")
        response.status = 404

    with world({"/*": {"on_request": [lambda request: Response(403, b"no")], "on_response": [look]}}) as play:
        sent = play.client().ask(get())
        assert status_of(sent) == 404
        assert sent.endswith(b"\r\n\r\nno")


def test_a_cut_while_a_policy_looks_at_the_head() -> None:
    later = Later()
    with world({"/*": {"on_response": [later.hook()]}}) as play:
        later.play = play
        client = play.client()
        client.send(get())
        play.upstream.send(head(b"Content-Length: 10") + b"x")
        play.upstream.eof()
        assert status_of(client.taken()) == 502
        assert later.waiting[0].cancelled()


def test_a_buffered_response_over_the_limit() -> None:
    options = {"on_response": [lambda request, response: None], "buffer_response": True, "max_body": 10}
    with world({"/*": options}) as play:
        for response in (answer(b"x" * 11), head(b"Transfer-Encoding: chunked") + chunks(b"x" * 11, last=False)):
            client = play.client()
            client.send(get())
            play.upstream.send(response)
            assert status_of(client.taken()) == 502
        assert play.upstream.closed


# -- errors

def test_error_hooks_may_answer_and_the_first_wins() -> None:
    notes: list[str] = []

    def rescue(request: Request, error: ExchangeError) -> Response:
        notes.append(f"{error.cause} {error.status} {error.__cause__!r}")
        return Response(200, "from the shelf")

    with world({"/*": {"on_error": [noting(notes, "first"), rescue, noting(notes, "never")]}}) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(b"nonsense\r\n")
        sent = client.taken()
        assert status_of(sent) == 200
        assert sent.endswith(b"from the shelf")
        assert notes == ["first", "response_bad_start_line 502 None"]


def test_error_hooks_that_wait_or_say_nothing() -> None:
    later = Later()
    notes: list[str] = []
    with world({"/*": {"on_error": [later.hook(), noting(notes, "second")]}}) as play:
        later.play = play
        client = play.client()
        client.send(get())
        play.upstream.send(b"nonsense\r\n")
        assert client.taken() == b""
        later.go()
        assert status_of(client.taken()) == 502
        assert notes == ["second"]


def test_error_hooks_are_told_of_a_policy_that_raised() -> None:
    seen: list[str] = []

    def see(request: Request, error: ExchangeError) -> None:
        seen.append(repr(error.__cause__))
        assert (error.cause, error.status) == ("policy_failed", 500)

    with world({"/*": {"on_request": [raising(ValueError)], "on_error": [see]}}) as play:
        assert status_of(play.client().ask(get())) == 500
        assert seen == ["ValueError('wrong')"]
        assert len(play.logged) == 1


@pytest.mark.parametrize("hook", [raising(ValueError), failing_later(ValueError), lambda *_: 5])
def test_error_hooks_that_fail_themselves(hook: Hook) -> None:
    with world({"/*": {"on_error": [hook, hook]}}) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(b"nonsense\r\n")
        assert status_of(client.taken()) == 500
        assert [level for level, _ in play.logged].count("error") == 1
        client.send(get())
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")


def test_error_hooks_are_not_asked_once_an_answer_has_begun_or_the_client_is_gone() -> None:
    notes: list[str] = []
    with world({"/*": {"on_error": [noting(notes, "never")]}}) as play:
        client = play.client()
        client.send(get())
        play.upstream.send(head(b"Content-Length: 10") + b"x")
        play.upstream.eof()
        client = play.client()
        client.send(get())
        client.lose()
        assert notes == []


# -- views

def test_views_are_over_when_the_exchange_is() -> None:
    kept: list[Any] = []

    def on_request(request: Request) -> None:
        kept.extend([request, request.headers])

    def on_response(request: Request, response: Response) -> None:
        kept.extend([response, response.headers])

    with world({"/*": {"on_request": [on_request], "on_response": [on_response]}}) as play:
        client = play.client()
        client.send(get(b"/secret", b"A: 1"))
        play.upstream.send(answer(b"ok"))
        client.send(get(b"/other"))
        request, headers, response, response_headers = kept[:4]
        for name in (
            "method", "scheme", "host", "path", "raw_path", "query", "query_string", "headers", "cookies", "params",
            "client_ip", "id", "route", "identity", "state", "deadline",
        ):
            with pytest.raises(RuntimeError, match="over"):
                getattr(request, name)
        with pytest.raises(RuntimeError, match="over"):
            request.identity = 1
        with pytest.raises(RuntimeError, match="over"):
            request.body()
        with pytest.raises(RuntimeError, match="over"):
            response.status  # noqa: B018
        with pytest.raises(RuntimeError, match="over"):
            response.status = 200
        with pytest.raises(RuntimeError, match="over"):
            response.body()
        for view in (headers, response_headers):
            assert isinstance(view, Headers)
            for use in (
                lambda view=view: view.get("a"), lambda view=view: view.get_all("a"), lambda view=view: view.items(),
                lambda view=view: view.set("a", "b"), lambda view=view: view.add("a", "b"),
                lambda view=view: list(view),
                lambda view=view: view.remove("a"), lambda view=view: len(view), lambda view=view: view["a"],
            ):
                with pytest.raises(RuntimeError, match="over"):
                    use()
            assert "over" in repr(view) or "ended" in repr(view)
        assert "over" in repr(request)
        assert "over" in repr(response)
        play.upstream.send(answer(b"ok"))


def test_a_body_reader_that_outlives_its_exchange() -> None:
    tasks: list[asyncio.Task[bytes]] = []

    def on_request(request: Request) -> Response:
        assert holder.play is not None
        tasks.append(holder.play.loop.create_task(request.body()))  # type: ignore[arg-type]
        return Response(200)

    holder = Later()
    options = {"on_request": [on_request], "read_request": True}
    with world({"/*": options}) as play:
        holder.play = play
        client = play.client()
        client.send(get(b"/", b"Content-Length: 5", method=b"POST"))
        play.loop.run()
        assert status_of(client.taken()) == 200
        assert tasks[0].done()
        assert tasks[0].cancelled() or tasks[0].exception() is not None or tasks[0].result() == b""


def test_responses_may_be_given_more_than_once() -> None:
    shared = Response(403, "no", headers={"A": "1"})
    with world({"/*": {"on_request": [lambda request: shared]}}) as play:
        client = play.client()
        first = client.ask(get())
        assert client.ask(get()) == first
        assert play.client().ask(get()) == first
