from collections.abc import Callable
from ssl import SSLObject

from fastgate._core.auth.gate import Method
from fastgate._core.exchange.identity import Identity

class CertificateMethod(Method):
    """Certificates that the TLS handshake has verified.

    ``read`` gives what a connection's certificate says: who it is (None: it cannot be read), whether that one is
    allowed, and until when it is valid, in seconds since 1970. None: there is no certificate.
    """

    def __init__(self, read: Callable[[SSLObject], tuple[Identity | None, bool, int] | None]) -> None: ...

class Known:
    """What a connection's certificate says, for one method."""
