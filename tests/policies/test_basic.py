"""Basic authentication: who comes in, what the rest is told, and what a password costs."""

import asyncio
import gc
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from policies.passwords import ALICE, BOB, Hashing, credential, get, hash_of

from fastgate.config import ConfigError, GatewayConfig
from fastgate.gateway import Gateway
from fastgate.testing import RawClient, RecordingUpstream, proxy_config, start_gateway

RIGHT = credential("alice", "secret")
WRONG = credential("alice", "guess")


@pytest.fixture
async def hashing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hashing]:
    hashing = Hashing(monkeypatch)
    yield hashing
    hashing.let_go()


def config(port: int, **basic: Any) -> dict[str, Any]:
    made = proxy_config(port, route={"auth": {"any": ["basic"]}, "request_headers": {"set": {"x-who": "{key.id}"}}})
    made["routes"].append({"name": "open", "path": "/open", "respond": {"body": "open"}})
    made["auth"] = {"basic": {"users": {"alice": ALICE, "bob": BOB}, **basic}}
    return made


@asynccontextmanager
async def running(**basic: Any) -> AsyncIterator[tuple[Gateway, RecordingUpstream]]:
    async with RecordingUpstream() as upstream, start_gateway(config(upstream.port, **basic)) as gateway:
        yield gateway, upstream


async def ask(gateway: Gateway, *requests: bytes) -> list[int]:
    async with RawClient(gateway.port) as client:
        return [(await client.request(request)).status for request in requests]


async def waiting(gateway: Gateway, *requests: bytes) -> list[RawClient]:
    """Clients that have sent their request."""
    clients = []
    for request in requests:
        clients.append(await RawClient(gateway.port).open())
        await clients[-1].send(request)
    return clients


# --- who comes in ---


async def test_the_right_password_comes_in_and_goes_no_further() -> None:
    async with running() as (gateway, upstream):
        assert await ask(gateway, get(RIGHT), get(RIGHT.replace("Basic ", "bAsIc  "))) == [200, 200]
    assert [request.fields["x-who"] for request in upstream.requests] == ["alice", "alice"]
    assert not any("authorization" in request.fields for request in upstream.requests)


async def test_the_credential_is_forwarded_where_that_is_wanted() -> None:
    async with running(hide=False) as (gateway, upstream):
        assert await ask(gateway, get(RIGHT)) == [200]
    assert upstream.requests[0].fields["authorization"] == RIGHT


@pytest.mark.parametrize("password", ["", ":", "a:b:c", "pässwörd", " blank ", "x" * 72])
async def test_passwords_of_every_kind(password: str) -> None:
    async with running(users={"jürgen": hash_of(password)}) as (gateway, upstream):
        assert await ask(gateway, get(credential("jürgen", password)), get(credential("jürgen", f"{password}!"))) == [
            200,
            401,
        ]
    assert len(upstream.requests) == 1


# --- what the rest is told ---

REFUSED = {
    "nothing": get(),
    "a wrong password": get(WRONG),
    "an unknown name": get(credential("mallory", "secret")),
    "another's password": get(credential("bob", "secret")),
    "no name": get(credential("", "secret")),
    "no credential": get("Basic"),
    "no base64": get("Basic ???"),
    "two of them": get(f"{RIGHT} {RIGHT[6:]}"),
    "no padding": get("Basic " + credential("alice", "secret!")[6:].rstrip("=")),
    "padding in front": get("Basic ==" + RIGHT[6:]),
    "bits behind the end": get("Basic YTpiYR=="),
    "url-safe base64": get("Basic YWxpY2U6_w=="),
    "no colon": get("Basic YWxpY2U="),
    "a control character": get(credential("alice", "secret\n")),
    "NUL": get(credential("alice\0", "secret")),
    "not UTF-8": get("Basic YWxpY2U6/w=="),
    "a password beyond what bcrypt reads": get(credential("alice", "x" * 73)),
    "a very long one": get(credential("alice" * 1000, "secret")),
    "two fields": get(RIGHT, f"Authorization: {RIGHT}"),
    "two fields of two kinds": get("Bearer x", f"Authorization: {RIGHT}"),
    "another scheme": get("Basicx " + RIGHT[6:]),
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED.keys())
async def test_a_refusal(request_: bytes) -> None:
    async with running(realm="the back office") as (gateway, upstream), RawClient(gateway.port) as client:
        answer = await client.request(request_)
    assert answer.status == 401
    assert answer.fields["www-authenticate"] == 'Basic realm="the back office", charset="UTF-8"'
    assert answer.fields["content-type"] == "application/problem+json"
    assert json.loads(answer.body)["detail"] == "Valid credentials are required."
    assert upstream.requests == []


