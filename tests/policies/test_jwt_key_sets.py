"""Published sets of keys: fetched ahead, fetched again for a key that is not there, kept when they cannot be had."""

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import jwt
import pytest
from policies.key_server import KeyServer, key_of, token_of
from policies.tokens import asking, assert_refused, claims, jwk, settings, standing
from tls.authorities import Files

from fastgate.config import GatewayConfig
from fastgate.config.schema.jwt import JWT
from fastgate.policies.jwt.fetching import FetchError, Source, _max_age, fetch
from fastgate.policies.jwt.key_sets import KeySets
from fastgate.policies.jwt.method import Judge
from fastgate.policies.jwt.verifier import Verifier
from fastgate.testing import RawClient, RecordingUpstream, start_gateway
from fastgate.upstreams.lookup import SystemLookup


def table(server: KeyServer, **more: Any) -> dict[str, Any]:
    return {"algorithms": ["EdDSA"], "jwks": server.url, "cooldown": "1h", **more}


def assert_unavailable(response: Any) -> None:
    assert response.status == 503
    assert response.fields["content-type"] == "application/problem+json"
    assert "www-authenticate" not in response.fields
    assert json.loads(response.body)["title"] == "Service Unavailable"


async def test_the_set_is_fetched_once_for_many_tokens() -> None:
    async with KeyServer("a", "b") as server, standing(table(server)) as stand:
        for kid in ("a", "b", "a"):
            assert (await stand.ask(token_of(kid))).status == 200
        assert server.fetches == 1
        assert server.targets == ["/keys?a=b"]


async def test_a_key_that_is_published_later() -> None:
    async with KeyServer("a") as server, standing(table(server)) as stand:
        assert (await stand.ask(token_of("a"))).status == 200
        server.publish("a", "b")
        assert (await stand.ask(token_of("b"))).status == 200
        assert server.fetches == 2


async def test_names_that_nobody_knows_cause_one_fetch() -> None:
    async with KeyServer("a") as server, standing(table(server)) as stand:
        assert (await stand.ask(token_of("a"))).status == 200
        clients = [RawClient(stand.gateway.port) for _ in range(10)]
        for client in clients:
            await client.open()

        async def bogus(client: RawClient, number: int) -> None:
            for each in range(20):
                response = await client.request(asking(named(f"{number}-{each}")))
                assert_refused(response, "the key is unknown")

        await asyncio.gather(*(bogus(client, number) for number, client in enumerate(clients)))
        for client in clients:
            client.close()
        assert server.fetches == 2
        assert (await stand.ask(token_of("a"))).status == 200


def named(kid: str) -> str:
    """A token of the key "a" that says it is of another one."""
    return jwt.encode(claims(), key_of("a"), "EdDSA", headers={"kid": kid})


async def test_requests_wait_together_for_one_fetch() -> None:
    async with KeyServer("a") as server, standing(table(server)) as stand:
        assert (await stand.ask(token_of("a"))).status == 200
        server.open.clear()
        server.publish("b")
        clients = [await RawClient(stand.gateway.port).open() for _ in range(8)]
        waiting = [asyncio.create_task(client.request(asking(token_of("b")))) for client in clients]
        await server.fetched(2)
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        server.open.set()
        assert [(await task).status for task in waiting] == [200] * 8
        assert server.fetches == 2
        for client in clients:
            client.close()


async def test_a_set_that_was_asked_for_before_is_not_the_answer() -> None:
    """A fetch is under way when the key is published: what it brings is too old, and one more is made."""
    async with KeyServer("a") as server:
        server.open.clear()
        async with standing(table(server)) as stand:
            await server.fetched(1)
            server.publish("a", "b")
            waiting = asyncio.create_task(stand.ask(token_of("b")))
            await asyncio.sleep(0.05)
            server.open.set()
            assert (await waiting).status == 200
            assert server.fetches == 2


async def test_a_client_that_leaves_while_it_waits() -> None:
    async with KeyServer("a") as server, standing(table(server)) as stand:
        assert (await stand.ask(token_of("a"))).status == 200
        server.open.clear()
        client = await RawClient(stand.gateway.port).open()
        await client.send(asking(token_of("b")))
        await server.fetched(2)
        client.close()
        server.open.set()
        assert (await stand.ask(token_of("a"))).status == 200


async def test_a_key_that_is_no_longer_published_ends_remembered_tokens() -> None:
    async with KeyServer("a", "b") as server, standing(table(server, refresh="200ms", cooldown="100ms")) as stand:
        remembered = token_of("a")
        assert (await stand.ask(remembered)).status == 200
        server.publish("b")
        await server.fetched(server.fetches + 2)
        assert_refused(await stand.ask(remembered), "the key is unknown")
        assert (await stand.ask(token_of("b"))).status == 200


