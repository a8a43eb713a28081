"""What can go wrong when the gateway asks: each kind an exception, each with one sentence for the log."""

import ssl


class ClientError(Exception):
    """There was no reply that could be used; the text says why, in one sentence without its final stop.

    Attributes:
        status: The status that had come before it went wrong; 0 where none had.
        reset: Whether the peer reset the connection, in place of closing it.
    """

    def __init__(self, reason: str, *, status: int = 0, reset: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.reset = reset


class ConnectError(ClientError):
    """No connection could be made. The cause is the OSError, or the ValueError for a name that is none."""


class TLSError(ClientError):
    """TLS failed: the peer's certificate does not fit, or it speaks none. The cause is the ``ssl.SSLError``."""


class ReplyTimeout(ClientError):
    """The time was over before the reply was there."""


class ConnectionLost(ClientError):
    """The connection ended before the reply did."""


class InvalidReply(ClientError):
    """What came is no HTTP/1.x, could be read in two ways, or is of another protocol."""


class ReplyTooLarge(ClientError):
    """More came than is read.

    Attributes:
        part: What was too large: "head", "body", or "framing", which is what lies around and between the two.
    """

    def __init__(self, reason: str, part: str, *, status: int = 0) -> None:
        super().__init__(reason, status=status)
        self.part = part


def failure_of(error: OSError | ValueError, *, status: int = 0) -> ClientError:
    """What an exception means that came while a connection was made or used."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return TLSError(f"TLS: {error.verify_message.removesuffix('.')}", status=status)
    if isinstance(error, ssl.SSLError):
        return TLSError(f"TLS: {(error.reason or str(error)).lower().replace('_', ' ')}", status=status)
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ConnectError(reason, status=status, reset=isinstance(error, ConnectionResetError))
