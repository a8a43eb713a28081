"""Fetches the sets of keys that issuers publish: once for a host, ahead of the time when they are needed.

Every set is fetched at once and then again and again: after ``refresh``, or earlier when its ``Cache-Control`` says so.
What comes is read here first, and only a set with a key that can be used takes the place of the one before it; so a
server that is away or answers nonsense changes nothing. That is logged when it begins and when it ends.

A key that nobody knows (`KeySetControl.want`) is a reason to fetch at once, but after such a fetch only when
``cooldown`` is over: whoever makes up names of keys cannot make the gateway flood the issuer. Who asks while a fetch is
under way that began before he asked may get a set that is older than his question; then one more is made.
"""

import asyncio
import contextlib
import errno
import logging
import os
import re
import ssl
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from fastgate.config import ConfigError, GatewayConfig, UpstreamTLS
from fastgate.http_client import (
    Bounds,
    Client,
    ClientError,
    ConnectionLost,
    Destination,
    InvalidReply,
    ReplyTimeout,
    ReplyTooLarge,
    compose,
)
from fastgate.upstreams.lookup import SystemLookup, Unresolved, literal
from fastgate.upstreams.tls import client_context

_log = logging.getLogger("fastgate.jwt")

_AHEAD = 0.8  # of the time for which a server says that its set holds
_MAX_AGE = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,9})\"?\s*(?:,|$)", re.IGNORECASE)
_NOT_STORED = re.compile(r"(?:^|,)\s*(?:no-store|no-cache)\s*(?:,|$)", re.IGNORECASE)

Settled = Callable[[str, float], None]
"""Told the URL, and until when no fetch will be made for the sake of a key, on the host's monotonic clock."""


class FetchError(Exception):
    """A set that could not be had; the message says why."""


class Source(NamedTuple):
    """Where a set is, and when it is fetched; times in seconds."""

    url: str
    refresh: float
    cooldown: float
    timeout: float
    ca: str


class Fetched(NamedTuple):
    """What a server answered."""

    document: bytes
    max_age: float | None


def sources_of(config: GatewayConfig) -> dict[str, Source]:
    """The sets that a configuration needs, by URL."""
    jwt = config.auth.jwt
    if jwt is None:
        return {}
    return {
        issuer.jwks: Source(issuer.jwks, jwt.refresh, jwt.cooldown, jwt.timeout, jwt.ca)
        for issuer in jwt.trusted().values()
        if issuer.jwks
    }


class KeySetControl:
    """Begins with `update`; ``on_fetched(url, document)`` is told of every set that is another one than before."""

    def __init__(self, on_fetched: Callable[[str, bytes], None]) -> None:
        self._on_fetched = on_fetched
        self._watched: dict[str, _Watched] = {}
        self._lookup = SystemLookup()

    @property
    def documents(self) -> dict[str, bytes]:
        """The last good set of each URL that had one."""
        return {url: each.document for url, each in self._watched.items() if each.document is not None}

    def update(self, config: GatewayConfig) -> None:
        """Makes these the sets that are fetched; what stays goes on."""
        sources = sources_of(config)
        for url in self._watched.keys() - sources.keys():
            self._watched.pop(url).stop()
        for url, source in sources.items():
            watched = self._watched.get(url)
            if watched is None:
                self._watched[url] = _Watched(source, self._lookup, self._on_fetched)
            else:
                watched.source = source

    def want(self, url: str, kid: str, answer: Settled) -> None:
        """A token names this key ("" = none, and no key fits). ``answer`` is called when all was done that can be."""
        watched = self._watched.get(url)
        if watched is None:
            answer(url, time.monotonic() + 1.0)  # of a configuration that is no longer in use
        else:
            watched.want(kid, answer)

    async def stop(self) -> None:
        """Ends everything."""
        tasks = [each.stop() for each in self._watched.values()]
        self._watched = {}
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lookup.close()


class _Question(NamedTuple):
    kid: str
    asked: float
    any_set: bool  # when it was asked
    answer: Settled


