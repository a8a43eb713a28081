from libc.stdint cimport int64_t

from fastgate._core.exchange.identity cimport Identity
from fastgate._core.auth.gate cimport Method
from fastgate._core.exchange.exchange cimport Peer


cdef class CertificateMethod(Method):
    """Certificates that the TLS handshake has verified."""
    cdef object read                   # ssl_object → Known

    cdef Known known(self, Peer peer)


cdef class Known:
    """What a connection's certificate says, for one method."""
    cdef CertificateMethod method
    cdef Identity identity             # None: there is no certificate, or it names nobody
    cdef int verdict
    cdef int64_t not_after             # seconds since 1970
