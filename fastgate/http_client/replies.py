"""Reads a reply: HTTP/1.1 or 1.0, to its end, within bounds, and in one way only.

httptools parses and refuses what is malformed. What it would let pass although two readers could differ about where the
reply ends is refused here: a ``Transfer-Encoding`` other than exactly ``chunked``, any in HTTP/1.0, and interim
replies (1xx) that have a body. A switch of protocols was not asked for and is refused too. Other interim replies are
passed over; their heads count as part of the head.

Nothing is decided in the parser's callbacks: they note what came, and `feed` decides when all of a piece has been read.
"""

import ssl
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import httptools

from fastgate.http_client.failures import ConnectionLost, InvalidReply, ReplyTooLarge, failure_of

Until: TypeAlias = Callable[[int, bytearray], bool]
"""Told the status and the body as far as it has come, whenever there is more of it; True: that is enough.

The body is the reader's own, and not to be changed."""

_VERSIONS = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_FRAMING = 8  # times the body, at most: chunks of one byte come with five bytes around each


class Bounds(NamedTuple):
    """How much of a reply is read, in bytes."""

    head: int = 32768
    """All lines before the body, those of interim replies included."""
    body: int = 65536
    cut_body: bool = False
    """A longer body is cut there, and the reply is not ``whole``; otherwise it is an error."""


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    fields: list[tuple[str, str]]
    """Names in lower case; values as latin-1. Those that follow the body are left out."""
    body: bytes
    whole: bool
    """Whether that is all of the body; where it was cut, or enough came before its end, it is the beginning."""

    def get_all(self, name: str) -> list[str]:
        """Every value of a field, in their order; ``name`` is in lower case."""
        return [value for key, value in self.fields if key == name]


class ReplyReader:
    """Reads the replies of one connection, one after the other; `begin` comes before each.

    Attributes:
        started: Whether anything of it has come.
        reusable: Whether the connection can serve another request, once the reply is there.
    """

    __slots__ = (
        "_body",
        "_bounds",
        "_complete",
        "_decoder",
        "_ends_with_connection",
        "_fields",
        "_interim_size",
        "_over",
        "_received",
        "_refused",
        "_status",
        "_until",
        "_version_seen",
        "reusable",
        "started",
    )

    def __init__(self) -> None:
        self._decoder = httptools.HttpResponseParser(self)

    def begin(self, bounds: Bounds, until: Until | None) -> None:
        """A reply is to come: the first, or one on a connection that is ``reusable``."""
        self._bounds = bounds
        self._until = until
        self._fields: list[tuple[str, str]] = []
        self._body = bytearray()
        self._received = self._interim_size = self._status = 0
        self._complete = self._over = self._ends_with_connection = False
        self._refused = ""
        self.started = self.reusable = False

    def feed(self, data: bytes) -> Reply | None:
        """Takes the next bytes; the reply, once it has come. Raises InvalidReply and ReplyTooLarge."""
        if not self.started:
            self.started = True
            self._version_seen = data.startswith(_VERSIONS)
        self._received += len(data)
        known = len(self._body) if self._status else -1
        fault: Exception | None = None
        try:
            self._decoder.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            fault = error
        if self._complete and self._received <= self._bounds.head and not (self._refused or self._over or self._until):
            # What nearly every reply is.
            return self._reply(whole=True)
        return self._judge(known, fault)

    def end(self, error: Exception | None, *, cut: bool = False) -> Reply:
        """The connection has ended. Raises ConnectionLost or TLSError unless the reply has too.

        ``cut``: without ``close_notify``, so that anybody on the way may have ended it (RFC 9112, 9.8).
        """
        if self._status and self._ends_with_connection and error is None and not cut:
            return self._reply(whole=True)
        if isinstance(error, ssl.SSLError):
            raise failure_of(error, status=self._status) from error
        reason = "closed before the response was complete" if self.started else "closed without a response"
        raise ConnectionLost(reason, status=self._status, reset=isinstance(error, ConnectionError)) from error

    def _judge(self, known: int, fault: Exception | None) -> Reply | None:
        head, most, cut_body = self._bounds
        status = self._status
        if known < 0 and self._received > head and (self._head_size() > head or not (status or fault)):
            raise ReplyTooLarge(f"the response head is larger than {_size(head)}", "head")
        if self._refused:
            raise InvalidReply(self._refused)
        if not status:
            if fault is not None:
                raise InvalidReply(f"not a valid HTTP response: {fault}") from fault
            return None
        until = self._until
        if until is not None and len(self._body) > known and until(status, self._body):
            return self._reply(whole=self._complete and not self._over)
        if status == 101:
            raise InvalidReply("the server switched to another protocol", status=status)
        if self._over:
            if cut_body:
                return self._reply(whole=False)
            raise ReplyTooLarge(f"the response body is larger than {_size(most)}", "body", status=status)
        if self._complete:
            return self._reply(whole=True)
        if fault is not None:
            raise InvalidReply(f"not a valid HTTP response: {fault}", status=status) from fault
        if self._received > head + _FRAMING * most:
            raise ReplyTooLarge(
                f"the response is larger than {_size(head + _FRAMING * most)} with framing", "framing", status=status
            )
        return None

    def _head_size(self) -> int:
        return self._interim_size + sum(len(name) + len(value) + 4 for name, value in self._fields)

    def _reply(self, *, whole: bool) -> Reply:
        self.reusable = self.reusable and whole
        return Reply(self._status, self._fields, bytes(self._body), whole)

    # -- the parser's calls

    def on_message_begin(self) -> None:
        """A response; behind the one that was asked for there is to be none."""
        if self._status:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field; one that follows the body is of no interest."""
        if not self._status:
            self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        """The end of a head: that of the reply, or of an interim one."""
        if self._status:
            return
        status = self._decoder.get_status_code()
        interim = 100 <= status < 200 and status != 101
        framed = False
        codings = 0
        for name, value in self._fields:
            if name == "content-length":
                framed = True
            elif name == "transfer-encoding":
                framed = True
                codings += 1
                if codings > 1 or value.lower() != "chunked":
                    self._refused = "not a valid HTTP response: its transfer coding is not chunked"
        if codings or not self._version_seen:
            version = self._decoder.get_http_version()
            if version not in ("1.0", "1.1"):
                self._refused = f"not a valid HTTP response: its version is {version}"
            elif codings and version == "1.0":
                self._refused = "not a valid HTTP response: a transfer coding in HTTP/1.0"
        if interim:
            self._version_seen = False
            if framed:
                self._refused = f"not a valid HTTP response: a body in an interim response ({status})"
            self._interim_size = self._head_size()
            self._fields.clear()
            return
        self._status = status
        self._ends_with_connection = not framed and status not in (204, 304) and status >= 200

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self._complete:
            return
        room = self._bounds.body - len(self._body)
        if len(data) > room:
            self._over = True
            data = data[:room]
        self._body += data

    def on_message_complete(self) -> None:
        """The end of a response."""
        if self._status and self._status != 101 and not self._complete:
            self._complete = True
            self.reusable = self._decoder.should_keep_alive()


def _size(count: int) -> str:
    return f"{count // 1024} KB" if count >= 1024 else f"{count} bytes"
