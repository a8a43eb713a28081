"""Sets of keys for several workers: one fetch for all of them, and never a wrong answer while keys change."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import jwt
from policies.key_server import KeyServer, key_of, token_of
from policies.tokens import claims
from server.harness import REAL, Server, config, eventually, running, running_file
from server.traffic import Load, get, targets

WORKERS = 2


def guarded(target: str, server: KeyServer, **more: Any) -> dict[str, Any]:
    settings = config(workers=WORKERS)
    settings["routes"][0]["auth"] = {"any": ["jwt"]}
    settings["auth"] = {"jwt": {"algorithms": ["EdDSA"], "jwks": server.url, "cooldown": "1h", **more}}
    settings["upstreams"] = {"backend": {"targets": [target]}}
    return settings


def bearing(token: str) -> bytes:
    return get("/", f"Authorization: Bearer {token}")


async def test_keys_change_under_load() -> None:
    """The issuer signs with a new key from the moment on that it publishes it, four times: no wrong answer."""
    async with targets({}) as (target,), KeyServer("k0") as server:
        async with running(guarded(target.name, server, cooldown="100ms"), REAL) as gateway:
            port = await gateway.complete(WORKERS)
            numbers: Iterator[int] = count()
            current = "k0"
            # Every request brings a token that was not there before.
            async with Load(port, 8, lambda *_: bearing(token_of(current, n=next(numbers)))) as load:
                await load.more(50)
                for turn in range(1, 5):
                    fetches = server.fetches
                    server.publish(f"k{turn - 1}", f"k{turn}")
                    current = f"k{turn}"
                    await load.more(100)
                    assert server.fetches >= fetches + 1
                    await asyncio.sleep(0.1)
            assert load.failed == {}, load.odd[:3]
            assert load.answered > 450
            assert server.fetches <= 5


async def test_a_thousand_names_that_nobody_knows_cause_one_fetch() -> None:
    async with targets({}) as (target,), KeyServer("a") as server:
        async with running(guarded(target.name, server), REAL) as gateway:
            port = await gateway.complete(WORKERS)
            async with Load(port, 4, lambda *_: bearing(token_of("a"))) as load:
                await load.more(20)
            assert server.fetches == 1
            bogus = [
                jwt.encode(claims(), key_of("a"), "EdDSA", headers={"kid": f"bogus-{number}"}) for number in range(1000)
            ]
            numbers = count()
            async with Load(port, 16, lambda *_: bearing(bogus[next(numbers) % 1000])) as load:
                async with asyncio.timeout(30):
                    while load.outcomes["401"] < 1000:
                        await asyncio.sleep(0.01)
            assert set(load.outcomes) == {"401"}
            assert server.fetches == 2
            async with Load(port, 4, lambda *_: bearing(token_of("a"))) as load:
                await load.more(20)
            assert load.failed == {}


async def test_a_worker_that_is_replaced_has_the_set_at_once() -> None:
    async with targets({}) as (target,), KeyServer("a") as server:
        async with running(guarded(target.name, server), REAL) as gateway:
            port = await gateway.complete(WORKERS)
            await answered(port)
            await server.stop()
            for pid in list(gateway.workers().values()):
                os.kill(pid, signal.SIGKILL)
            await replaced(gateway)
            async with Load(port, 4, lambda *_: bearing(token_of("a"))) as load:
                await load.more(50)
            assert load.failed == {}
            assert server.fetches == 1


async def test_a_reload_that_names_another_set_reaches_every_worker_and_those_to_come(tmp_path: Path) -> None:
    file = tmp_path / "fastgate.json"
    async with targets({}) as (target,), KeyServer("a") as first, KeyServer("b") as second:
        settings = guarded(target.name, first)
        del settings["routes"][0]["auth"], settings["auth"]
        file.write_text(json.dumps(settings))
        async with running_file(file, REAL) as gateway:
            port = await gateway.complete(WORKERS)
            # The first configuration has no tokens at all, the next two have them of one issuer each.
            for generation, (server, kid) in enumerate(((first, "a"), (second, "b")), start=2):
                file.write_text(json.dumps(guarded(target.name, server)))
                gateway.signal(signal.SIGHUP)
                await gateway.says(f"reload: generation {generation} is in use")
                assert await outcomes(port, kid) == {"200"}
            assert await outcomes(port, "a") == {"401"}
            fetches = first.fetches
            await second.stop()
            for pid in list(gateway.workers().values()):
                os.kill(pid, signal.SIGKILL)
            await replaced(gateway)
            assert await outcomes(port, "b") == {"200"}
            assert first.fetches == fetches


async def outcomes(port: int, kid: str) -> set[str]:
    """Of requests that carry a token of that key, on several connections."""
    async with Load(port, 8, lambda *_: bearing(token_of(kid))) as load:
        async with asyncio.timeout(20):
            while sum(load.outcomes.values()) < 40:
                await asyncio.sleep(0.01)
    return set(load.outcomes)


async def replaced(gateway: Server) -> None:
    before = len([line for line in gateway.log if "is ready" in line])
    await eventually(lambda: len([line for line in gateway.log if "is ready" in line]) >= max(before, WORKERS - 1 + 2))


async def answered(port: int) -> None:
    async with Load(port, 4, lambda *_: bearing(token_of("a"))) as load:
        await load.more(20)
    assert load.failed == {}
