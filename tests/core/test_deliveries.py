"""What the contract of a delivery allows, shown by deliveries made for tests; and what ends exactly once."""

import random
from collections import Counter
from typing import Any

import pytest
from core.playbook import World, answer, asked, chunks, get, head, post, status_of, world

from fastgate._core.delivery.hedge import Hedged
from fastgate._core.delivery.mirror import Mirrored
from fastgate._core.delivery.retry import RetryRule
from fastgate._core.delivery.split import Split
from fastgate._core.delivery.tries import Upstreams
from fastgate._core.probes.debts import Owes
from fastgate._core.probes.deliveries import (
    Delayed,
    Detaches,
    Keeps,
    Lies,
    Plan,
    Spools,
    Streams,
    Watched,
    WatchedRule,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


def upstreams(play: World, **options: Any) -> Upstreams:
    return Upstreams(play.pool, **options)


# -- own answers


def megabytes(count: int) -> list[bytes]:
    return [bytes([number % 256]) * 65536 for number in range(count * 16)]


def test_an_own_answer_of_10_mb_waits_for_a_slow_client() -> None:
    pieces = megabytes(10)
    with world({"/unused": {}}) as play:
        streams = Streams(OK % (10 << 20), lambda: pieces)
        play.route("/*", delivery=streams)
        client = play.client()
        client.stop_taking()
        client.send(get())
        made = streams.made
        assert made < 4
        play.loop.run()
        assert streams.made == made
        taken = client.taken()
        while streams.made <= len(pieces):
            before = streams.made
            client.take_on()
            client.stop_taking()
            assert streams.made > before
            taken += client.taken()
        assert taken.partition(b"\r\n\r\n")[2] == b"".join(pieces)
        client.take_on()
        client.send(get())
        assert client.taken().partition(b"\r\n\r\n")[2] == b"".join(pieces)


def test_a_client_that_leaves_ends_an_own_answer() -> None:
    closed: list[bool] = []

    def generate() -> Any:
        try:
            for number in range(1_000_000):
                if number == 3:
                    client.stop_taking()
                yield b"x" * 1000
        finally:
            closed.append(True)

    with world({"/unused": {}}) as play:
        streams = Streams(b"HTTP/1.1 200 OK\r\n\r\n", generate)
        play.route("/*", delivery=streams)
        client = play.client()
        client.send(get())
        assert streams.made == 4
        client.lose()
        assert (streams.made, closed) == (4, [True])


# -- one that waits before it begins


def test_a_delivery_may_wait_before_it_begins() -> None:
    with world({"/unused": {}}) as play:
        delayed = Delayed(upstreams(play), 0.01)
        play.route("/*", delivery=delayed)
        client = play.client()
        client.send(get())
        assert (play.upstreams, delayed.diary) == ([], ["waits"])
        play.pass_time(0.05)
        play.upstream.send(answer(b"ok"))
        assert client.taken() == answer(b"ok")
        assert delayed.diary == ["waits", "begins", "left"]


def test_a_delivery_that_waits_may_be_left() -> None:
    with world({"/unused": {}}) as play:
        delayed = Delayed(upstreams(play), 0.01)
        play.route("/*", delivery=delayed)
        client = play.client()
        client.send(get())
        client.lose()
        assert delayed.diary == ["waits", "left"]
        # The exchange serves another request when the time is over.
        play.client().send(get())
        play.pass_time(0.05)
        assert delayed.diary == ["waits", "left", "waits", "begins"]
        assert len(play.upstreams) == 1


# -- one that keeps an answer


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_is_kept_and_played_again(chunked: bool) -> None:
    whole = head(b"X-A: 1", b"Transfer-Encoding: chunked") + chunks(b"one", b"two") if chunked \
        else answer(b"onetwo", b"X-A: 1")  # fmt: skip
    with world({"/unused": {}}) as play:
        keeps = Keeps(upstreams(play))
        play.route("/*", delivery=keeps)
        client = play.client()
        client.send(get())
        play.upstream.send(*[whole[place : place + 7] for place in range(0, len(whole), 7)])
        first = client.taken()
        assert first.partition(b"\r\n\r\n")[2]
        again = [client.ask(get()), play.client().ask(get())]
        assert (keeps.replayed, len(play.upstreams)) == (2, 1)
        assert again[0] == again[1]
        expected = head(b"X-A: 1", b"Transfer-Encoding: chunked") + chunks(b"onetwo") if chunked else whole
        assert again[0] == expected


def test_an_answer_that_was_cut_is_not_played_again() -> None:
    with world({"/unused": {}}) as play:
        keeps = Keeps(upstreams(play))
        play.route("/*", delivery=keeps)
        client = play.client()
        client.send(get())
        play.upstream.send(answer(b"whole")[:-2])
        play.upstream.lose()
        other = play.client()
        other.send(get())
        play.upstream.send(answer(b"anew"))
        assert (other.taken(), keeps.replayed) == (answer(b"anew"), 0)


# -- one that lies in memory

LYING = bytes(range(256)) * 1200


def lies() -> Lies:
    return Lies(OK % len(LYING), LYING)


def rest_of(client: Any) -> bytes:
    """All that comes, as the client takes it."""
    pieces = []
    while piece := client.taken():
        pieces.append(piece)
        client.unsent = 0
        if not client.closed:
            client.take_on()
    return b"".join(pieces)


def test_a_body_in_memory_leaves_in_one_write_with_its_head() -> None:
    delivery = Lies(OK % 10_000, LYING[:10_000])
    with world({"/*": {"delivery": delivery}}) as play:
        client = play.client()
        client.send(get())
        (only,) = client.pieces()
        assert only.endswith(b"\r\n\r\n" + LYING[:10_000])
        assert delivery.let_go == 1


def test_a_body_in_memory_waits_for_a_client_that_takes_no_more() -> None:
    delivery = lies()
    with world({"/*": {"delivery": delivery}}) as play:
        client = play.client()
        client.unsent = 1
        client.send(get())
        got = client.taken()
        assert 0 < len(got) < len(LYING)
        assert client.taken() == b""
        assert delivery.let_go == 0
        client.unsent = 0
        client.take_on()
        got += rest_of(client)
        assert got.partition(b"\r\n\r\n")[2] == LYING
        assert delivery.let_go == 1
        assert client.get_write_buffer_limits() == (16_384, 65_536)


@pytest.mark.parametrize("way", ["hook", "hook waits", "filter", "both", "around", "HTTP/1.0"])
def test_what_has_to_see_a_body_in_memory_gets_it_in_pieces(way: str) -> None:
    delivery = lies()
    diary: list[Any] = []
    with world({"/unused": {}}) as play:
        waiting = play.loop.create_future()

        def hook(*_: object) -> Any:
            diary.append("hook")
            return waiting if way in ("hook waits", "both") else None

        options: dict[str, Any] = {"on_response": [hook]} if "hook" in way or way == "both" else {}
        if way in ("filter", "both"):
            options["response_filters"] = [WatchedRule(diary)]
        keeps = Keeps(delivery) if way == "around" else None
        play.route("/*", delivery=keeps or delivery, **options)
        client = play.client()
        client.send(get(version=b"1.0") if way == "HTTP/1.0" else get())
        if way in ("hook waits", "both"):
            assert client.taken() == b""
            assert delivery.let_go == 0
            waiting.set_result(None)
        got = rest_of(client)
        body = got.partition(b"\r\n\r\n")[2]
        if b"Transfer-Encoding: chunked" in got:
            body = unchunked(body)
        assert body == LYING
        assert delivery.let_go == 1
        assert ("hook" in diary) == ("hook" in way or way == "both")


def unchunked(data: bytes) -> bytes:
    pieces = []
    while data:
        size, _, data = data.partition(b"\r\n")
        pieces.append(data[: int(size, 16)])
        data = data[int(size, 16) + 2 :]
    return b"".join(pieces)


@pytest.mark.parametrize("way", ["client", "stopped", "late", "hook raises"])
def test_a_body_in_memory_is_let_go_however_it_ends(way: str) -> None:
    delivery = lies()

    def raises(_: object) -> None:
        raise ValueError("mine")

    hooks = {"on_response": [raises]} if way == "hook raises" else {}
    with world({"/*": {"delivery": delivery, "total_timeout": 5, **hooks}}) as play:
        client = play.client()
        client.unsent = 1
        client.send(get())
        if way == "client":
            client.lose()
        elif way == "stopped":
            play.engine.abort_connections()
        elif way == "late":
            play.pass_time(6)
        assert (delivery.begun, delivery.let_go) == (1, 1)
        play.errors.clear()


# -- one that goes on without its client


def lagging(play: World, kind: str = "") -> tuple[Any, Any, Spools]:
    inner: Any = upstreams(play)
    if kind == "split":
        inner = Split([inner, upstreams(play)], [1, 1])
    elif kind == "hedged":
        inner = Hedged(play.pool, RetryRule(hedge_delay=0.1))
    spools = Spools(inner)
    play.route("/*", delivery=spools)
    client = play.client()
    client.send(get())
    upstream = play.upstream
    upstream.send(head(b"Content-Length: 400"), b"a" * 100)
    client.stop_taking()
    return client, upstream, spools


@pytest.mark.parametrize("kind", ["", "split", "hedged"])
def test_a_try_goes_on_without_a_client_that_lags(kind: str) -> None:
    with world({"/unused": {}}) as play:
        client, upstream, spools = lagging(play, kind)
        assert (spools.detached, upstream.reading) == (1, True)
        upstream.send(b"b" * 100, b"c" * 100, b"d" * 100)
        assert (spools.finished, play.pool.targets[0].idle) == (1, 1)
        assert not client.taken().endswith(b"d")
        client.take_on()
        assert client.taken().endswith(b"d" * 100)
        assert not client.closed
        assert client.ask(get()) == b""
        assert play.metrics()["requests"] == 2


def test_a_client_that_lags_and_leaves_does_not_end_the_try() -> None:
    with world({"/unused": {}}) as play:
        client, upstream, spools = lagging(play)
        upstream.send(b"b" * 100)
        client.lose()
        upstream.send(b"c" * 200)
        assert (spools.finished, play.pool.targets[0].idle) == (1, 1)


def test_a_try_that_breaks_off_without_its_client_is_told_to_it() -> None:
    with world({"/unused": {}}) as play:
        client, upstream, spools = lagging(play)
        upstream.send(b"b" * 100)
        upstream.lose()
        client.take_on()
        assert client.taken().endswith(b"b" * 100)
        assert client.closed
        assert spools.finished == 0


@pytest.mark.parametrize("state", ["connected", "connecting", "in the queue", "hedged"])
def test_what_has_not_been_answered_yet_goes_on_without_its_client(state: str) -> None:
    """A try in whatever state: a connection is there for the one that goes on, and its places are given back."""
    with world({"/unused": {}}, targets=2 if state == "hedged" else 1, pool={"max_connections": 1}) as play:
        inner: Any = Hedged(play.pool, RetryRule(hedge_delay=0.1)) if state == "hedged" else upstreams(play)
        play.route("/later", delivery=Detaches(inner))
        play.route("/*", delivery=upstreams(play))
        waiting = play.loop.create_future()
        if state == "connecting":
            play.connecting.extend([waiting, waiting])
        if state in ("connected", "in the queue"):
            play.client().send(get(b"/first"))
            assert b"GET /first" in play.upstream.taken()
        if state == "connected":
            play.upstream.send(answer(b"of the first"))
        client = play.client()
        client.send(get(b"/later"))
        assert status_of(client.taken()) == 202
        if state == "connecting":
            waiting.set_result(None)
        elif state == "in the queue":
            play.upstream.send(answer(b"of the first"))
        elif state == "hedged":
            play.pass_time(0.2)
        play.loop.run()
        late = [each for each in play.upstreams if b"GET /later" in each.taken()]
        assert len(late) == (2 if state == "hedged" else 1)
        assert len(play.upstreams) == len(late)
        late[-1].send(answer(b"for nobody"))
        assert [each.closed for each in late] == ([True, False] if state == "hedged" else [False])
        assert client.taken() == b""
        assert play.metrics()["requests"] == (2 if state in ("connected", "in the queue") else 1)


@pytest.mark.parametrize("attempts", [2, 3])
@pytest.mark.parametrize("kept", [False, True])
def test_tries_that_were_made_count_for_the_one_that_goes_on(attempts: int, kept: bool) -> None:
    """The client is answered while the next try is waited for: there are as many as the route allows, not more."""
    rule = RetryRule(attempts=attempts, on=["reset", "5xx"], backoff=1, jitter=False, budget=1.0)
    with world({"/unused": {}}, targets=attempts + 1) as play:
        play.route("/*", delivery=Detaches(Upstreams(play.pool, rule), 0.1))
        client = play.client()
        client.send(get())
        for number in range(attempts):
            if kept:
                play.upstream.send(answer(b"no", status=b"503 Busy"))
            else:
                play.upstream.lose()
            play.pass_time(0.2 if number == 0 else 0)
            assert status_of(client.taken() or b"HTTP/1.1 202 ") == 202
            play.pass_time(9)
        play.pass_time(20)
        assert len(play.upstreams) == attempts
        assert len({bytes(each.taken()).partition(b"Host: ")[2][:3] for each in play.upstreams}) == attempts


# -- a plan


def planned(play: World) -> Any:
    first, second = (upstreams(play, rule=None) for _ in range(2))
    plan = Plan([
        (first, b"/one/path", [(b"Authorization", b"Bearer one")], b"body one"),
        (second, b"/two", [(b"Authorization", b"Bearer two"), (b"X-Two", b"2")], b"second body"),
    ])
    play.route("/*", delivery=plan, buffer_request=True)
    client = play.client()
    client.send(post(b"of the client", b"/asked", b"Authorization: Bearer client"))
    return client


def sent(fields: tuple[bytes, ...], path: bytes, body: bytes) -> bytes:
    after = (*fields, b"Content-Length: %d" % len(body))
    return asked(b"POST " + path, after=after) + body


@pytest.mark.parametrize("failure", ["5xx", "lost", "refused"])
def test_two_deliveries_with_another_path_credential_and_body_each(failure: str) -> None:
    with world({"/unused": {}}) as play:
        if failure == "refused":
            play.connecting.append(ConnectionRefusedError())
        client = planned(play)
        if failure != "refused":
            first = play.upstream
            assert first.taken() == sent((b"Authorization: Bearer one",), b"/one/path", b"body one")
            if failure == "5xx":
                first.send(answer(b"no", status=b"503 Service Unavailable"))
            else:
                first.lose()
        second = play.upstream
        assert second.taken() == sent((b"Authorization: Bearer two", b"X-Two: 2"), b"/two", b"second body")
        second.send(answer(b"yes"))
        assert client.taken() == answer(b"yes")


def test_the_last_of_a_plan_answers_as_it_does() -> None:
    with world({"/unused": {}}) as play:
        client = planned(play)
        play.upstream.lose()
        play.upstream.lose()
        assert status_of(client.taken()) == 502


# -- a delivery around those that would put another in their place


@pytest.mark.parametrize("kind", ["split", "mirror"])
@pytest.mark.parametrize("how", ["answered", "client gone", "lost"])
def test_what_is_around_a_split_or_a_mirror_hears_all(kind: str, how: str) -> None:
    diary: list[Any] = []
    with world({"/unused": {}}) as play:
        inner: Any = upstreams(play, rule=None)
        if kind == "split":
            inner = Split([inner, upstreams(play, rule=None)], [1, 1])
        else:
            inner = Mirrored(inner, upstreams(play, single=True))
        play.route("/*", delivery=Watched(Keeps(inner), diary))
        client = play.client()
        client.send(get(b"/", b"Content-Length: 10", method=b"PUT"), b"first")
        assert diary == ["begin"]
        client.send(b"later")
        asked_first = play.upstreams[0]
        assert asked_first.taken().endswith(b"firstlater")
        if how == "client gone":
            client.lose()
        elif how == "lost":
            asked_first.lose()
            assert status_of(client.taken()) == 502
        else:
            asked_first.send(answer(b"ok"))
            assert client.taken() == answer(b"ok")
        assert diary[0] == "begin"
        assert "leave" in diary
        assert how != "client gone" or asked_first.aborted


# -- exactly once, whatever happens


ENDS = (
    "answered", "answered in pieces", "upstream lost", "cut", "client gone", "client gone early", "timed out",
    "too long", "refused", "begin raises", "stopped",
)  # fmt: skip


class Sequence:
    """Exchanges that end in chosen ways, one after the other and beside each other, over one `World`."""

    def __init__(self, play: World, *, twice: bool = False) -> None:
        self.play = play
        self.diary: list[Any] = []
        self.owed: list[Any] = []
        for path, raises in (("/a", ""), ("/raises", "begin")):
            play.route(
                path,
                delivery=Watched(Upstreams(play.pool, None, connect_timeout=0), self.diary, raises=raises),
                gates=[Owes(self.owed, "one", "!two", twice=twice)],
                response_filters=[WatchedRule(self.diary), WatchedRule(self.diary, raises=True)],
                read_timeout=5,
                total_timeout=20,
                max_body=1000,
            )
        self.clients: list[Any] = []

    def client(self) -> Any:
        self.clients = [each for each in self.clients if not each.closed]
        idle = self.play.client()
        self.clients.append(idle)
        return idle

    def run(self, how: str) -> None:
        client = self.client()
        client.send(get(b"/raises" if how == "begin raises" else b"/a"))
        if how in ("begin raises", "stopped"):
            return
        upstream = self.play.upstream
        whole = answer(b"0123456789")
        if how == "answered":
            upstream.send(whole)
        elif how == "answered in pieces":
            upstream.send(whole[:-5], whole[-5:-2], whole[-2:])
        elif how == "upstream lost":
            upstream.lose()
        elif how == "cut":
            upstream.send(whole[:-3])
            upstream.lose()
        elif how == "client gone":
            upstream.send(whole[:-3])
            client.lose()
        elif how == "client gone early":
            client.lose()
        elif how == "timed out":
            self.play.pass_time(6)
        elif how == "too long":
            upstream.send(whole[:-3])
            self.play.pass_time(21)
        elif how == "refused":
            upstream.send(b"nonsense\r\n\r\n")

    def check(self, begun: int) -> None:
        """Every debt once, every filter that was opened closed once, every delivery that began left."""
        assert Counter(name for name, *_ in self.owed) == {"one": begun, "!two": begun}
        counted = Counter(entry if isinstance(entry, str) else entry[0] for entry in self.diary)
        assert counted["close"] == counted["open"]
        assert counted["begin"] == begun
        assert counted["leave"] >= counted["begin"]


def course(seed: int, *, twice: bool = False) -> None:
    chance = random.Random(seed)
    with world({"/unused": {}}) as play:
        sequence = Sequence(play, twice=twice)
        for _ in range(chance.randrange(1, 6)):
            sequence.run(chance.choice(ENDS))
        play.engine.abort_connections()
        play.loop.run()
        play.logged.clear()
        sequence.check(play.metrics()["requests"])


def test_generated_sequences_settle_and_close_exactly_once() -> None:
    first = random.randrange(1 << 32)
    print(f"10,000 sequences, seeds from {first}")
    for seed in range(first, first + 10_000):
        try:
            course(seed)
        except BaseException:
            print(f"seed {seed}")
            raise


def test_a_debt_that_is_settled_twice_is_found() -> None:
    with pytest.raises(AssertionError):
        course(1, twice=True)


@pytest.mark.parametrize("how", ENDS)
def test_each_way_to_end(how: str) -> None:
    with world({"/unused": {}}) as play:
        sequence = Sequence(play)
        sequence.run(how)
        play.engine.abort_connections()
        play.loop.run()
        play.logged.clear()
        sequence.check(1)
