"""A policy by which a test does to the response cache what routes that cache do: stores, pins, fetches for others."""

import json
import os
from typing import Any

import msgspec

from fastgate import Policy, Request, Response
from fastgate._core.memory.cache.walk import Walk, purged
from fastgate._core.probes import flight_probe
from fastgate._core.probes.cache_probe import Seen, store_whole

ORIGIN = b"http://shop.example"
NAMESPACE = bytes(range(16))
FLIGHT = 1 << 60 | 7
WEAK = ("", "stale", "purged")


def part(tag: int, value: bytes | None) -> bytes:
    length = 0xFFFFFFFF if value is None else len(value)
    return bytes([tag]) + length.to_bytes(4, "little") + (value or b"")


def key_of(path: bytes, query: bytes | None = None, vary: tuple[tuple[bytes, bytes | None], ...] = ()) -> bytes:
    """As `_core/delivery/cache/key.pyx` writes it: route, upstream, scheme, host, port, path, query, then fields."""
    values = [NAMESPACE, None, b"http", b"shop.example", None, path, query]
    key = b"".join(part(tag, value) for tag, value in enumerate(values, 1))
    return key + b"".join(part(13, name) + part(14, value) for name, value in vary)


def store(
    cache: Any, path: bytes, *, query: bytes | None = None, lifetime: int = 60_000, age: int = 0, **more: Any
) -> bool:
    """Stores an answer as a route does that caches: with the number of purges before it was asked for."""
    address = ORIGIN + path + (b"" if query is None else b"?" + query)
    number = cache.purges.begin(cache.purges.tag("uri", address))
    now = cache.memory.now()
    return store_whole(
        cache.memory,
        key_of(path, query, **more),
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n",
        b"",
        b"x" * 100,
        purge=number,
        words=(now - age, now - age + lifetime, 0),
        dies=now + 3_600_000,
    )


class Keeper(Policy):
    """The path says what to do; the answer is JSON."""

    async def on_startup(self, gateway: Any) -> None:
        self.gateway = gateway
        self.cache = gateway._open_cache()
        self.kept: list[Any] = []
        self.told: list[str] = []

    def on_request(self, request: Request) -> Response:
        action, _, name = request.path.removeprefix("/").partition("/")
        found = getattr(self, f"do_{action}")(name)
        return Response(200, body=json.dumps({"pid": os.getpid(), "slot": self.cache.slot, "found": found}))

    def do_who(self, _: str) -> None:
        pass

    def do_put(self, name: str) -> bool:
        return store(self.cache, f"/{name}".encode())

    def do_state(self, name: str) -> str:
        """Of what is stored under a name."""
        path = f"/{name}".encode()
        walk = Walk(self.cache.memory, part(6, path))
        while (found := walk.step()) is not None:
            for record in found:
                tag = self.cache.purges.tag
                texts = {"uri": ORIGIN + path, "route": b"all", "tag": b"news", "group": ORIGIN + b" g"}
                tags = [tag(kind, text) for kind, text in texts.items()]
                state = purged(self.cache.purges, record.purge, tags, ORIGIN + path, len(ORIGIN))
                return WEAK[state] or "fresh"
        return "missing"

    def do_hold(self, name: str) -> str:
        """Stores, pins what is stored, and leads a flight: nothing of it ends."""
        self.do_put(name)
        seen = Seen.of(self.cache.memory, key_of(f"/{name}".encode()))
        assert seen is not None
        assert seen.pin()
        how, ticket = flight_probe.enter(self.cache.flights, FLIGHT)
        self.kept += [seen, ticket]
        return how

    def do_follow(self, _: str) -> str:
        """Waits for that flight."""
        how, ticket = flight_probe.enter(self.cache.flights, FLIGHT)
        follower = Told(self.cache.flights, ticket)
        follower.heard = self.told
        follower.look()
        self.kept.append(follower)
        return f"{how} {follower.wait()}"

    def do_told(self, _: str) -> list[str]:
        return self.told

    def do_purge(self, name: str) -> None:
        self.gateway.cache.purge_url(f"{ORIGIN.decode()}/{name}")

    def do_soften(self, name: str) -> None:
        self.gateway.cache.purge_route(name, soft=True)

    def do_stats(self, _: str) -> Any:
        return msgspec.to_builtins(self.gateway.cache.stats())


class Told(flight_probe.Follower):
    heard: list[str]

    def on_told(self, state: str, filled: int) -> None:
        self.heard.append(state)
