"""The end of an exchange: the plugins that it came to are told once, then the observers, however it ends."""

import asyncio
import gc
import random
from collections.abc import Callable
from typing import Any

import pytest
from core.playbook import Finishing, World, answer, by_chance, chunks, get, head, post, status_of, world
from core.test_copies import mirrored

from fastgate._core.delivery.retry import RetryRule
from fastgate._core.exchange.outcome import Outcome
from fastgate._core.exchange.views import Request, Response
from fastgate._core.probes.debts import Owes
from fastgate._core.probes.ends import Notes

Hook = Callable[..., Any]


def errors_of(play: World) -> list[str]:
    return [message for level, message in play.logged if level == "error"]


def noting(diary: list[Any], name: str) -> Hook:
    """A hook that writes down what it is told, and that it can read the request."""

    def on_finish(request: Request, outcome: Outcome) -> None:
        diary.append((name, outcome.cause, outcome.status, request.headers.get("host"), request.scheme))

    return on_finish


def three(diary: list[Any], acts: Hook, finish: Hook | None = None) -> dict[str, Any]:
    """Three plugins with ``on_finish``: the first with an ``on_request`` that acts, one without, one that passes."""

    def passes(request: Request) -> None: ...

    return {
        "on_request": [
            Finishing(noting(diary, "acts")), acts, Finishing(finish or noting(diary, "watches")),
            Finishing(noting(diary, "last")), passes,
        ],
    }


WAYS = {
    "answered": ("ok", 200),
    "answered in chunks": ("ok", 200),
    "a hook answered": ("policy", 418),
    "a hook raised": ("policy_failed", 500),
    "refused later": ("body_too_large", 413),
    "upstream lost": ("upstream_reset", 502),
    "response cut": ("response_cut", 200),
    "client gone": ("client_gone", 499),
    "client gone, hook waits": ("client_gone", 499),
    "client cut": ("client_cut", 499),
    "timed out": ("read_timeout", 504),
    "too long": ("total_timeout", 504),
    "stopped": ("stopped", 503),
    "stopped midway": ("stopped", 200),
}


def acting(way: str, play: Callable[[], World]) -> Hook:
    """The first plugin's ``on_request``."""

    def on_request(request: Request) -> Any:
        if way == "a hook answered":
            return Response(418, "no")
        if way == "a hook raised":
            raise ValueError("mine")
        return play().loop.create_future() if way == "client gone, hook waits" else None

    return on_request


def end(play: World, way: str) -> None:
    """Lets one exchange end in this way."""
    client = play.client()
    if way in ("refused later", "client cut"):
        client.send(head_of_upload(), chunks(b"x" * 5, last=False))
        if way == "client cut":
            client.lose()
        else:
            client.send(chunks(b"x" * 20))
        return
    client.send(get())
    match way:
        case "answered":
            play.upstream.send(answer(b"ok"))
        case "answered in chunks":
            play.upstream.send(head(b"Transfer-Encoding: chunked"), chunks(b"o", last=False), chunks(b"k"))
        case "upstream lost":
            play.upstream.lose()
        case "response cut":
            play.upstream.send(answer(b"whole")[:-2])
            play.upstream.lose()
        case "client gone" | "client gone, hook waits":
            client.lose()
        case "timed out" | "too long":
            play.pass_time(10)
        case "stopped":
            play.engine.abort_connections()
        case "stopped midway":
            play.upstream.send(answer(b"whole")[:-2])
            play.engine.abort_connections()


def head_of_upload() -> bytes:
    return get(b"/", b"Transfer-Encoding: chunked", method=b"POST")


def limits_of(way: str) -> dict[str, Any]:
    limits: dict[str, Any] = {"read_timeout": 5 if way == "timed out" else 0, "max_body": 10, "retry": None}
    return {**limits, "total_timeout": 5} if way == "too long" else limits


@pytest.mark.parametrize("way", WAYS)
def test_however_it_ends_plugins_are_told_and_then_observers(way: str) -> None:
    diary: list[Any] = []
    worlds: list[World] = []
    route = three(diary, acting(way, lambda: worlds[0]))
    with world({"/*": {"gates": [Owes(diary, "debt")], **route, **limits_of(way)}}) as play:
        worlds.append(play)
        play.engine.runtime.observers = [Notes(diary, "first"), Notes(diary, "second")]
        end(play, way)
        cause, status = WAYS[way]
        told = diary[1:-2]
        fields = 2 if way in ("refused later", "client cut") else 1
        assert diary[0] == ("debt", cause, True, fields)
        # Those to which the request came, each once, the last first.
        names = ["acts"] if "hook" in way else ["last", "watches", "acts"]
        assert told == [(name, cause, status, "h", "http") for name in names]
        assert diary[-2:] == [(name, cause, True, True, fields, "/*") for name in ("first", "second")]
        assert len(errors_of(play)) == (way == "a hook raised")
        worlds.clear()


