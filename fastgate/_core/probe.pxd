from fastgate._core.framing cimport Framing


cdef class Decoder:
    cdef Framing framing