# --- what a password costs ---


async def test_a_right_password_costs_one_hash_once(hashing: Hashing) -> None:
    async with running() as (gateway, _):
        assert await ask(gateway, *[get(RIGHT)] * 5) == [200] * 5
    assert hashing.calls == [(b"secret", ALICE.encode())]


async def test_a_name_that_is_none_costs_what_a_wrong_password_does(hashing: Hashing) -> None:
    async with running() as (gateway, _):
        assert await ask(gateway, get(WRONG), get(WRONG), get(credential("mallory", "guess"))) == [401] * 3
    assert [password for password, _ in hashing.calls] == [b"guess"] * 3
    assert [stored[:7] for _, stored in hashing.calls] == [b"$2b$04$"] * 3
    assert hashing.calls[2][1] not in (ALICE.encode(), BOB.encode())


async def test_what_is_no_credential_costs_nothing(hashing: Hashing) -> None:
    async with running() as (gateway, _):
        requests = [request for name, request in REFUSED.items() if "password" not in name and " name" not in name]
        assert set(await ask(gateway, *requests, get(credential("alice", "x" * 73)))) == {401}
    assert hashing.calls == []


async def test_without_a_cache_each_request_costs_a_hash(hashing: Hashing) -> None:
    async with running(cache={"ttl": 0}) as (gateway, _):
        assert await ask(gateway, get(RIGHT), get(RIGHT)) == [200, 200]
    assert len(hashing.calls) == 2


async def test_the_cache_forgets_in_time(hashing: Hashing) -> None:
    async with running(cache={"ttl": "1ms"}) as (gateway, _):
        assert await ask(gateway, get(RIGHT)) == [200]
        await asyncio.sleep(0.005)
        assert await ask(gateway, get(RIGHT)) == [200]
    assert len(hashing.calls) == 2


async def test_the_cache_holds_no_password_and_is_bounded() -> None:
    async with running(cache={"max_entries": 2}) as (gateway, _):
        cache = gateway._compiled.auth["basic"].cache
        assert await ask(gateway, *[get(credential(*each)) for each in [("alice", "secret"), ("bob", "other")]] * 3)
        assert 1 <= len(cache) <= 3
        assert cache.capacity == 2


async def test_first_requests_that_are_alike_share_one_hash(hashing: Hashing) -> None:
    async with running() as (gateway, _):
        hashing.hold()
        clients = await waiting(gateway, *[get(RIGHT)] * 8)
        await hashing.begun()
        assert await ask(gateway, get(path="/open")) == [200], "the loop is free meanwhile"
        hashing.let_go()
        assert [(await client.response()).status for client in clients] == [200] * 8
        for client in clients:
            client.close()
    assert len(hashing.calls) == 1


async def test_wrong_passwords_hold_nobody_up_and_above_the_queue_they_are_turned_away(hashing: Hashing) -> None:
    async with running(threads=1, queue=3) as (gateway, _):
        assert await ask(gateway, get(RIGHT)) == [200]
        hashing.hold()
        flood = await waiting(gateway, *[get(credential("alice", f"guess {number}")) for number in range(4)])
        await hashing.begun(2)
        async with RawClient(gateway.port) as client:
            answer = await client.request(get(credential("alice", "one too many")))
            assert answer.status == 503
            assert answer.fields["retry-after"] == "1"
            assert "www-authenticate" not in answer.fields
            assert json.loads(answer.body)["detail"] == "The gateway cannot check credentials now."
            # Those who are known, and other routes, go on.
            assert (await client.request(get(RIGHT))).status == 200
            assert (await client.request(get(path="/open"))).status == 200
        assert len(hashing.calls) == 2
        hashing.let_go()
        assert [(await client.response()).status for client in flood] == [401] * 4
        assert await ask(gateway, get(credential("bob", "other"))) == [200], "there is room again"
        for client in flood:
            client.close()
    assert len(hashing.calls) == 6