@pytest.mark.parametrize("error", [ValueError, SystemExit, GeneratorExit, KeyboardInterrupt, asyncio.CancelledError])
@pytest.mark.parametrize("way", ["answered", "upstream lost", "client gone", "stopped"])
def test_a_hook_that_raises_is_logged_and_the_others_are_told(way: str, error: type[BaseException]) -> None:
    diary: list[Any] = []

    def fails(request: Request, outcome: Outcome) -> None:
        raise error("mine")

    with world({"/*": {**three(diary, lambda _: None, fails), **limits_of(way)}}) as play:
        play.engine.runtime.observers = [Notes(diary, "observer")]
        end(play, way)
        assert [each[0] for each in diary] == ["last", "acts", "observer"]
        (said,) = errors_of(play)
        assert "fails on route '/*' raised" in said
        assert f"{error.__name__}: mine" in said
        assert play.metrics()["policy_errors"] == 1
        assert type(play.errors[0]) is error
        play.errors.clear()


def test_what_is_no_awaitable_is_a_mistake() -> None:
    with world({"/*": {"on_request": [Finishing(lambda *_: Response(200))]}}) as play:
        end(play, "answered")
        assert "on_finish must return None or an awaitable of it, not Response" in errors_of(play)[0]
        play.errors.clear()


def test_the_outcome_has_what_the_access_log_has() -> None:
    seen: list[Outcome] = []
    keeps = Finishing(lambda _, outcome: seen.append(outcome))
    routes = {"/*": {"on_request": [keeps]}, "/no": {"on_request": [keeps, lambda _: Response(403)]}}
    with world(routes) as play:
        client = play.client()
        client.send(post(b"x" * 100))
        play.upstream.send(answer(b"y" * 50))
        client.send(get(b"/no"))
        served, refused = seen
        assert (served.status, served.cause, served.bytes_in, served.bytes_out) == (200, "ok", 100, 50)
        assert (served.upstream, served.attempts) == ("t0:80", 1)
        times = [served.head_time, served.policies_time, served.connect_time, served.response_time, served.body_time]
        assert all(time is not None and 0 <= time <= served.total_time for time in times)
        assert sum(time for time in times if time is not None) == pytest.approx(served.total_time, abs=1e-5)
        assert (refused.status, refused.cause, refused.upstream, refused.attempts) == (403, "policy", None, 0)
        assert (refused.connect_time, refused.response_time, refused.body_time) == (None, None, None)
        assert refused.head_time is not None
        with pytest.raises(AttributeError):
            served.status = 201  # type: ignore[misc]


def test_what_a_gate_refuses_is_told_to_no_plugin() -> None:
    diary: list[Any] = []
    with world({"/*": {**three(diary, lambda _: None), "max_body": 10}}) as play:
        assert status_of(play.client().ask(post(b"x" * 100))) == 413
        assert status_of(play.client().ask(b"GET /../.. HTTP/1.1\r\nHost: h\r\n\r\n")) == 400
        assert diary == []


def test_views_end_after_the_hooks() -> None:
    kept: list[Any] = []

    def keeps(request: Request, outcome: Outcome) -> None:
        kept.extend((request, request.headers, request.path))

    with world({"/*": {"on_request": [Finishing(keeps)]}}) as play:
        end(play, "answered")
        request, fields, path = kept
        assert path == "/"
        for use in (lambda: request.method, lambda: fields.get("host")):
            with pytest.raises(RuntimeError, match="over"):
                use()


def test_copies_are_told_to_no_plugin() -> None:
    diary: list[Any] = []
    hedged = {"retry": RetryRule(hedge_delay=0.1, attempts=2), **three(diary, lambda _: None)}
    with world({"/*": hedged}, targets=2) as play:
        mirrored(play, **three(diary, lambda _: None))
        play.engine.runtime.observers = [Notes(diary, "observer")]
        for path in (b"/m/x", b"/"):
            client = play.client()
            client.send(get(path))
            play.pass_time(0.5)
            for upstream in play.upstreams:
                if not upstream.closed:
                    upstream.send(answer(b"ok"))
            assert status_of(client.taken()) == 200
            assert [each[0] for each in diary] == ["last", "watches", "acts", "observer"]
            diary.clear()
        assert (play.metrics()["mirrored"], play.metrics()["hedges"]) == (1, 1)


# -- what waits

class Waiting:
    """An ``on_finish`` that waits for `go`, and then reads the request."""

    def __init__(self) -> None:
        self.play: World | None = None
        self.futures: list[asyncio.Future[None]] = []
        self.seen: list[Any] = []
        self.kept: list[Request] = []

    async def on_finish(self, request: Request, outcome: Outcome) -> None:
        assert self.play is not None
        self.kept.append(request)
        self.futures.append(self.play.loop.create_future())
        await self.futures[-1]
        self.seen.append((outcome.cause, request.path, request.headers.get("host"), request.scheme))

    def go(self) -> None:
        assert self.play is not None
        self.futures.pop(0).set_result(None)
        self.play.loop.run()

    def go_if_any(self) -> None:
        if self.futures:
            self.go()


def waiting(plugin: Waiting, **route: Any) -> dict[str, Any]:
    return {"/*": {"on_request": [Finishing(plugin.on_finish)], **route}}


