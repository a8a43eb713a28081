"""Names of targets, resolved again and again in the background; the last good answer is kept while nobody answers.

One task a name asks at once and then every ``refresh`` (a tenth sooner or later, so that the questions of many names
spread), or when the answer's time to live is over, if that is sooner. After a failure it asks again after 1, 2, 4 …
seconds. What is not an answer (no such name, no address, an error, silence) leaves the last addresses in use until they
are ``stale``: that long after the last success, at the next question. Who uses the addresses is told of every change,
of an order that is another one not; and of a first question that failed, if it is ``awaited``.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fastgate.upstreams.lookup import Family, LookupAnswer, ServerLookup, SystemLookup, Unresolved, literal
from fastgate.upstreams.srv import Service, services

_log = logging.getLogger("fastgate.upstreams")

_JITTER = 0.1


class Question(NamedTuple):
    """What is asked for, and how often."""

    host: str
    """A name; an IP address is its own answer. With ``srv`` the name of a service, ``_http._tcp.example.com``."""
    family: Family = "auto"
    server: str = ""
    """The DNS server, ``address`` or ``address:port``; empty: the system's resolver."""
    srv: bool = False
    refresh: float = 30.0
    """Seconds."""
    stale: float = 3600.0
    """Seconds after the last success for which its answer is kept."""
    awaited: bool = False
    """Whether requests wait for the first answer, so that they have to be told that there is none."""


class Resolution:
    """What is known of a name.

    Attributes:
        answer: What was told last: addresses, or for SRV targets.
        error: Why the last question failed, in words; empty when it did not.
        failures: How many questions in a row have failed.
        succeeded: When the last good answer came, in seconds of the event loop's clock; None before the first.
    """

    __slots__ = ("_asked", "_parts", "_told", "answer", "error", "failures", "succeeded")

    def __init__(self) -> None:
        self.answer: list[str] | list[Service] = []
        self.error = ""
        self.failures = 0
        self.succeeded: float | None = None
        self._asked = asyncio.Event()
        self._told = False
        self._parts: dict[str, tuple[float, list[str]]] = {}


