from fastgate._core.exchange.exchange cimport Debt, Exchange, Gate, Stamp


cdef class Owed(Debt):
    cdef list diary
    cdef str name
    cdef Owed other                    # which it settles too, wrongly; None: none


cdef class Owes(Gate):
    cdef list diary
    cdef tuple names
    cdef bint twice


cdef class Marks(Stamp):
    cdef bytes line


cdef class Waits(Gate):
    cdef list diary
    cdef int limit                     # milliseconds
    cdef Exchange waiting
