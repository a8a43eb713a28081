from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from fastgate._core.exchange.head cimport Head
from fastgate._core.memory.buffer cimport Buffer, put


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
cdef enum:
    MOST_OWN_LINES = 4

# Lines of the gateway's own behind the fields of an answer: `name: value`, each with CRLF, of names that a head does
# not know. Each is put into the text, and ended with the length of its name.
cdef struct OwnLines:
    Buffer text
    Py_ssize_t begin                   # of the line that is not ended yet
    int count
    uint16_t names[MOST_OWN_LINES]     # bytes of each name
    uint16_t lengths[MOST_OWN_LINES]   # of each line


cdef inline void no_lines(OwnLines* lines) noexcept:
    lines.text.length = lines.begin = 0
    lines.count = 0


cdef inline int end_line(OwnLines* lines, Py_ssize_t name) except -1:
    """The line that was put since the last one is whole; its name has so many bytes."""
    cdef Py_ssize_t length
    put(&lines.text, b"\r\n", 2)
    length = lines.text.length - lines.begin
    if lines.count == MOST_OWN_LINES or length > 65535:
        raise OverflowError("too many lines of the gateway's own, or one that is too long")
    lines.names[lines.count] = <uint16_t>name
    lines.lengths[lines.count] = <uint16_t>length
    lines.begin = lines.text.length
    lines.count += 1
    return 0


cdef bint open_head(Head head, bytes text, const char* index, Py_ssize_t length, const OwnLines* own=*) except -1
cdef int index_lines(Head head, const OwnLines* own) except -1
cdef int extend_head(Head head, const OwnLines* own) except -1
