"""Certificates of clients as identity: read once a connection, when the first request asks.

The handshake has verified the certificate, or the connection would not be there; so nothing but the connection itself
is believed, no header field. A connection may outlive its certificate, which is noticed at the next request; and it may
outlive a configuration, whose successor reads the certificate again.
"""

from libc.time cimport time

from fastgate._core.auth.gate cimport ABSENT, GRANTED, NOT_ALLOWED, REFUSED, Method
from fastgate._core.exchange.exchange cimport Exchange, Peer


cdef class CertificateMethod(Method):
    def __init__(self, read):
        self.name = "certificate"
        self.read = read

    cdef int verify(self, Exchange x) except -1:
        cdef Peer peer = x.client.peer
        cdef Known known
        if peer.certificate is None or (<Known>peer.certificate).method is not self:
            peer.certificate = self.known(peer)
        known = <Known>peer.certificate
        if known.verdict != GRANTED:
            return known.verdict
        if time(NULL) >= known.not_after:
            return REFUSED
        return self.grant(x, known.identity)

    cdef Known known(self, Peer peer):
        cdef Known known = Known.__new__(Known)
        known.method = self
        known.verdict = ABSENT
        if peer.tls is not None:
            found = self.read(peer.tls)
            if found is not None:
                known.identity, allowed, known.not_after = found
                known.verdict = REFUSED if known.identity is None else GRANTED if allowed else NOT_ALLOWED
        return known


cdef class Known:
    pass
