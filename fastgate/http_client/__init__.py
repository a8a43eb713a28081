"""The client of HTTP/1.1 with which the gateway itself asks: health probes, sets of keys, forward-auth.

Requests of clients do not pass here; they are forwarded by the compiled core. Here the gateway wants an answer for
itself, so a reply is read as a whole, within bounds that the caller sets: of its head, of its body, and of the time
from the first wait to the last byte. Whatever is wrong with it is one `ClientError` with one sentence.

`Client` asks one destination, on connections that it keeps. `connect` gives a single `Connection`. `compose` makes the
bytes of a request. TLS is a context that the caller has made: `fastgate.upstreams.tls`.
"""

from fastgate.http_client.client import Client
from fastgate.http_client.connections import Connection, Destination, Resolve, connect
from fastgate.http_client.failures import (
    ClientError,
    ConnectError,
    ConnectionLost,
    InvalidReply,
    ReplyTimeout,
    ReplyTooLarge,
    TLSError,
)
from fastgate.http_client.replies import Bounds, Reply, Until
from fastgate.http_client.requests import compose

__all__ = [
    "Bounds",
    "Client",
    "ClientError",
    "ConnectError",
    "Connection",
    "ConnectionLost",
    "Destination",
    "InvalidReply",
    "Reply",
    "ReplyTimeout",
    "ReplyTooLarge",
    "Resolve",
    "TLSError",
    "Until",
    "compose",
    "connect",
]
