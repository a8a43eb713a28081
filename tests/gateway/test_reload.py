"""`Gateway.reload`: what changes, changes from the next request on; the rest goes on as if nothing had happened."""

import asyncio
import contextlib
import gc
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from policies import plugins
from tls.authorities import Files

from fastgate import Gateway, GatewayConfig
from fastgate._core.exchange.route import Route
from fastgate.config import ConfigError
from fastgate.gateway.plugins import PluginError
from fastgate.testing import (
    Answer,
    EventStream,
    RawClient,
    RecordingUpstream,
    gateway_to,
    proxy_config,
    respond,
    start_gateway,
    wait_for,
)
from fastgate.upstreams.members import Address, question_of

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def get(path: str = "/", *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: h", *lines, "", ""]).encode()


async def reload(gateway: Gateway, settings: dict[str, Any]) -> None:
    await gateway.reload(GatewayConfig.from_dict(settings))


async def quiet(gateway: Gateway) -> None:
    """Returns when everything that a reload leaves for later is done."""
    async with asyncio.timeout(5):
        while gateway._letting_go:
            await asyncio.sleep(0.01)


def noting(port: int, **names: str) -> dict[str, Any]:
    """A route with these plugins; the value is the name under which each notes what is called."""
    settings = proxy_config(port, route={"policies": [{"use": use} for use in names]})
    settings["plugins"] = [
        {"name": use, "use": "policies.plugins:Noting", "options": {"name": name}} for use, name in names.items()
    ]
    return settings


def notes() -> list[str]:
    taken, plugins.NOTES[:] = plugins.NOTES[:], []
    return taken


@pytest.fixture(autouse=True)
def fresh_notes() -> Iterator[None]:
    plugins.NOTES.clear()
    yield
    plugins.KEPT.clear()


@contextlib.asynccontextmanager
async def tunnel(upstream: RecordingUpstream, client: RawClient) -> Any:
    """A WebSocket through the gateway: the upstream's end of it."""
    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def accept(exchange: Any) -> None:
        await exchange.send(SWITCH)
        opened.set_result(exchange)
        await done.wait()

    upstream.script(Answer(accept))
    await client.send(UPGRADE)
    assert (await client.head()).status == 101
    try:
        yield await opened
    finally:
        done.set()


# -- what stays


async def test_connections_to_an_upstream_stay_when_everything_about_it_but_its_address_changes() -> None:
    async with RecordingUpstream() as upstream:
        first = proxy_config(upstream.port, upstream={"pool": {"max_idle": 4}})
        target = {"host": "127.0.0.1", "port": upstream.port, "weight": 7}
        second = proxy_config(
            target,
            route={"name": "other", "timeouts": {"read": 5}},
            upstream={"balancer": "least_connections", "pool": {"max_idle": 9}, "health": {"passive": {"failures": 2}}},
        )
        async with start_gateway(first) as gateway, RawClient(gateway.port) as client:
            for settings in (second, first, second):
                assert (await client.request(get())).body == b"ok"
                await reload(gateway, settings)
            assert (await client.request(get())).body == b"ok"
            counts = gateway.metrics()
        assert len(upstream.connections) == 1
        assert (counts["requests"], counts["upstream_connects"], counts["upstream_reuses"]) == (4, 1, 3)


@pytest.mark.parametrize("algorithm", ["token_bucket", "fixed_window", "sliding_window_log"])
async def test_limits_go_on_where_they_were_also_with_other_numbers(algorithm: str) -> None:
    def settings(rate: int, name: str) -> dict[str, Any]:
        limit = {"algorithm": algorithm, "rate": rate, "per": "1d", "key": "header:x-key", "legacy_headers": rate > 3}
        config = proxy_config(upstream.port, route={"rate_limit": limit})
        config["routes"].append({"name": name, "path": f"/{name}", "upstream": "backend"})
        return config

    async with RecordingUpstream() as upstream, start_gateway(settings(3, "a")) as gateway:
        async with RawClient(gateway.port) as client:
            ask = get("/", "X-Key: k")
            assert [(await client.request(ask)).status for _ in range(4)] == [200, 200, 200, 429]
            await reload(gateway, settings(3, "b"))
            assert (await client.request(ask)).status == 429
            await reload(gateway, settings(5, "b"))
            statuses = [(await client.request(ask)).status for _ in range(4)]
            # Two more are allowed now. What a token bucket knows is a time: at the faster pace it is still empty.
            assert statuses == ([429] * 4 if algorithm == "token_bucket" else [200, 200, 429, 429])
            assert [(await client.request(get("/", "X-Key: other"))).status for _ in range(6)] == [200] * 5 + [429]


async def test_a_websocket_survives_also_the_end_of_its_route() -> None:
    async with RecordingUpstream() as upstream, start_gateway(proxy_config(upstream.port)) as gateway:
        async with RawClient(gateway.port) as client, tunnel(upstream, client) as other:
            for settings in (proxy_config(upstream.port, route={"max_body": 1}), proxy_config(1), proxy_config(2)):
                await reload(gateway, settings)
                await quiet(gateway)
                await client.send(b"ping")
                assert await other.reader.more()
                assert bytes(other.reader.buffer) == b"ping"
                other.reader.buffer.clear()
                await other.send(b"pong")
                assert await client.receive(4) == b"pong"


async def test_a_stream_keeps_its_own_route_and_nothing_else_of_its_time() -> None:
    def settings(word: str) -> dict[str, Any]:
        config = proxy_config(upstream.port, route={"name": f"{word}-all"})
        config["routes"] += [{"name": f"{word}-{n}", "path": f"/{n}", "upstream": "backend"} for n in range(300)]
        return config

    def living() -> dict[str, int]:
        words = [each.name.partition("-")[0] for each in gc.get_objects() if type(each) is Route]
        return {word: words.count(word) for word in set(words)}

    async with RecordingUpstream() as upstream, start_gateway(settings("a")) as gateway:
        stream = EventStream()
        upstream.script(Answer(stream))
        async with RawClient(gateway.port) as client:
            await client.send(get())
            await stream.send(b"data: 1\n\n")
            assert (await client.head()).status == 200
            for word in "bcd":
                await reload(gateway, settings(word))
                await quiet(gateway)
                assert living() == {"a": 1, word: 301}
            await stream.end()


# -- what changes


async def test_a_request_under_way_ends_under_the_configuration_it_began_with() -> None:
    def settings(word: str) -> dict[str, Any]:
        return proxy_config(upstream.port, route={"response_headers": {"set": {"x-word": word}}})

    async with RecordingUpstream() as upstream, start_gateway(settings("old")) as gateway:
        go = asyncio.Event()
        upstream.script(Answer(wait_for(go), respond(b"late")))
        async with RawClient(gateway.port) as slow, RawClient(gateway.port) as client:
            await slow.send(get())
            await upstream.request(0)
            await reload(gateway, settings("new"))
            assert (await client.request(get())).fields["x-word"] == "new"
            go.set()
            assert (await slow.response()).fields["x-word"] == "old"
            assert (await slow.request(get())).fields["x-word"] == "new"


async def test_a_head_that_is_not_complete_is_matched_with_what_is_in_use_when_it_is() -> None:
    async with RecordingUpstream() as upstream, start_gateway(proxy_config(upstream.port)) as gateway:
        async with RawClient(gateway.port) as client:
            await client.send(get("/now")[:-2])
            while not gateway.open_connections:
                await asyncio.sleep(0)
            await asyncio.sleep(0.02)
            await reload(gateway, proxy_config(upstream.port, route={"path": "/now", "methods": ["POST"]}))
            await quiet(gateway)
            await client.send(b"\r\n")
            response = await client.response()
            assert (response.status, response.fields["allow"]) == (405, "POST")


async def test_no_request_fails_while_reloads_follow_each_other() -> None:
    def settings(number: int) -> dict[str, Any]:
        targets = [{"host": "127.0.0.1", "port": port, "weight": 1 + number % 3} for port in ports[number % 2 :]]
        config = proxy_config(*targets, upstream={"balancer": "weighted_round_robin"})
        config["routes"] += [{"name": f"r{n}", "path": f"/{n}/{number}", "upstream": "backend"} for n in range(500)]
        return config

    async with RecordingUpstream(keep=False) as one, RecordingUpstream(keep=False) as other:
        ports = [one.port, other.port]
        async with start_gateway(settings(0)) as gateway:
            stopping = False
            statuses: list[int] = []

            async def ask() -> None:
                async with RawClient(gateway.port) as client:
                    while not stopping:
                        statuses.append((await client.request(get())).status)

            clients = [asyncio.create_task(ask()) for _ in range(8)]
            for number in range(1, 21):
                await reload(gateway, settings(number))
                await asyncio.sleep(0.005)
            stopping = True
            await asyncio.gather(*clients)
            assert set(statuses) == {200}
            assert len(statuses) > 100
            assert one.requests
            assert other.requests


async def test_connections_of_a_removed_upstream_close_when_they_are_done() -> None:
    async with RecordingUpstream() as gone, RecordingUpstream() as stays:
        first = proxy_config(gone.port)
        async with start_gateway(first) as gateway:
            go = asyncio.Event()
            gone.script(Answer(wait_for(go), respond(b"late")), respond(b"soon"))
            async with RawClient(gateway.port) as slow, RawClient(gateway.port) as client:
                await slow.send(get())
                await gone.request(0)
                assert (await client.request(get())).body == b"soon"
                second = proxy_config(stays.port)
                second["upstreams"]["other"] = second["upstreams"].pop("backend")
                second["routes"][0]["upstream"] = "other"
                await reload(gateway, second)
                busy, idle = gone.connections
                assert await idle.wait_ended() == "eof"
                assert busy.ended is None
                assert (await client.request(get())).body == b"ok"
                assert len(stays.requests) == 1
                go.set()
                assert (await slow.response()).body == b"late"
                assert await busy.wait_ended() == "eof"


async def test_a_target_that_is_taken_out_gets_no_more_requests() -> None:
    async with RecordingUpstream() as one, RecordingUpstream() as other:
        async with start_gateway(proxy_config(one.port, other.port)) as gateway, RawClient(gateway.port) as client:
            for _ in range(4):
                await client.request(get())
            await reload(gateway, proxy_config(other.port))
            assert await one.connections[0].wait_ended() == "eof"
            for _ in range(4):
                assert (await client.request(get())).status == 200
        assert (len(one.requests), len(other.requests)) == (2, 6)
        assert len(other.connections) == 1


async def test_other_tls_settings_make_other_connections(tmp_path: Path) -> None:
    files = Files(tmp_path)
    ca = files.ca  # written once: a file that changes makes another context
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files.authority.issue_cert("a.test", "b.test").configure_cert(server)

    def settings(name: str, **route: Any) -> dict[str, Any]:
        tls = {"ca": ca, "server_name": name}
        return proxy_config(upstream.port, route=route, upstream={"tls": tls})

    async with RecordingUpstream(tls=server) as upstream, start_gateway(settings("a.test")) as gateway:
        async with RawClient(gateway.port) as client:
            for number, change in enumerate([settings("a.test", max_body=9), settings("b.test"), settings("b.test")]):
                assert (await client.request(get())).status == 200
                assert len(upstream.connections) == [1, 1, 2][number]
                await reload(gateway, change)
            await upstream.connections[0].wait_ended()
            await reload(gateway, settings("c.test"))
            assert (await client.request(get())).status == 502
            await reload(gateway, settings("a.test"))
            assert (await client.request(get())).status == 200


async def test_what_a_name_resolves_to_is_kept() -> None:
    def settings(weight: int) -> dict[str, Any]:
        target = {"host": "localhost", "port": upstream.port, "weight": weight}
        return proxy_config(target, upstream={"dns": {"family": "ipv4"}, "balancer": "weighted_round_robin"})

    async with RecordingUpstream() as upstream, start_gateway(settings(1)) as gateway:
        assert gateway._pools is not None

        def targets() -> list[str]:
            return [target.name for pool in gateway._pools for target in pool.targets]

        async with asyncio.timeout(5):
            while targets() != [f"127.0.0.1:{upstream.port}"]:
                await asyncio.sleep(0.01)
        async with RawClient(gateway.port) as client:
            await client.request(get())
            await reload(gateway, settings(2))
            assert targets() == [f"127.0.0.1:{upstream.port}"]
            # A name that resolves to another address while a configuration is prepared.
            config = GatewayConfig.from_dict(settings(3))
            await gateway.prepare(config)
            backend = config.upstreams["backend"]
            question = question_of(backend.targets[0], backend.dns)
            gateway._pools.resolved("backend", {question: [Address("127.0.0.1"), Address("127.0.0.2")]})
            gateway.commit()
            assert targets() == [f"127.0.0.1:{upstream.port}", f"127.0.0.2:{upstream.port}"]
            assert {target.weight for pool in gateway._pools for target in pool.targets} == {3}
            await client.request(get())
        assert len(upstream.connections) == 1


# -- what is refused


async def test_a_refusal_changes_nothing(tmp_path: Path) -> None:
    async with RecordingUpstream() as upstream, start_gateway(noting(upstream.port, p="a")) as gateway:
        notes()
        before = gateway.config
        wrong = noting(upstream.port, p="b")
        wrong["plugins"].append({"name": "q", "use": "policies.plugins:Nowhere"})
        with pytest.raises(ConfigError, match="Nowhere"):
            await reload(gateway, wrong)
        (tmp_path / "ca.pem").write_text("nothing")
        wrong = proxy_config(1, upstream={"tls": {"ca": str(tmp_path / "ca.pem")}})
        with pytest.raises(ConfigError, match="does not contain a valid certificate"):
            await reload(gateway, wrong)
        fails = noting(upstream.port, p="c", q="d")
        fails["plugins"][1]["options"]["fail"] = "on_startup"
        with pytest.raises(PluginError, match="d fails in on_startup"):
            await reload(gateway, fails)
        assert notes() == ["b.init", "c.init", "d.init", "c.on_startup", "d.on_startup", "c.on_shutdown"]
        assert gateway.config is before
        async with RawClient(gateway.port) as client:
            assert (await client.request(get())).body == b"ok"
        assert notes() == ["a.on_request", "a.on_response"]
        await quiet(gateway)
    assert notes() == ["a.on_shutdown"]


async def test_what_was_prepared_can_be_forgotten() -> None:
    async with RecordingUpstream() as upstream, start_gateway(noting(upstream.port, p="a")) as gateway:
        notes()
        await gateway.prepare(GatewayConfig.from_dict(noting(upstream.port, p="a", q="b")))
        assert notes() == ["b.init", "b.on_startup"]
        gateway.abort()
        await quiet(gateway)
        assert notes() == ["b.on_shutdown"]
        async with RawClient(gateway.port) as client:
            await client.request(get())
        assert notes() == ["a.on_request", "a.on_response"]


# -- plugins


async def test_an_unchanged_plugin_keeps_its_object_and_others_come_and_go() -> None:
    async with RecordingUpstream() as upstream, start_gateway(noting(upstream.port, p="a", q="b")) as gateway:
        notes()
        await reload(gateway, noting(upstream.port, p="a", r="c"))
        await quiet(gateway)
        assert notes() == ["c.init", "c.on_startup", "b.on_shutdown"]
        await reload(gateway, noting(upstream.port, p="other", r="c"))
        await quiet(gateway)
        assert notes() == ["other.init", "other.on_startup", "a.on_shutdown"]
    assert notes() == ["other.on_shutdown", "c.on_shutdown"]


async def test_a_plugin_ends_after_the_last_exchange_that_may_use_it() -> None:
    async with RecordingUpstream() as upstream, start_gateway(noting(upstream.port, p="a")) as gateway:
        go = asyncio.Event()
        upstream.script(Answer(wait_for(go), respond(b"late")))
        async with RawClient(gateway.port) as client:
            await client.send(get())
            await upstream.request(0)
            # It outlives the first of these, so it is the second that ends it; the request is of the time before.
            await reload(gateway, noting(upstream.port, p="a", q="b"))
            await reload(gateway, noting(upstream.port, q="b"))
            await asyncio.sleep(0.05)
            assert "a.on_shutdown" not in plugins.NOTES
            go.set()
            assert (await client.response()).body == b"late"
            await quiet(gateway)
            called = notes()
            assert called.index("a.on_response") < called.index("a.on_shutdown")
            assert called.count("a.on_shutdown") == 1
    assert notes() == ["b.on_shutdown"]


async def test_a_plugin_that_waits_for_its_last_exchange_ends_with_the_gateway() -> None:
    async with RecordingUpstream() as upstream, start_gateway(noting(upstream.port, p="a")) as gateway:
        async with RawClient(gateway.port) as client, tunnel(upstream, client):
            await reload(gateway, proxy_config(upstream.port))
            await asyncio.sleep(0.02)
            assert "a.on_shutdown" not in plugins.NOTES
            await gateway.close()
            assert plugins.NOTES.count("a.on_shutdown") == 1


async def test_a_configuration_without_routes_is_refused_unless_it_is_meant() -> None:
    async with RecordingUpstream() as upstream, gateway_to(upstream.port) as gateway:
        empty = GatewayConfig.from_dict({"gateway": {"port": 0, "access_log": {"path": ""}}})
        with pytest.raises(ConfigError, match="routes: the file has none, but the running configuration has 1 route"):
            await gateway.reload(empty)
        async with RawClient(gateway.port) as client:
            assert (await client.request(get())).status == 200
            await gateway.reload(empty, allow_empty=True)
            assert (await client.request(get())).status == 404