class _Watched:
    """One set, and the task that keeps it up to date."""

    def __init__(self, source: Source, lookup: SystemLookup, on_fetched: Callable[[str, bytes], None]) -> None:
        self.source = source
        self.document: bytes | None = None
        self._kids: frozenset[str] = frozenset()
        self._lookup = lookup
        self._on_fetched = on_fetched
        self._questions: list[_Question] = []
        self._wake = asyncio.Event()
        self._fetching = False
        self._quiet_until = 0.0
        self._failed = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    def want(self, kid: str, answer: Settled) -> None:
        now = time.monotonic()
        known = bool(kid) and kid in self._kids
        if known or (not self._fetching and now < self._quiet_until):
            answer(self.source.url, self._quiet_until)
            return
        self._questions.append(_Question(kid, now, self.document is not None, answer))
        self._wake.set()

    def stop(self) -> "asyncio.Task[None]":
        self._task.cancel()
        return self._task

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            forced = bool(self._questions)
            self._fetching = True
            pause = await self._fetch()
            self._fetching = False
            if forced or self._failed:
                self._quiet_until = began + self.source.cooldown
            self._answer(began)
            if not self._questions:
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause)

    def _answer(self, began: float) -> None:
        """Answers those whose questions are older than the fetch, and those whom it brought a key; the others stay."""
        quiet = time.monotonic() < self._quiet_until
        questions, self._questions = self._questions, []
        for question in questions:
            helped = question.kid in self._kids if question.any_set else self.document is not None
            if helped or quiet or question.asked <= began:
                question.answer(self.source.url, self._quiet_until)
            else:
                self._questions.append(question)

    async def _fetch(self) -> float:
        """Fetches the set once; how many seconds to wait before the next time."""
        # On use: what reads keys is a large library.
        from fastgate.policies.jwt.jwk import MOST_BYTES, read_key_set

        source = self.source
        try:
            fetched = await fetch(source, self._lookup, MOST_BYTES)
            try:
                keys = read_key_set(fetched.document)
            except ValueError as error:
                raise FetchError(str(error)) from None
        except FetchError as error:
            if not self._failed:
                self._failed = True
                kept = "keeping the previous one" if self.document is not None else "requests with a token get 503"
                _log.error("cannot fetch the JWK set from %s (%s); %s", source.url, error, kept)
            return min(source.cooldown, source.refresh)
        if self._failed or self.document is None:
            self._failed = False
            _log.info("fetched the JWK set from %s", source.url)
        if fetched.document != self.document:
            self.document = fetched.document
            self._kids = frozenset(keys.named)
            self._on_fetched(source.url, fetched.document)
        if fetched.max_age is None:
            return source.refresh
        return min(source.refresh, max(source.cooldown, fetched.max_age * _AHEAD))


def authorities(file: str) -> ssl.SSLContext:
    """What servers of keys are verified by: the authorities of a file, or with ``""`` the system's.

    Raises ConfigError.
    """
    return client_context(UpstreamTLS(ca=file), "auth.jwt")


async def fetch(source: Source, lookup: SystemLookup, most: int) -> Fetched:
    """Asks the server once, all its addresses in turn, within the time; ``most`` is bytes. Raises FetchError."""
    parts = urlsplit(source.url)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    fields = [
        ("Host", parts.netloc),
        ("Accept", "application/jwk-set+json, application/json"),
        ("User-Agent", "fastgate"),
        ("Connection", "close"),
    ]

    async def addresses(name: str) -> list[str]:
        address = literal(name)
        return [address] if address else (await lookup.addresses(name, "both")).addresses

    try:
        client = Client(
            Destination(
                host,
                parts.port or (443 if secure else 80),
                tls=authorities(source.ca) if secure else None,
                server_name=host.removesuffix("."),
            ),
            bounds=Bounds(head=2 * most, body=most),
            keep=0.0,
            resolve=addresses,
        )
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        reply = await client.ask(compose("GET", target, fields), source.timeout)
    except ClientError as error:
        raise FetchError(_words(error, source, most)) from None
    except (Unresolved, ConfigError) as error:
        raise FetchError(str(error)) from None
    if reply.status != 200:
        raise FetchError(f"the server answered {reply.status}")
    return Fetched(reply.body, _max_age(", ".join(reply.get_all("cache-control"))))


def _words(error: ClientError, source: Source, most: int) -> str:
    if isinstance(error, ReplyTimeout):
        return f"no answer within {source.timeout:g} s"
    if isinstance(error, ReplyTooLarge):
        return f"it is larger than {most // 1024} KB" if error.part == "body" else "the answer is too large"
    if isinstance(error, InvalidReply):
        return "the answer is not HTTP"
    if isinstance(error, ConnectionLost):
        return os.strerror(errno.ECONNRESET).lower() if error.reset else "the answer ends too early"
    return _reason(error.__cause__) if isinstance(error.__cause__, OSError) else str(error)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (getattr(error, "verify_message", "") or error.strerror or str(error)).lower()
    # What asyncio says of a connection that was refused repeats the address.
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


def _max_age(cache_control: str) -> float | None:
    """The seconds for which an answer holds (RFC 9111, 5.2.2); None where the server does not say."""
    if _NOT_STORED.search(cache_control):
        return 0.0
    found = _MAX_AGE.search(cache_control)
    return float(found[1]) if found else None
