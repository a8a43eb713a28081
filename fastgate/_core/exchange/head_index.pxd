from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from fastgate._core.exchange.head cimport Head


# What a head says, and where, beside its bytes: the fields follow, each in 8 bytes.
cdef struct HeadIndex:
    int64_t content_length             # -1: not given
    uint32_t seen
    uint16_t status
    uint16_t count
    uint16_t length                    # of the head
    uint16_t reason_start
    uint16_t reason_length
    uint8_t major                      # of the protocol that brought it
    uint8_t minor


cdef struct FieldIndex:
    uint16_t name
    uint16_t value_length
    uint8_t name_length
    uint8_t gap                        # from the end of the name to the value
    uint8_t id
    uint8_t flags


cdef bytes index_of(Head head)
cdef bint open_head(Head head, bytes text, const char* index, Py_ssize_t length, Py_ssize_t added=*) except -1
cdef bint index_lines(Head head, Py_ssize_t added) except -1
cdef int extend_head(Head head, const char* lines, Py_ssize_t length) except -1
