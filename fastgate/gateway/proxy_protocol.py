"""The PROXY protocol, versions 1 and 2, as a parser without a socket.

A proxy in front says in the first bytes of a connection whose connection it is. The specification is that of HAProxy
(``doc/proxy-protocol.txt``). The parser is told which bytes are there and answers how many of them belong to the
header, so that the caller can consume exactly these and leave in the socket what follows: a TLS handshake, a request.
"""

from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

HostPort = tuple[str, int]
"""A numeric address and a port."""

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V1_LIMIT = 107  # with its CRLF: section 2.1
_V2_FIXED = 16


class ProxyHeaderError(ValueError):
    """What came is not a PROXY protocol header."""


class ProxyHeader:
    """One header. `take` until `complete`; then `source` and `destination` are set.

    Both are None when the header names nobody: ``UNKNOWN`` and ``LOCAL`` (health checks of the proxy itself), and
    families other than TCP over IPv4 or IPv6. Then the addresses of the connection hold.
    """

    __slots__ = ("_buffer", "complete", "destination", "source")

    def __init__(self) -> None:
        self._buffer = b""
        self.complete = False
        self.source: HostPort | None = None
        self.destination: HostPort | None = None

    def take(self, data: bytes) -> int:
        """How many of these bytes, which follow those taken before, belong to the header.

        At least one does. Raises ProxyHeaderError as soon as the bytes cannot become a header.
        """
        before = len(self._buffer)
        buffer = self._buffer + data
        if _V2.startswith(buffer[: len(_V2)]):
            end = self._end_of_v2(buffer)
        elif _V1.startswith(buffer[: len(_V1)]):
            end = self._end_of_v1(buffer)
        else:
            raise ProxyHeaderError("not a PROXY protocol header")
        self._buffer = buffer[:end]
        if self.complete:
            self._buffer = b""
        return end - before

    def _end_of_v1(self, buffer: bytes) -> int:
        end = buffer.find(b"\n", 0, _V1_LIMIT)
        if end < 0:
            if len(buffer) >= _V1_LIMIT:
                raise ProxyHeaderError("the line of version 1 is longer than 107 bytes")
            return len(buffer)
        if buffer[end - 1 : end] != b"\r":
            raise ProxyHeaderError("the line of version 1 does not end with CRLF")
        self._read_v1(buffer[: end - 1])
        self.complete = True
        return end + 1

    def _read_v1(self, line: bytes) -> None:
        words = line.split(b" ")
        if words[1:2] == [b"UNKNOWN"]:
            return
        family = {b"TCP4": AF_INET, b"TCP6": AF_INET6}.get(words[1]) if len(words) == 6 else None
        if family is None:
            raise ProxyHeaderError("the line of version 1 is malformed")
        try:
            source, destination = (inet_ntop(family, inet_pton(family, word.decode("ascii"))) for word in words[2:4])
        except (OSError, ValueError):
            raise ProxyHeaderError("an address of version 1 is malformed") from None
        self.source = source, _port(words[4])
        self.destination = destination, _port(words[5])

    def _end_of_v2(self, buffer: bytes) -> int:
        if len(buffer) < _V2_FIXED:
            return len(buffer)
        length = int.from_bytes(buffer[14:16], "big")
        if buffer[12] not in (0x20, 0x21):
            raise ProxyHeaderError("the command of version 2 is neither LOCAL nor PROXY")
        end = _V2_FIXED + length
        if len(buffer) < end:
            return len(buffer)
        if buffer[12] == 0x21:
            self._read_v2(buffer[13], buffer[_V2_FIXED:end])
        self.complete = True
        return end

    def _read_v2(self, family_and_transport: int, body: bytes) -> None:
        if family_and_transport == 0x11:
            family, size = AF_INET, 4
        elif family_and_transport == 0x21:
            family, size = AF_INET6, 16
        else:
            return
        if len(body) < 2 * size + 4:
            raise ProxyHeaderError("the address block of version 2 is too short")
        ports = body[2 * size : 2 * size + 4]
        self.source = inet_ntop(family, body[:size]), int.from_bytes(ports[:2], "big")
        self.destination = inet_ntop(family, body[size : 2 * size]), int.from_bytes(ports[2:], "big")


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or (len(word) > 1 and word[:1] == b"0") or int(word) > 65535:
        raise ProxyHeaderError("a port of version 1 is malformed")
    return int(word)