async def test_who_leaves_gives_up_the_place_in_the_queue(hashing: Hashing) -> None:
    async with running(threads=1, queue=1) as (gateway, upstream):
        hashing.hold()
        (first, second) = await waiting(gateway, get(WRONG), get(credential("bob", "guess")))
        await hashing.begun()
        async with RawClient(gateway.port) as client:
            assert (await client.request(get(credential("bob", "other")))).status == 503
            second.reset()
            while (await client.request(get(path="/open"))).status == 200 and gateway.open_connections > 2:
                pass
            await client.send(get(credential("bob", "other")))
            hashing.let_go()
            assert (await client.response()).status == 200
            assert (await first.response()).status == 401
        first.close()
    assert [password for password, _ in hashing.calls] == [b"guess", b"other"]
    assert len(upstream.requests) == 1


async def test_who_leaves_while_the_hash_runs_keeps_its_turn_until_then(hashing: Hashing) -> None:
    async with running(threads=1, queue=0) as (gateway, _):
        hashing.hold()
        (first,) = await waiting(gateway, get(WRONG))
        await hashing.begun()
        first.reset()
        async with RawClient(gateway.port) as client:
            while (await client.request(get(path="/open"))).status == 200 and gateway.open_connections > 1:
                pass
            assert (await client.request(get(RIGHT))).status == 503
            hashing.let_go()
            while (status := (await client.request(get(RIGHT))).status) == 503:
                pass
            assert status == 200
    assert len(hashing.calls) == 2


async def test_a_client_that_leaves_takes_no_other_request_with_it(hashing: Hashing) -> None:
    """What it waited for is cancelled in a later turn of the loop, when others are served already."""
    async with running(threads=1, queue=100) as (gateway, _):
        hashing.hold()
        for number in range(20):
            (leaving,) = await waiting(gateway, get(credential("alice", f"guess {number}")))
            (known,) = await waiting(gateway, get(path="/open"))
            assert (await known.response()).status == 200
            # Both reach the gateway in one turn: the end of one, the next request of the other.
            leaving.close()
            await known.send(get(RIGHT))
            hashing.let_go()
            assert (await known.response()).status == 200
            hashing.hold()
            known.close()


async def test_a_graceful_stop_waits_for_the_answer(hashing: Hashing) -> None:
    async with running() as (gateway, upstream):
        hashing.hold()
        (client,) = await waiting(gateway, get(RIGHT))
        await hashing.begun()
        stopping = asyncio.create_task(gateway.drain())
        while gateway._engine is not None and not gateway._engine.draining:
            await asyncio.sleep(0)
        hashing.let_go()
        assert (await client.response()).status == 200
        await stopping
        client.close()
    assert len(upstream.requests) == 1


async def test_a_stop_at_once_ends_what_waits(hashing: Hashing) -> None:
    async with running() as (gateway, upstream):
        hashing.hold()
        (client,) = await waiting(gateway, get(RIGHT))
        await hashing.begun()
        await gateway.close()
        assert await client.rest() == b""
        client.close()
    assert upstream.requests == []


async def test_threads_and_connections_end_with_the_configuration_that_had_them() -> None:
    before = set(threading.enumerate())
    async with running() as (gateway, upstream):
        assert await ask(gateway, get(RIGHT)) == [200]
        (thread,) = set(threading.enumerate()) - before
        assert thread.name.startswith("bcrypt")
        await gateway.reload(GatewayConfig.from_dict(proxy_config(upstream.port)))
        async with asyncio.timeout(5):
            while thread.is_alive():
                gc.collect()
                await asyncio.sleep(0)


