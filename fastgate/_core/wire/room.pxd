from fastgate._core.exchange.worker cimport Engine


cdef enum:
    YOUNG = 500                        # milliseconds that a connection has to show what it wants


cdef object share_of(Engine engine, object transport, object peer)
cdef bint admitted(Engine engine, object share) except -1
cdef int leave_share(Engine engine, object share) except -1