@pytest.mark.parametrize("way", [way for way in WAYS if "hook" not in way])
def test_a_hook_that_waits_holds_nobody_up_and_can_read_the_request(way: str) -> None:
    plugin = Waiting()
    with world(waiting(plugin, **limits_of(way))) as play:
        plugin.play = play
        diary: list[Any] = []
        play.engine.runtime.observers = [Notes(diary, "observer")]
        end(play, way)
        assert [each[0] for each in diary] == ["observer"]
        assert len(play.engine.afterwards) == 1
        client = play.client()
        client.send(get(b"/next"))
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        client.lose()
        plugin.go()
        plugin.go()
        assert [(cause, path) for cause, path, *_ in plugin.seen] == [(WAYS[way][0], "/"), ("ok", "/next")]
        assert {tuple(rest) for _, _, *rest in plugin.seen} == {("h", "http")}
        assert play.engine.afterwards == set()
        for request in plugin.kept:
            with pytest.raises(RuntimeError, match="over"):
                _ = request.method
        assert errors_of(play) == []
        plugin.play = None


def test_a_hook_that_waits_and_then_fails() -> None:
    for error in (ValueError, SystemExit, KeyboardInterrupt):

        async def fails(request: Request, outcome: Outcome, error: type[BaseException] = error) -> None:
            raise error("mine")

        with world({"/*": {"on_request": [Finishing(fails)]}}) as play:
            end(play, "answered")
            assert f"fails on route '/*' raised {error.__name__}: mine" in errors_of(play)[0]
            assert play.metrics()["policy_errors"] == 1
            play.errors.clear()


def test_a_hook_that_waits_too_long_is_cancelled_and_the_others_are_not() -> None:
    plugin, quick = Waiting(), Waiting()
    route = {"on_request": [Finishing(plugin.on_finish), Finishing(quick.on_finish)]}
    with world({"/*": route}) as play:
        plugin.play = quick.play = play
        end(play, "answered")
        play.pass_time(20)
        quick.go()
        assert plugin.kept[0].method == "GET"
        play.pass_time(11)
        assert play.engine.afterwards == set()
        assert plugin.futures[0].cancelled()
        (said,) = errors_of(play)
        assert "Waiting.on_finish" in said
        assert "cancelled after 30 seconds" in said
        with pytest.raises(RuntimeError, match="over"):
            _ = plugin.kept[0].method
        plugin.play = quick.play = None
        play.errors.clear()


@pytest.mark.filterwarnings("error")
def test_what_has_not_begun_when_the_worker_stops_is_closed() -> None:
    plugin = Waiting()
    with world() as play:
        plugin.play = play
        stops = lambda *_: play.engine.stop()  # noqa: E731
        play.route("/x", on_request=[Finishing(stops), Finishing(plugin.on_finish)])
        client = play.client()
        client.send(get(b"/x"))
        play.upstream.send(answer(b"ok"))
        assert play.engine.afterwards == set()
        assert plugin.kept == []
        assert "cancelled before it was done" in errors_of(play)[0]
        # Nothing is begun any more.
        client.send(get(b"/x"))
        play.upstream.send(answer(b"ok"))
        assert plugin.kept == []
        assert play.metrics()["policy_errors"] == 2
        plugin.play = None
        play.errors.clear()
        gc.collect()


@pytest.mark.filterwarnings("error")
def test_so_many_wait_and_no_more() -> None:
    plugin = Waiting()
    with world(waiting(plugin)) as play:
        plugin.play = play
        client = play.client()
        for _ in range(1003):
            client.send(get())
            play.upstream.send(answer())
        assert len(play.engine.afterwards) == len(plugin.futures) == 1000
        assert play.metrics()["policy_errors"] == 3
        warned = [message for level, message in play.logged if level == "warning"]
        assert len(warned) == 1
        assert "Waiting.on_finish was cancelled: 1000 on_finish hooks of this worker still wait" in warned[0]
        plugin.go()
        client.send(get())
        play.upstream.send(answer())
        assert len(plugin.futures) == 1000
        play.engine.stop()
        plugin.play = None
        play.errors.clear()
        gc.collect()


def test_generated_courses_tell_each_end_once() -> None:
    """Exchanges that end in a chance order of ways, beside each other: as many are told of as began."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(300):
        diary: list[Any] = []
        plugin = Waiting()

        def either(
            request: Request, outcome: Outcome, diary: list[Any] = diary, plugin: Waiting = plugin
        ) -> Any:
            diary.append(("plugin", outcome.cause))
            kind = chance.randrange(3)
            if kind == 0:
                raise ValueError("mine")
            return plugin.on_finish(request, outcome) if kind == 1 else None

        route = three(diary, lambda _: None, either)
        with world({"/*": {**route, "retry": None, "read_timeout": 5}}) as play:
            plugin.play = play
            play.engine.runtime.observers = [Notes(diary, "!observer"), Notes(diary, "observer")]
            by_chance(play, chance, plugin.go_if_any)
            begun = play.metrics()["requests"]
        play.errors.clear()
        plugin.play = None
        names = [each[0] for each in diary]
        assert names == ["last", "plugin", "acts", "!observer", "observer"] * begun, f"seed {seed}"
