"""Plays: messages arrive and the reactions of the gateway are expected, step by step, without a socket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from fastgate.testing.clock import FakeClock
from fastgate.testing.compose import Headers, compose_request, compose_response
from fastgate.testing.gateway import proxy_config
from fastgate.testing.http_messages import CutShort, Message, MessageReader, RecordedRequest, RecordedResponse
from fastgate.testing.policies import UsedPolicy, made, policy_config
from fastgate.testing.transport import FakeTransport
from fastgate.testing.wire import Wire

if TYPE_CHECKING:
    from fastgate.gateway import Gateway

__all__ = ["Play", "playbook"]

Expected = Mapping[str, "str | None"]
"""Fields by name, each with its only value; None: the field must not be there."""


class _Transport(FakeTransport):
    """The gateway's side of a connection. What it writes is read by `receive`, as a `MessageReader` asks for it."""

    def __init__(self, protocol: Any, mistakes: list[str]) -> None:
        self._unread = bytearray()
        self._more = asyncio.Event()
        super().__init__(
            protocol, asyncio.get_running_loop().call_soon, peername=("203.0.113.7", 50000),
            sockname=("198.51.100.1", 80), mistakes=mistakes,
        )  # fmt: skip

    async def receive(self, size: int) -> bytes:
        """What was written, ``size`` bytes of it at most; nothing: that was all."""
        while not self._unread and not self.lost:
            self._more.clear()
            await self._more.wait()
        data = bytes(self._unread[:size])
        del self._unread[:size]
        return data

    def _write(self, data: Any) -> None:
        super()._write(data)
        self._unread += self.taken()
        self._more.set()

    def _lose(self, error: Exception | None) -> None:
        super()._lose(error)
        self._more.set()


class _Loop(asyncio.SelectorEventLoop):
    """Connects to nothing: whoever opens a connection gets one that the play answers."""

    opened: Callable[[Any], Any]

    async def create_connection(self, protocol_factory: Callable[[], Any], *_: Any, **__: Any) -> Any:
        protocol = protocol_factory()
        return self.opened(protocol), protocol


