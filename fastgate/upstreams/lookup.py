"""The two ways to ask for the addresses of a name: the system's resolver, and DNS servers directly.

The system's resolver (``getaddrinfo``: hosts file, search domains, whatever the machine is set up for) blocks, so it is
asked in threads. They are our own, at most four, and daemons: a DNS server that is dead can neither use up the threads
of the event loop nor hold up the end of the process. A name whose question hangs holds one thread, however often it is
asked again.

DNS servers are asked with dnspython (the extra ``dns``), over UDP, and over TCP where an answer is too long for it. It
is imported when the first such question is asked.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from fastgate.config import ConfigError, Problem
from fastgate.config.syntax.addresses import split_port

if TYPE_CHECKING:
    import dns.resolver

Family: TypeAlias = Literal["auto", "ipv4", "ipv6", "both"]
"""Which addresses of a name are used. ``auto``: those of IPv4 when there are any, else those of IPv6."""

_FAMILIES = {
    "auto": socket.AF_UNSPEC,
    "ipv4": socket.AF_INET,
    "ipv6": socket.AF_INET6,
    "both": socket.AF_UNSPEC,
}
_KINDS = {"auto": ("A", "AAAA"), "ipv4": ("A",), "ipv6": ("AAAA",), "both": ("A", "AAAA")}
_NONE = {
    "auto": "the name has no addresses",
    "ipv4": "the name has no IPv4 addresses",
    "ipv6": "the name has no IPv6 addresses",
    "both": "the name has no addresses",
}
_MISSING = "questions to DNS servers need the package dnspython: pip install 'fastgate[dns]'"

_SYSTEM_PATIENCE = 30.0  # the system gives up by itself, by default after 10 s a server and search domain
_TRY_TIMEOUT = 2.0


class Unresolved(Exception):
    """A name that could not be resolved; the message says why, in words."""


class LookupAnswer(NamedTuple):
    """The addresses of a name, sorted and without repetition, at least one."""

    addresses: list[str]
    ttl: float | None
    """Seconds for which the answer holds; None where nobody said."""


class ServiceRecord(NamedTuple):
    """One SRV record (RFC 2782); ``target`` is absolute, with its final dot."""

    priority: int
    weight: int
    port: int
    target: str


def require_dnspython(where: str) -> None:
    """Raises `ConfigError` for the configuration path ``where`` when dnspython is not installed."""
    try:
        found = find_spec("dns.asyncresolver")  # not imported: only the process that asks needs it
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise ConfigError([Problem(path=where, message=_MISSING)])


def literal(host: str) -> str | None:
    """The address that ``host`` is, in its usual spelling; None when it is a name."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return None


class SystemLookup:
    """Asks the system, in at most ``threads`` threads."""

    def __init__(self, threads: int = 4) -> None:
        self._free = asyncio.Semaphore(threads)
        self._asking: dict[tuple[str, int], asyncio.Task[set[str]]] = {}

    async def addresses(self, host: str, family: Family) -> LookupAnswer:
        """The addresses of a name. Raises Unresolved."""
        question = host, _FAMILIES[family]
        asking = self._asking.get(question)
        if asking is None:
            asking = self._asking[question] = asyncio.get_running_loop().create_task(self._ask(*question))
            asking.add_done_callback(lambda _: self._asking.pop(question, None))
        try:
            async with asyncio.timeout(_SYSTEM_PATIENCE):
                found = await asyncio.shield(asking)
        except TimeoutError:
            raise Unresolved(f"no answer within {_SYSTEM_PATIENCE:g} s") from None
        except OSError as error:
            raise Unresolved((error.strerror or str(error)).lower()) from error
        except UnicodeError as error:
            raise Unresolved(str(error)) from error
        if family == "auto":
            found = {address for address in found if ":" not in address} or found
        if not found:
            raise Unresolved(_NONE[family])
        return LookupAnswer(sorted(found), None)

    def close(self) -> None:
        """Waits for no answer any more."""
        for asking in self._asking.values():
            asking.cancel()

    async def _ask(self, host: str, family: int) -> set[str]:
        async with self._free:
            loop = asyncio.get_running_loop()
            answered: asyncio.Future[set[str]] = loop.create_future()
            threading.Thread(
                target=_ask_system, args=(loop, answered, host, family), name="fastgate-dns", daemon=True
            ).start()
            return await answered


def _ask_system(loop: asyncio.AbstractEventLoop, answered: "asyncio.Future[set[str]]", host: str, family: int) -> None:
    found: set[str] | Exception
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)}
    except Exception as error:
        found = error
    # The loop may have been closed in the meantime.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_settle, answered, found)


