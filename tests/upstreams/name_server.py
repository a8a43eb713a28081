"""A DNS server for tests: UDP and TCP on one free port, with answers that a test sets and changes."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

SILENCE = "silence"


class NameServer:
    """Answers from ``zone``; a name that is not in it does not exist, one without records of a kind has none of it.

    A value of ``zone`` is a list of records, an rcode ("SERVFAIL"), or SILENCE, until `speak`.

    Attributes:
        asked: (name, kind, "udp" or "tcp") of each question, in order.
        ttl: The time to live of every record.
        cut: The names whose answers do not fit into UDP.
    """

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], list[str] | str] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.ttl = 300
        self.cut: set[str] = set()
        self._unanswered: list[Callable[[], None]] = []
        self._notices: set[asyncio.Future[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        host, port = self._tcp.sockets[0].getsockname()
        return f"{host}:{port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        server = self

        class Datagrams(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.DatagramTransport) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
                response = server.respond(data, "udp")
                if response is not None:
                    self.transport.sendto(response, peer)
                else:
                    server._unanswered.append(lambda: self.datagram_received(data, peer))

        while True:
            self._tcp = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            # Bound here: uvloop leaves a transport behind where the port is taken, and warns of it at any later time.
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                datagrams.bind(self._tcp.sockets[0].getsockname())
            except OSError:
                datagrams.close()
                self._tcp.close()
                await self._tcp.wait_closed()
                continue
            self._udp, _ = await loop.create_datagram_endpoint(Datagrams, sock=datagrams)
            return self

    async def __aexit__(self, *_: object) -> None:
        self._udp.close()
        self._tcp.close()
        for writer in self._writers:
            writer.close()
        await self._tcp.wait_closed()

    def speak(self) -> None:
        """Answers the questions over UDP that met with silence, by the zone as it is now."""
        unanswered, self._unanswered = self._unanswered, []
        for again in unanswered:
            again()

    async def wait_asked(self, count: int, *, after: int = 0, timeout: float = 5.0) -> None:
        """Waits for ``count`` questions more than ``after``."""
        await self.wait_for(lambda: len(self.asked) >= after + count, timeout)

    async def wait_for(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._notices.add(waiting)
                await waiting

    def respond(self, data: bytes, transport: str) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, transport))
        for waiting in self._notices:
            if not waiting.done():
                waiting.set_result(None)
        self._notices.clear()
        entry = self.zone.get((name, kind), [])
        if entry == SILENCE:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        if isinstance(entry, str):
            response.set_rcode(dns.rcode.from_text(entry))
        elif transport == "udp" and name in self.cut:
            response.flags |= dns.flags.TC
        elif entry:
            response.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", kind, *entry))
        elif not any(known == name for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await reader.readexactly(2))
                response = self.respond(await reader.readexactly(size), "tcp")
                if response is not None:
                    writer.write(len(response).to_bytes(2) + response)
        writer.close()
        self._writers.discard(writer)