class Resolver:
    """Resolves names, each question under a name of the caller's, in the running event loop.

    Attributes:
        resolutions: What is known, by the same names.
    """

    def __init__(
        self,
        on_addresses: Callable[[str, list[str]], None],
        on_services: Callable[[str, list[Service]], None] | None = None,
        *,
        timeout: float = 5.0,
        shortest: float = 1.0,
    ) -> None:
        """``on_addresses(name, addresses)`` is told each new set, ``on_services`` those of SRV questions.

        ``timeout`` seconds are given to a DNS server for an answer. ``shortest`` is the least time to live that is
        believed and the first wait after a failure.
        """
        self.resolutions: dict[str, Resolution] = {}
        self._on_addresses = on_addresses
        self._on_services = on_services
        self._shortest = shortest
        self._system = SystemLookup()
        self._server = ServerLookup(timeout)
        self._questions: dict[str, Question] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def update(self, questions: Mapping[str, Question]) -> None:
        """Makes these the questions.

        One that is unchanged goes on undisturbed. One that changed is asked at once; what was told of it stays until
        the answer is there, or fails and was not to the same name. Nothing is told of those that are gone.
        """
        for name in [name for name, question in self._questions.items() if questions.get(name) != question]:
            self._asking.pop(name).cancel()
            known = self._questions.pop(name)
            question = questions.get(name)
            resolution = self.resolutions[name]
            if question is None or question.srv != known.srv:
                resolution._asked.set()
                del self.resolutions[name]
            elif question[:4] != known[:4]:
                resolution.succeeded = None
                resolution.failures = 0
                resolution._parts.clear()
                resolution._asked.clear()
        for name, question in questions.items():
            if name in self._questions:
                continue
            if question.srv and self._on_services is None:
                raise ValueError("SRV questions need on_services")
            self._questions[name] = question
            resolution = self.resolutions.setdefault(name, Resolution())
            task = asyncio.get_running_loop().create_task(self._keep_asking(name, question, resolution))
            self._asking[name] = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def asked(self) -> None:
        """Returns when each question that is there now has had its first answer, or has failed."""
        for resolution in list(self.resolutions.values()):
            await resolution._asked.wait()

    async def stop(self) -> None:
        """Ends all questions; returns when their sockets are closed."""
        self.update({})
        self._system.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_asking(self, name: str, question: Question, resolution: Resolution) -> None:
        loop = asyncio.get_running_loop()
        address = None if question.srv else literal(question.host)
        if address is not None:
            self._succeed(name, question, resolution, [address])
            return
        while True:
            reason = ""
            try:
                answer, ttl = await self._ask(question, resolution)
            except Unresolved as error:
                reason = str(error)
            except Exception as error:
                _log.exception("resolving %s raised an unexpected error", question.host)
                reason = repr(error)
            # A cancellation may have been lost: `asyncio.wait_for` of Python 3.11, which dnspython uses, swallows one
            # that comes together with the answer.
            if self._asking.get(name) is not asyncio.current_task():
                return
            if reason:
                wait = self._fail(name, question, resolution, reason)
            else:
                self._succeed(name, question, resolution, answer)
                wait = question.refresh if ttl is None else min(question.refresh, max(ttl, self._shortest))
            wait *= random.uniform(1 - _JITTER, 1 + _JITTER)
            if resolution.failures and resolution.succeeded is not None:
                wait = min(wait, max(0.0, resolution.succeeded + question.stale - loop.time()))
            await asyncio.sleep(wait)

    def _succeed(
        self, name: str, question: Question, resolution: Resolution, answer: list[str] | list[Service]
    ) -> None:
        if resolution.failures:
            _log.info("%s resolves again", question.host)
        resolution.succeeded = asyncio.get_running_loop().time()
        resolution.failures = 0
        resolution.error = ""
        self._tell(name, question, resolution, answer)
        resolution._asked.set()

    def _fail(self, name: str, question: Question, resolution: Resolution, reason: str) -> float:
        """Keeps the last answer, or gives it up when it is too old; how long to wait now."""
        now = asyncio.get_running_loop().time()
        if resolution.succeeded is not None and now - resolution.succeeded >= question.stale:
            resolution.succeeded = None
        if not resolution.failures or (resolution.succeeded is None and resolution.answer):
            kept = "keeping its previous addresses" if resolution.succeeded is not None else "it has no addresses now"
            _log.warning("cannot resolve %s (%s): %s", question.host, reason, kept)
        resolution.error = reason
        if resolution.succeeded is None and (resolution._told or question.awaited):
            self._tell(name, question, resolution, [])
        resolution._asked.set()
        wait = min(question.refresh, self._shortest * 2.0 ** min(resolution.failures, 20))
        resolution.failures += 1
        return wait

    def _tell(self, name: str, question: Question, resolution: Resolution, answer: list[str] | list[Service]) -> None:
        if resolution._told and answer == resolution.answer:
            return
        resolution._told = True
        resolution.answer = answer
        tell: Callable[[str, Any], None] | None = self._on_services if question.srv else self._on_addresses
        assert tell is not None
        try:
            tell(name, list(answer))
        except Exception:
            _log.exception("cannot use the new addresses of %s", question.host)

    async def _ask(self, question: Question, resolution: Resolution) -> tuple[list[str] | list[Service], float | None]:
        if question.srv:
            return await self._ask_services(question, resolution)
        answer = await self._addresses(question.host, question)
        return answer.addresses, answer.ttl

    async def _addresses(self, host: str, question: Question) -> LookupAnswer:
        if question.server:
            return await self._server.addresses(host, question.family, question.server)
        return await self._system.addresses(host, question.family)

    async def _ask_services(self, question: Question, resolution: Resolution) -> tuple[list[Service], float]:
        """The targets of a service. A record whose target does not resolve keeps its last addresses, like a name."""
        records, ttl = await self._server.services(question.host, question.server)
        hosts = sorted({record.target for record in records})
        answers = await asyncio.gather(*(self._addresses(host, question) for host in hosts), return_exceptions=True)
        now = asyncio.get_running_loop().time()
        parts: dict[str, tuple[float, list[str]]] = {}
        reasons = []
        for host, answer in zip(hosts, answers, strict=True):
            if isinstance(answer, LookupAnswer):
                parts[host] = now, answer.addresses
                ttl = ttl if answer.ttl is None else min(ttl, answer.ttl)
                continue
            if not isinstance(answer, Unresolved):
                raise answer
            reasons.append(f"{host.removesuffix('.')}: {answer}")
            known = resolution._parts.get(host)
            if known is not None and now - known[0] < question.stale:
                parts[host] = known
        resolution._parts = parts
        if len(reasons) == len(hosts):
            raise Unresolved("; ".join(reasons[:3]))
        return services(records, {host: addresses for host, (_, addresses) in parts.items()}), ttl