async def test_tokens_without_a_name_of_their_key() -> None:
    async with KeyServer("") as server, standing(table(server)) as stand:
        assert (await stand.ask(token_of(""))).status == 200
        server.publish("new")
        token = token_of("new")
        head, payload, signature = token.split(".")
        assert (await stand.ask(token)).status == 200
        assert_refused(await stand.ask(f"{head}.{payload}.{signature[:-4]}AAAA"), "the signature is wrong")
        assert server.fetches == 2


async def test_use_and_alg_of_a_key_are_obeyed() -> None:
    async with KeyServer("a") as server:
        server.publish("a", "b", alg="EdDSA", use="sig")
        async with standing(table(server)) as stand:
            assert (await stand.ask(token_of("a"))).status == 200
        server.publish("a", alg="ES256")
        async with standing(table(server)) as stand:
            assert_refused(await stand.ask(token_of("a")), "the key is not for this algorithm")
        server.publish("a", use="enc")
        async with standing(table(server, timeout="500ms")) as stand:
            assert_unavailable(await stand.ask(token_of("a")))


# --- sets that cannot be had


async def test_without_a_set_nobody_can_say_until_there_is_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "fastgate.jwt")
    async with KeyServer("a") as server:
        await server.stop()
        async with standing(table(server, cooldown="200ms")) as stand:
            assert_unavailable(await stand.ask(token_of("a")))
            assert_unavailable(await stand.ask(token_of("b")))
            assert_refused(await stand.ask(), None)
            await server.start()
            async with asyncio.timeout(5):
                while (await stand.ask(token_of("a"))).status == 503:
                    await asyncio.sleep(0.02)
            assert (await stand.ask(token_of("a"))).status == 200
    messages = [record.message for record in caplog.records if record.name == "fastgate.jwt"]
    assert len(messages) == 2, messages  # once when it began, once when it ended
    assert "requests with a token get 503" in messages[0]
    assert messages[1].startswith("fetched the JWK set from ")


async def test_the_first_fetch_may_take_a_moment() -> None:
    async with KeyServer("a") as server:
        server.open.clear()
        async with standing(table(server)) as stand:
            waiting = asyncio.create_task(stand.ask(token_of("a")))
            await server.fetched(1)
            server.open.set()
            assert (await waiting).status == 200
            assert server.fetches == 1


async def test_a_server_that_never_answers() -> None:
    async with KeyServer("a") as server:
        server.open.clear()
        async with standing(table(server, timeout="300ms")) as stand:
            began = time.monotonic()
            assert_unavailable(await stand.ask(token_of("a")))
            assert time.monotonic() - began < 2
            began = time.monotonic()
            assert_unavailable(await stand.ask(token_of("a")))
            assert time.monotonic() - began < 0.2


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        ("200 OK", b"<html>", "it is not a valid JSON object"),
        ("200 OK", b'{"keys":[]}', "it has no key that can verify a token"),
        ("200 OK", b'{"keys":[' + b" " * 300_000 + b"]}", "it is larger than 256 KB"),
        ("500 Oops", b"{}", "the server answered 500"),
        ("302 Found", b"", "the server answered 302"),
        ("404 Not Found", None, "the server answered 404"),
    ],
)
async def test_the_last_good_set_stays(
    status: str, body: bytes | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with KeyServer("a") as server, standing(table(server, refresh="100ms", cooldown="100ms")) as stand:
        assert (await stand.ask(token_of("a"))).status == 200
        server.status, server.body = status, body
        await server.fetched(server.fetches + 3)
        assert (await stand.ask(token_of("a"))).status == 200
        assert (await stand.ask(token_of("a", n=1))).status == 200
        assert_refused(await stand.ask(named("x")), "the key is unknown")
        server.status, server.body = "200 OK", None
        server.publish("b")
        await server.fetched(server.fetches + 2)
        assert (await stand.ask(token_of("b"))).status == 200
    messages = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(messages) == 1, messages
    assert "keeping the previous one" in messages[0]
    assert reason in messages[0]


async def test_the_server_goes_away() -> None:
    async with KeyServer("a") as server, standing(table(server, refresh="100ms", cooldown="100ms")) as stand:
        assert (await stand.ask(token_of("a"))).status == 200
        await server.stop()
        await asyncio.sleep(0.3)
        assert (await stand.ask(token_of("a", n=1))).status == 200


# --- when it is fetched again


async def test_cache_control_can_only_shorten_the_time() -> None:
    async with KeyServer("a") as server:
        server.fields = "Cache-Control: public, max-age=0\r\n"
        async with standing(table(server, cooldown="150ms")):
            began = time.monotonic()
            await server.fetched(4)
            assert time.monotonic() - began > 0.4  # not more often than the cool-down
    async with KeyServer("a") as server:
        server.fields = "Cache-Control: max-age=86400\r\n"
        async with standing(table(server, refresh="100ms", cooldown="100ms")):
            await server.fetched(3)


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("", None),
        ("public", None),
        ("max-age=300", 300.0),
        ("public, MAX-AGE=300, must-revalidate", 300.0),
        ('max-age="60"', 60.0),
        ("s-maxage=5", None),
        ("no-store", 0.0),
        ("no-cache, max-age=300", 0.0),
        ("max-age=x", None),
        ("max-age=-1", None),
    ],
)
def test_max_age(field: str, seconds: float | None) -> None:
    assert _max_age(field) == seconds


