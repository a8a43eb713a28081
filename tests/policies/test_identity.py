"""Who was authenticated: for limits, field values, logs and the choice of a target."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from fastgate.testing import Answer, RawClient, RecordingUpstream, proxy_config, respond, stall, start_gateway

KEYS = {name: {"hash": hashlib.sha256(f"secret-{name}".encode()).hexdigest()} for name in ("ann", "bob", "a b\"c")}


def configured(*ports: int, log: Path | None = None, form: str = "json", **route: Any) -> dict[str, Any]:
    gateway: dict[str, Any] = {"keys": KEYS}
    if log is not None:
        gateway["access_log"] = {"path": str(log), "format": form}
    return proxy_config(*ports, gateway=gateway, route={"auth": {"any": ["key"]}, **route})


def ask(who: str = "", path: str = "/") -> bytes:
    key = f"x-api-key: secret-{who}\r\n" if who else ""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{key}\r\n".encode()


async def statuses(config: dict[str, Any], *requests: bytes) -> list[int]:
    async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
        return [(await client.request(request)).status for request in requests]


async def test_a_limit_by_key_counts_each_one_apart_and_nobody_before_he_is_known() -> None:
    limit = {"rate": 2, "per": "1h", "key": "key"}
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, rate_limit=limit)
        seen = await statuses(config, *[ask("ann")] * 3, ask(), ask("nobody"), *[ask("bob")] * 3)
    assert seen == [200, 200, 429, 401, 401, 200, 200, 429]


async def test_a_limit_that_needs_no_identity_counts_those_who_are_refused_too() -> None:
    """So that guessing keys costs, wherever it stands in the list."""
    limits = [{"rate": 100, "per": "1h", "key": "key", "name": "own"}, {"rate": 2, "per": "1h", "name": "all"}]
    async with RecordingUpstream() as upstream:
        seen = await statuses(configured(upstream.port, rate_limit=limits), ask("x"), ask("y"), ask("ann"))
    assert seen == [401, 401, 429]


async def test_who_is_refused_by_his_own_limit_counts_in_no_other() -> None:
    limits = [{"rate": 3, "per": "1h", "name": "all"}, {"rate": 1, "per": "1h", "key": "key", "name": "own"}]
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, rate_limit=limits)
        seen = await statuses(config, *[ask("ann")] * 6, ask("bob"), ask('a b"c'), ask("bob"))
    assert seen == [200, 429, 429, 429, 429, 429, 200, 200, 429]


async def test_a_concurrency_limit_by_key() -> None:
    async with RecordingUpstream(default=Answer(stall())) as upstream:
        async with start_gateway(configured(upstream.port, concurrency={"max": 1, "key": "key"})) as gateway:
            async with RawClient(gateway.port) as one, RawClient(gateway.port) as other:
                await one.send(ask("ann"))
                await upstream.request(0)
                assert (await other.request(ask("ann"))).status == 503
                await other.send(ask("bob"))
                await upstream.request(1)


async def test_a_balancer_can_keep_a_key_on_its_target() -> None:
    async with RecordingUpstream(default=respond(b"0")) as first, RecordingUpstream(default=respond(b"1")) as second:
        config = configured(first.port, second.port)
        config["upstreams"]["backend"].update(balancer="consistent_hash", hash_key="key")
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            for who in KEYS:
                assert len({(await client.request(ask(who))).body for _ in range(8)}) == 1


async def test_a_mirror_keeps_a_key_on_its_target_too() -> None:
    async with (
        RecordingUpstream() as upstream,
        RecordingUpstream() as first,
        RecordingUpstream() as second,
        RecordingUpstream() as third,
    ):
        shadows = (first, second, third)
        config = configured(
            upstream.port, mirror={"upstream": "shadow"}, request_headers={"set": {"x-user": "{key.id}"}}
        )
        config["upstreams"]["shadow"] = {
            "targets": [f"127.0.0.1:{each.port}" for each in shadows],
            "balancer": "consistent_hash",
            "hash_key": "key",
            "load_bound": 0,
        }
        keys = {f"k{number}": hashlib.sha256(f"secret-k{number}".encode()).hexdigest() for number in range(24)}
        config["gateway"]["keys"] = {name: {"hash": digest} for name, digest in keys.items()}
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            for name in keys:
                await client.request(ask(name))
                await client.request(ask(name))
            async with asyncio.timeout(10):
                while sum(len(each.requests) for each in shadows) < 48:
                    await asyncio.sleep(0.01)
    seen = [{request.fields.get("x-user") for request in each.requests} for each in shadows]
    assert all(seen), "24 keys on three targets: each gets some"
    assert sum(len(each) for each in seen) == 24, "each key goes to one"


async def test_field_values_can_say_who_asks() -> None:
    async with RecordingUpstream() as upstream:
        edits = {"set": {"x-user": "<{key.id}>", "x-none": "[{claim.none}]"}}
        async with start_gateway(configured(upstream.port, request_headers=edits)) as gateway:
            async with RawClient(gateway.port) as client:
                await client.request(ask("ann"))
    assert upstream.requests[0].fields.get("x-user") == "<ann>"
    assert upstream.requests[0].fields.get("x-none") == "[]"


@pytest.mark.parametrize(("form", "said"), [("json", 'a b"c'), ("combined", r"127.0.0.1 - a\x20b\x22c [")])
async def test_the_access_log_says_who_asked(tmp_path: Path, form: str, said: str) -> None:
    log = tmp_path / "access.log"
    async with RecordingUpstream() as upstream:
        await statuses(configured(upstream.port, log=log, form=form), ask('a b"c'), ask())
    known, nobody = log.read_text().splitlines()
    if form == "json":
        assert json.loads(known)["identity"] == said
        assert json.loads(nobody)["identity"] is None
    else:
        assert known.startswith(said)
        assert nobody.startswith("127.0.0.1 - - [")