def _settle(answered: "asyncio.Future[set[str]]", found: set[str] | Exception) -> None:
    if answered.done():
        return
    if isinstance(found, Exception):
        answered.set_exception(found)
    else:
        answered.set_result(found)


class ServerLookup:
    """Asks DNS servers: the one that is named, ``address`` or ``address:port``, or "", those of the system.

    ``timeout`` are the seconds for one question, repetitions included.
    """

    def __init__(self, timeout: float = 5.0, *, at_once: int = 32) -> None:
        self._timeout = timeout
        self._slots = asyncio.Semaphore(at_once)

    async def addresses(self, host: str, family: Family, server: str) -> LookupAnswer:
        """The addresses of a name. Raises Unresolved.

        A family that is needed and not answered fails the whole: half an answer would take away targets that are there.
        """
        found: set[str] = set()
        ttl = None
        for kind in _KINDS[family]:
            records, lifetime = await self._ask(host, kind, server)
            if records:
                found.update(record.address for record in records)
                ttl = lifetime if ttl is None else min(ttl, lifetime)
                if family == "auto":
                    break
        if not found:
            raise Unresolved(_NONE[family])
        return LookupAnswer(sorted(found), ttl)

    async def services(self, name: str, server: str) -> tuple[list[ServiceRecord], float]:
        """The SRV records of a name that offer something, at least one, and their time to live. Raises Unresolved."""
        records, ttl = await self._ask(name, "SRV", server)
        services = [
            ServiceRecord(record.priority, record.weight, record.port, record.target.to_text()) for record in records
        ]
        services = [service for service in services if service.port and service.target != "."]
        if not services:
            raise Unresolved("the name has no SRV records" if not records else "the service is not available")
        return services, ttl

    async def _ask(self, name: str, kind: str, server: str) -> tuple[list[Any], float]:
        """The records of one kind, maybe none, and their time to live."""
        try:
            import dns.asyncbackend
            import dns.asyncresolver
            import dns.exception
            import dns.resolver
        except ImportError:
            raise Unresolved(_MISSING) from None
        async with self._slots:
            try:
                # Made anew for each question: without a server it holds what resolv.conf says now.
                resolver = _resolver(server)
                resolver.timeout = min(_TRY_TIMEOUT, self._timeout)
                backend: Any = _Sockets(dns.asyncbackend.get_backend("asyncio"))
                answer = await resolver.resolve(name, kind, lifetime=self._timeout, search=not server, backend=backend)
            except dns.resolver.NoAnswer:
                return [], 0.0
            except dns.resolver.NXDOMAIN:
                raise Unresolved("the name does not exist") from None
            except dns.resolver.NoNameservers as error:
                raise Unresolved(_refusal(error)) from error
            except dns.exception.Timeout:
                raise Unresolved(f"no answer within {self._timeout:g} s") from None
            except dns.exception.DNSException as error:
                raise Unresolved(str(error)) from error
        return list(answer), float(answer.chaining_result.minimum_ttl)


class _Sockets:
    """dnspython's way to the event loop, with UDP sockets that a cancellation does not leave open.

    uvloop forgets the socket when it is cancelled while it makes one; as long as something holds on to such a socket, a
    traceback for instance, the loop cannot be closed: `close` waits for ever.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def make_socket(self, family: int, kind: int, *rest: Any, **options: Any) -> Any:
        """A socket, as dnspython asks for it."""
        making = self._backend.make_socket(family, kind, *rest, **options)
        if kind != socket.SOCK_DGRAM:
            return await making
        made = asyncio.get_running_loop().create_task(making)
        try:
            return await asyncio.shield(made)
        except asyncio.CancelledError:
            # One turn of the loop away.
            await (await made).close()
            raise


def _resolver(server: str) -> Any:
    import dns.asyncresolver
    import dns.nameserver

    if not server:
        return dns.asyncresolver.Resolver()
    host, port = split_port(server)
    address = literal(host)
    if address is None:
        raise Unresolved(f'the DNS server "{host}" is not a valid IP address')
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port or 53)]
    return resolver


def _refusal(error: "dns.resolver.NoNameservers") -> str:
    """What the last server said: dnspython's own sentence names the question and every try."""
    tries = error.kwargs.get("errors")
    if not tries:
        return str(error)
    _, _, _, fault, _ = tries[-1]
    return f"the server answered {fault}" if isinstance(fault, str) else f"the server failed: {fault}"
