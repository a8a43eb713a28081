"""A service that says who may come in: it is asked, its answers are read, and its decisions are kept."""

import asyncio
import logging
import time

from fastgate._core.auth.forward import ForwardMethod
from fastgate._core.auth.gate import VerifiedCache
from fastgate._core.exchange.exchange import Answer
from fastgate._core.exchange.identity import Identity
from fastgate._core.exchange.refusal import Refusal
from fastgate._core.exchange.views import Response
from fastgate.config.schema.forward_auth import CREDENTIALS, ForwardAuth, parse_decision_key
from fastgate.config.syntax.addresses import parse_url
from fastgate.config.syntax.headers import variable_of
from fastgate.http_client import Bounds, Client, ClientError, Destination, Reply
from fastgate.upstreams.tls import client_context, server_name

_log = logging.getLogger("fastgate.auth")

_REDIRECTS = (301, 302, 303, 307, 308)
_PASSED_ON = frozenset(
    (
        "cache-control",
        "content-language",
        "content-type",
        "expires",
        "location",
        "set-cookie",
        "vary",
        "www-authenticate",
    )
)
_LOG_EVERY = 10.0  # seconds between two lines about a service that does not answer
_REFUSALS_KEPT = 1000
_BOUNDS = Bounds(head=32768, body=65536, cut_body=True)
_BODY_KEPT = 8192  # bytes of each at most: they are those of anybody who comes


def compile_forward_auth(settings: ForwardAuth) -> ForwardMethod:
    """The method of ``[auth.forward]``. Raises ConfigError for TLS files that cannot be used."""
    endpoint, target = parse_url(settings.url)
    context = client_context(settings.tls, "auth.forward.tls") if endpoint.tls else None
    service = Destination(
        endpoint.host,
        endpoint.port,
        tls=context,
        server_name=server_name(settings.tls, endpoint.host) if context is not None else "",
    )
    cache = VerifiedCache(settings.cache.max_entries if settings.cache is not None else 0)
    client = Client(service, bounds=_BOUNDS, max_connections=settings.max_connections)
    taken = {*settings.response_headers, *([settings.identity_header] if settings.identity_header else [])}
    # What the service or another method reads must stay until it has been read.
    read = {variable_of(name) for name in (*settings.request_headers, *CREDENTIALS)}
    return ForwardMethod(
        Decisions(settings, client, cache).ask,
        client.close,
        target=target,
        authority=_authority(endpoint.host, endpoint.port, secure=bool(endpoint.tls)),
        send=settings.request_headers,
        by=[parse_decision_key(each) for each in settings.cache.by] if settings.cache is not None else [],
        cache=cache,
        owned={name for name in taken if variable_of(name) not in read},
        replaced=[name for name in settings.response_headers if variable_of(name) in read],
    )


def _authority(host: str, port: int, *, secure: bool) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == (443 if secure else 80) else f"{name}:{port}"


class Decisions:
    """Asks the service, once for all requests that are alike and wait at the same time."""

    def __init__(self, settings: ForwardAuth, client: Client, cache: VerifiedCache) -> None:
        self._settings = settings
        self._client = client
        self._cache = cache
        self._under_way: dict[bytes, _Question] = {}
        self._refused: dict[bytes, tuple[Reply, float]] = {}
        self._logged_at = -_LOG_EVERY

    async def ask(self, key: bytes | None, request: bytes) -> Identity | Answer:
        """Who it is, or what the client is told. Raises a Refusal when the service cannot be asked."""
        if key is None:
            return self._read(await self._reply(request), for_client=True)
        refused = self._refused.get(key)
        if refused is not None:
            if time.monotonic() < refused[1]:
                return self._read(refused[0], for_client=False)
            del self._refused[key]
        question = self._under_way.get(key)
        if question is None:
            question = self._under_way[key] = _Question()
            question.task = asyncio.get_running_loop().create_task(self._ask_and_keep(question, key, request))
        question.waiting += 1
        try:
            reply = await asyncio.shield(question.task)
        finally:
            question.waiting -= 1
            if not question.waiting and not question.task.done():
                question.task.cancel()
                self._forget(question, key)
        first, question.answered = not question.answered, True
        return self._read(reply, for_client=first)

    async def _ask_and_keep(self, question: "_Question", key: bytes, request: bytes) -> Reply:
        try:
            reply = await self._reply(request)
        finally:
            self._forget(question, key)
        self._keep(key, reply)
        return reply

    def _forget(self, question: "_Question", key: bytes) -> None:
        if self._under_way.get(key) is question:
            del self._under_way[key]

    async def _reply(self, request: bytes) -> Reply:
        """An answer that decides."""
        try:
            reply = await self._client.ask(request, self._settings.timeout)
            status = reply.status
            if 200 <= status < 300:
                return reply
            if status not in (401, 403) and status not in _REDIRECTS:
                raise _NoDecision(f"it answered {status}")
            if not reply.whole:
                raise _NoDecision(f"the body of its {status} answer is larger than 64 KB")
            return reply
        except (ClientError, _NoDecision) as error:
            now = time.monotonic()
            if now - self._logged_at >= _LOG_EVERY:
                self._logged_at = now
                _log.warning("auth.forward: no decision from %s, answering 503: %s", self._settings.url, error)
            raise Refusal("auth_unavailable") from error

    def _keep(self, key: bytes, reply: Reply) -> None:
        cache = self._settings.cache
        assert cache is not None
        if any("no-store" in value.lower() for value in reply.get_all("cache-control")):
            return
        now = time.monotonic()
        if 200 <= reply.status < 300:
            self._cache.put(key, self._identity(reply, for_client=False), now + cache.ttl)
        elif cache.negative_ttl and len(reply.body) <= _BODY_KEPT and not reply.get_all("set-cookie"):
            if len(self._refused) >= _REFUSALS_KEPT:
                self._refused.clear()
            self._refused[key] = reply, now + cache.negative_ttl

    def _read(self, reply: Reply, *, for_client: bool) -> Identity | Answer:
        if 200 <= reply.status < 300:
            return self._identity(reply, for_client=for_client)
        headers = [(name, value) for name, value in reply.fields if name in _PASSED_ON]
        if not reply.get_all("cache-control"):
            headers.append(("cache-control", "no-store"))
        return Response(reply.status, reply.body, headers=headers)

    def _identity(self, reply: Reply, *, for_client: bool) -> Identity:
        """Who the service says it is, with the fields that the upstream gets.

        ``for_client``: and with those that the client gets. These are for the one whose question it was, and for
        nobody who is merely like him: a session is renewed once.
        """
        settings = self._settings
        values = reply.get_all(settings.identity_header) if settings.identity_header else []
        fields = [(name, _text(value)) for name in settings.response_headers for value in reply.get_all(name)]
        claims = {name: ", ".join(value for key, value in fields if key == name) for name, _ in fields}
        passed = settings.client_headers if for_client else ()
        client_fields = [(name, value) for name, value in reply.fields if name in passed]
        who = _text(values[0]) if len(values) == 1 else ""
        return Identity(who, "forward", claims=claims, fields=fields, client_fields=client_fields)


def _text(value: str) -> str:
    """A field's value as it was meant: UTF-8, or else Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


class _NoDecision(Exception):
    """An answer that decides nothing."""


class _Question:
    """One that is under way."""

    task: asyncio.Task[Reply]

    def __init__(self) -> None:
        self.waiting = 0  # requests
        self.answered = False  # one of them has the fields for the client