class Play:
    """The object that :func:`playbook` gives. A step that fails raises AssertionError with what happened instead.

    Attributes:
        clock: The clock of policies whose class has an attribute ``clock``.
        forwarded: The last expected request, as the upstream got it.
        answer: The last expected answer, as the client got it.
    """

    forwarded: RecordedRequest
    answer: RecordedResponse

    def __init__(
        self, policies: tuple[UsedPolicy, ...], options: Mapping[str, Any] | None, route: Mapping[str, Any] | None
    ) -> None:
        self.clock = FakeClock()
        self._timeout = 5.0
        self._policies = made(policies, options, self.clock)
        # An address, so that no name is asked for.
        config = proxy_config("192.0.2.1:80", route={"retry": False, **(route or {})})
        self._config = policy_config(config, [*self._policies])
        self._methods: deque[str] = deque()
        self._requests: deque[tuple[_Transport, RecordedRequest]] = deque()
        self._answers: deque[RecordedResponse] = deque()
        self._cut: list[CutShort] = []
        self._asked: _Transport | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._transports: list[_Transport] = []
        self._mistakes: list[str] = []

    # -- life

    def __enter__(self) -> Self:
        from fastgate._core.wire.h1.client import ClientConnection
        from fastgate.config import GatewayConfig
        from fastgate.gateway import Gateway
        from fastgate.gateway.control import LocalControl
        from fastgate.gateway.duties import DUTIES
        from fastgate.gateway.duties.upstreams import UpstreamsDuty

        if asyncio._get_running_loop() is not None:
            raise RuntimeError("a play has an event loop of its own: in an async function, use testing.run()")

        class NoSockets(LocalControl):
            def listeners(self, config: GatewayConfig) -> list[Any]:
                return []

        self._loop = _Loop()
        self._loop.opened = self._open_upstream
        self._change = asyncio.Event()
        config = GatewayConfig.from_dict(self._config)
        control = NoSockets(config, duties=[each for each in DUTIES if each is not UpstreamsDuty])  # nothing is probed
        self._gateway: Gateway = Gateway(config, control=control, policies=self._policies)
        try:
            self._do(self._gateway.start())
        except BaseException:
            self._loop.close()
            raise
        listener = SimpleNamespace(scheme="http", port=80)
        engine: Any = self._gateway._engine
        self._client = self._do(self._connect(lambda: ClientConnection(engine, listener)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._do(self._end())
        finally:
            self._loop.close()
        if error is None:
            assert not self._mistakes, self._mistakes
            assert not self._requests, f"the play did not expect this forwarded request:\n{shown(self._requests[0][1])}"
            assert not self._answers, f"the play did not expect this answer:\n{shown(self._answers[0])}"

    # -- what arrives

    def request(
        self,
        method: str,
        target: str = "/",
        *,
        headers: Headers | None = None,
        body: bytes | str = b"",
        json: object = None,
    ) -> Self:
        """A client sends this."""
        self._methods.append(method)
        return self._arrives(self._client, compose_request(method, target, headers=headers, body=body, json=json))

    def respond(
        self, status: int = 200, body: bytes | str = b"", *, headers: Headers | None = None, json: object = None
    ) -> Self:
        """The upstream answers the last expected request with this."""
        return self._arrives(self._upstream(), compose_response(status, body, headers=headers, json=json))

    def break_off(self) -> Self:
        """The upstream's connection is reset instead.

        The request is forwarded once more when it went out on a connection that was kept from an earlier one, or when
        ``route`` allows another try.
        """
        upstream = self._upstream()

        async def lose() -> None:
            upstream.lose(ConnectionResetError("reset by the play"))

        self._do(lose())
        return self

    def advance(self, seconds: float) -> Self:
        """Moves :attr:`clock` forward by ``seconds``."""

        async def advance() -> None:
            self.clock.advance(seconds)
            await asyncio.sleep(0)

        self._do(advance())
        return self

    # -- what is expected

    def expect_forward(
        self,
        method: str | None = None,
        target: str | None = None,
        *,
        headers: Expected | None = None,
        body: bytes | str | None = None,
        json: object = None,
    ) -> Self:
        """Expects that the upstream gets a request with these values. Arguments that are not given are not checked.

        ``headers``: each name with its only value, or None for a field that must be absent.
        """
        self._until(lambda: bool(self._requests or self._answers or self._cut))
        if not self._requests:
            self._blame("expected the request to be forwarded")
        self._asked, self.forwarded = self._requests.popleft()
        what = "the forwarded request"
        if method is not None:
            _compare(what, "method", self.forwarded.method, method, self.forwarded)
        if target is not None:
            _compare(what, "target", self.forwarded.target, target, self.forwarded)
        _compare_message(what, self.forwarded, headers, body, json)
        return self

    def expect_answer(
        self,
        status: int | None = None,
        *,
        headers: Expected | None = None,
        body: bytes | str | None = None,
        json: object = None,
    ) -> Self:
        """Expects that the client gets an answer with these values. Arguments that are not given are not checked."""
        self._until(lambda: bool(self._requests or self._answers or self._cut))
        if not self._answers:
            self._blame("expected an answer")
        self.answer = self._answers.popleft()
        if status is not None:
            _compare("the answer", "status", self.answer.status, status, self.answer)
        _compare_message("the answer", self.answer, headers, body, json)
        return self

    def expect_waiting(self) -> Self:
        """Expects that a policy waits: nothing was forwarded and nothing was answered."""

        async def turns() -> None:
            for _ in range(20):
                await asyncio.sleep(0)

        self._do(turns())
        if self._requests or self._answers or self._cut:
            self._blame("expected the policy to wait")
        return self

    # -- parts

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(coroutine)

    def _upstream(self) -> _Transport:
        assert self._asked is not None, "the upstream has no request to answer: call expect_forward() before respond()"
        asked, self._asked = self._asked, None
        return asked

    def _arrives(self, transport: _Transport, data: bytes) -> Self:
        async def arrive() -> None:
            assert not transport.closed, "the gateway has closed this connection"
            transport.send(data)

        self._do(arrive())
        return self

    def _until(self, condition: Callable[[], bool]) -> None:
        async def wait() -> None:
            try:
                async with asyncio.timeout(self._timeout):
                    while not condition():
                        self._change.clear()
                        await self._change.wait()
            except TimeoutError:
                """What is missing is said by the caller."""

        self._do(wait())

    def _blame(self, wanted: str) -> None:
        """Raises with what happened instead."""
        if self._answers:
            raise AssertionError(f"{wanted}, but the gateway answered:\n{shown(self._answers[0])}")
        if self._requests:
            raise AssertionError(f"{wanted}, but the request was forwarded:\n{shown(self._requests[0][1])}")
        if self._cut:
            raise AssertionError(f"{wanted}, but the gateway closed the client's connection: {self._cut[0]}")
        raise AssertionError(f"{wanted}, but nothing happened within {self._timeout:g} s: does a policy still wait?")

    async def _connect(self, factory: Callable[[], Any]) -> _Transport:
        transport = _Transport(factory(), self._mistakes)
        self._transports.append(transport)
        self._readers.append(self._loop.create_task(self._read_answers(transport)))
        return transport

    def _open_upstream(self, protocol: Any) -> _Transport:
        transport = _Transport(protocol, self._mistakes)
        self._transports.append(transport)
        self._readers.append(self._loop.create_task(self._read_requests(transport)))
        return transport

    async def _read_requests(self, transport: _Transport) -> None:
        reader = MessageReader(cast("Wire", transport))
        while (request := await reader.request()) is not None:
            await reader.body(request)
            self._requests.append((transport, request))
            self._change.set()

    async def _read_answers(self, transport: _Transport) -> None:
        reader = MessageReader(cast("Wire", transport))
        while await reader.more():
            try:
                answer = await reader.response(self._methods.popleft() if self._methods else "GET")
                await reader.body(answer)
                if not answer.complete:
                    raise CutShort(answer, b"", reset=False)
            except CutShort as cut:
                self._cut.append(cut)
                self._change.set()
                return
            self._answers.append(answer)
            self._change.set()

    async def _end(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        await self._gateway.close()
        for transport in self._transports:
            transport.close()
        await asyncio.sleep(0)


def playbook(
    *policies: UsedPolicy, options: Mapping[str, Any] | None = None, route: Mapping[str, Any] | None = None
) -> Play:
    """A play with these policies, in the order of the route. For plain test functions: it has a loop of its own.

        with testing.playbook(TenantPolicy, options={"tenants": ["acme"]}) as play:
            play.request("GET", "/", headers={"x-tenant": "ACME"})
            play.expect_forward("GET", "/", headers={"x-tenant": "acme"})
            play.respond(200, "ok")
            play.expect_answer(200, headers={"vary": "x-tenant"}, body="ok")

            play.request("GET", "/").expect_answer(400)

    ``options`` are those of the first policy, ``route`` is added to the route, which tries nothing again unless that
    says so. What is said to arrive has arrived when the step returns. At the end nothing may be left that was
    not expected.
    """
    return Play(policies, options, route)


def shown(message: Message) -> str:
    """A message as an assertion error shows it."""
    head = message.head.decode("latin-1").rstrip()
    lines = f"{head}\n\n{message.body[:1000].decode('utf-8', 'replace')}".rstrip().splitlines()
    return "\n".join(f"    {line}".rstrip() for line in lines)


def _compare(what: str, part: str, found: object, wanted: object, message: Message) -> None:
    if found != wanted:
        raise AssertionError(f"expected {what} to have {part} {wanted!r}, but it has {found!r}:\n{shown(message)}")


def _compare_message(
    what: str, message: Message, headers: Expected | None, body: bytes | str | None, json: object
) -> None:
    for name, wanted in (headers or {}).items():
        values = message.fields.get_all(name)
        found = values[0] if len(values) == 1 else values or None
        _compare(what, f"the field {name}:", found, wanted, message)
    if body is not None:
        _compare(what, "the body", message.body, body.encode() if isinstance(body, str) else body, message)
    if json is not None:
        try:
            decoded = message.json()
        except ValueError:
            decoded = message.body
        _compare(what, "the JSON", decoded, json, message)