async def test_a_reload_fetches_what_is_new_and_keeps_what_stays() -> None:
    async with KeyServer("a") as one, KeyServer("b") as two, RecordingUpstream() as upstream:
        async with start_gateway(settings(upstream.port, table(one))) as gateway, RawClient(gateway.port) as client:
            assert (await client.request(asking(token_of("a")))).status == 200
            for server, kid in ((one, "a"), (two, "b")):
                config = settings(upstream.port, table(server))
                config["gateway"]["port"] = gateway.port
                await gateway.reload(GatewayConfig.from_dict(config))
                assert (await client.request(asking(token_of(kid)))).status == 200
            assert (one.fetches, two.fetches) == (1, 1)
            assert_refused(await client.request(asking(token_of("a"))), "the key is unknown")


# --- the way to the server


def source(server: KeyServer, ca: str = "", timeout: float = 2.0) -> Source:
    return Source(server.url, 600.0, 10.0, timeout, ca)


async def test_https(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = Files(tmp_path)
    certificate = files.issue("id", "localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)
    async with KeyServer("a", context=context) as server:
        async with standing(table(server, ca=files.ca)) as stand:
            assert (await stand.ask(token_of("a"))).status == 200
        async with standing(table(server)) as stand:
            assert_unavailable(await stand.ask(token_of("a")))
    assert any("certificate" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "the answer ends too early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "the answer ends too early"),
        (b"nonsense\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 3000, "it is larger than 1 KB"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 3000, "the answer is too large"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", "the server answered 301"),
    ],
)
async def test_answers_that_are_none(raw: bytes, reason: str) -> None:
    async with KeyServer("a") as server:
        server.raw = raw
        with pytest.raises(FetchError, match=reason):
            await fetch(source(server), SystemLookup(), 1024)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_every_framing_of_an_answer(raw: bytes) -> None:
    async with KeyServer("a") as server:
        server.raw = raw
        assert (await fetch(source(server), SystemLookup(), 1024)).document == b"{}"


async def test_a_name_that_is_not_there() -> None:
    with pytest.raises(FetchError):
        await fetch(Source("http://nothing.invalid/", 1.0, 1.0, 5.0, ""), SystemLookup(), 1024)


async def test_the_set_that_comes_before_the_wait_begins() -> None:
    """Another request's question is answered after this one was put off, and before its task runs."""
    url = "http://id/"
    table = JWT(algorithms=["EdDSA"], jwks=url)
    sets = KeySets({url: document("a")}, lambda *_: None)
    judge = Judge(Verifier(table, sets, lambda: None), sets, 1.0)
    waiting = judge(token_of("b").encode())
    sets.fetched(url, document("a", "b"))
    sets.settled(url, time.monotonic() + 60)
    assert isinstance(waiting, Awaitable)
    judgement = await waiting
    assert isinstance(judgement, tuple)
    assert judgement[0].id == "alice"
    assert judge(token_of("c").encode()) == "the key is unknown"


async def test_no_answer_of_the_control_plane_in_time() -> None:
    sets = KeySets({}, lambda *_: None)
    judge = Judge(Verifier(JWT(algorithms=["EdDSA"], jwks="http://id/"), sets, lambda: None), sets, 0.05)
    waiting = judge(token_of("b").encode())
    assert isinstance(waiting, Awaitable)
    assert await waiting is None


def document(*kids: str) -> bytes:
    return json.dumps({"keys": [jwk(key_of(kid), kid=kid) for kid in kids]}).encode()


def test_who_is_gone_is_not_told() -> None:
    class Watcher:
        told = 0

        def changed(self) -> None:
            Watcher.told += 1

    sets = KeySets({}, lambda url, kid: None)
    watcher = Watcher()
    sets.watch("u", watcher.changed)
    sets.fetched("u", b"")
    del watcher
    sets.fetched("u", b"")
    assert Watcher.told == 1