# --- the file ---


async def test_a_file_of_htpasswd_is_read_again_at_a_reload(tmp_path: Path, hashing: Hashing) -> None:
    file = tmp_path / "htpasswd"
    file.write_text(f"# people\n\ncarol:{hash_of('one').replace('$2b$', '$2y$')}\n")
    async with running(file=str(file)) as (gateway, upstream):
        assert await ask(gateway, get(credential("carol", "one")), get(RIGHT)) == [200, 200]
        file.write_text(f"carol:{hash_of('two')}\ndave:{hash_of('three')}\n")
        await gateway.reload(GatewayConfig.from_dict(config(upstream.port, file=str(file))))
        requests = [credential("carol", "one"), credential("carol", "two"), credential("dave", "three")]
        assert await ask(gateway, *map(get, requests)) == [401, 200, 200]


BAD_FILES = {
    "nobody\n": "line 1: expected NAME:HASH",
    ":$2y$\n": "line 1: expected NAME:HASH",
    "a:$apr1$x$y\n": "line 1: the hash is MD5, but the gateway accepts only bcrypt",
    "\na:{SHA}x\n": "line 2: the hash is SHA-1, but the gateway accepts only bcrypt",
    "a:secret\n": "line 1: expected the bcrypt hash of a password",
    f"a:{ALICE}\nb:{BOB}\na:{BOB}\n": 'line 3: "a" is already in line 1',
    f"a:{ALICE[:-1]}\n": "line 1: expected the bcrypt hash of a password",
    f"a:{ALICE[:28]}z{ALICE[29:]}\n": "line 1: expected the bcrypt hash of a password",
    f"a:{ALICE.replace('$04$', '$31$')}\n": "line 1: the bcrypt cost must be 4 to 17, got 31",
    f"alice:{ALICE}\n": '"alice" is also in users',
    "a:\xff": "is not UTF-8",
}


@pytest.mark.parametrize(("content", "said"), BAD_FILES.items())
async def test_a_file_that_cannot_be_used(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "htpasswd"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        async with running(file=str(file)):
            pass
    (problem,) = caught.value.problems
    assert problem.path == "auth.basic.file"
    assert said in problem.message
    assert "secret" not in problem.message


async def test_a_file_without_anybody(tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text("# nobody yet\n")
    with pytest.raises(ConfigError, match="has no users"):
        async with running(users={}, file=str(tmp_path / "htpasswd")):
            pass


async def test_a_reload_with_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "htpasswd"
    file.write_text("a:b\n")
    async with running() as (gateway, upstream):
        with pytest.raises(ConfigError, match="line 1"):
            await gateway.reload(GatewayConfig.from_dict(config(upstream.port, file=str(file))))
        assert await ask(gateway, get(RIGHT)) == [200]


# --- misconfiguration ---


BAD_SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({}, "auth.basic: needs users or a file"),
    ({"users": {"a:b": ALICE}}, 'auth.basic.users."a:b": a name must not contain a colon, which ends the name'),
    ({"users": {"a\n": ALICE}}, "a name must not contain control characters"),
    ({"users": {"a": "$6$x"}}, "auth.basic.users.a: the hash is SHA-512, but the gateway accepts only bcrypt"),
    ({"users": {"a": "secret"}}, "auth.basic.users.a: expected the bcrypt hash of a password"),
    ({"users": {"a": ALICE}, "realm": 'a"b'}, 'auth.basic.realm: a realm must be printable ASCII without " and \\'),
    ({"users": {"a": ALICE}, "threads": 0}, "auth.basic.threads: must be 1 to 64, got 0"),
    ({"users": {"a": ALICE}, "htpasswd": "x"}, 'auth.basic.htpasswd: unknown key, did you mean "file"?'),
]


@pytest.mark.parametrize(("settings", "said"), BAD_SETTINGS)
def test_what_is_said_about_bad_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_dict({**proxy_config(1), "auth": {"basic": settings}})
    assert said in str(caught.value)
    assert len(caught.value.problems) == 1
