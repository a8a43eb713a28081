from libc.stdint cimport uint64_t

from fastgate._core.wire.h1.client cimport ClientConnection
from fastgate._core.exchange.worker cimport Engine
from fastgate._core.exchange.timers cimport Timed


cdef enum Stage:
    SHAKING_HANDS = 0
    OPEN = 1
    SHUT = 2                 # closed for writing; what comes is not read any more
    REFUSED = 3              # the handshake failed, and the client is told; what comes is dropped
    ENDED = 4


cdef class TLSConnection(Timed):
    cdef Engine engine
    cdef object listener
    cdef object server
    cdef object peer
    cdef object local
    cdef object share
    cdef object transport              # of the socket
    cdef object secure                 # the ssl.SSLObject
    cdef object incoming               # ssl.MemoryBIO: what the client sent
    cdef object outgoing               # … and what it is sent
    cdef object feed                   # their methods, and those of the object below `secure`
    cdef object take
    cdef object decrypt
    cdef object encrypt
    cdef ClientConnection client       # None until the handshake is complete
    cdef object verified               # what `server` knows of the client's certificate; None: it showed none
    cdef public uint64_t accepted_at   # milliseconds; 0: when the transport is given
    cdef int stage
    cdef bint heard                    # a byte has come
    cdef bint broken                   # nothing can be encrypted any more

    cdef int shake_hands(self) except -1
    cdef int established(self) except -1
    cdef int deliver(self, bytes encrypted) except -1
    cdef int encrypt_piece(self, object piece) except -1
    cdef int flush(self) except -1
    cdef int say_goodbye(self) except -1
    cdef int failed(self, str word, str said) except -1
    cdef int refuse(self) except -1
    cdef int answer_plain(self) except -1
    cdef int break_off(self, object error) except -1
