from libc.stdint cimport uint32_t

from fastgate._core.exchange.exchange cimport AnswerEdits, Gate


cdef class Edits:
    cdef readonly tuple removed        # lower-case names
    cdef tuple removed_variables       # the same, as `same_variable` compares
    cdef readonly tuple added          # (name, value) or (name, Template)
    cdef uint32_t own                  # OwnField: those of the gateway's own fields that go, or are replaced
    cdef uint32_t own_of_requests      # the same, of a request
    cdef Edits own_only                # what of them concerns these fields; None = nothing

    cdef bint removes(self, const unsigned char* name, Py_ssize_t length, bint of_request) noexcept


cdef class RequestEdits(Gate):
    """The step that edits the head of a request; the last before the request goes out, so that it sees what is sent."""
    cdef readonly Edits edits


cdef class ResponseEdits(AnswerEdits):
    cdef readonly Edits edits
