from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.exchange.head cimport Field, Head
from fastgate._core.exchange.route cimport Runtime
from fastgate._core.exchange.worker cimport Engine

cdef enum:
    REPEATS = 256                      # heads that a worker knows
    MOST_BYTES = 4096                  # of one, without its target
    MOST_FIELDS = 64


# A head without its target: one block of memory has the fields' index, the method with its space, and the lines of the
# fields with the empty line.
cdef struct Known:
    Field* fields                      # places count from the first of the lines; NULL: there is none
    unsigned char* method
    unsigned char* lines
    Py_ssize_t method_length           # with the space
    Py_ssize_t length                  # of the lines
    uint32_t number                    # another one for each head that was kept here
    int count
    int64_t content_length             # 0, or -1: none
    int host
    int connection
    uint32_t seen
    bint keep_alive
    bint has_forwarded
    bint upgrade_named


# What a connection knows of the fields of its requests.
cdef struct Expected:
    unsigned short lines               # bytes that the head before had behind its target
    short place                        # of the one that is expected; -1: none is
    uint32_t number                    # that of the place, as long as nothing else is kept there
    unsigned char strange              # heads in a row that were not that one


cdef class Repeats:
    cdef Known known[REPEATS]
    cdef uint64_t secret[2]            # heads are hashed with it: nobody can tell which have one place
    cdef readonly uint64_t matched     # requests that were not read again

    # Which place has it from now on; -1: it is not one that may be known.
    cdef int keep(self, Head head) except -2
    # As `Head.scan` and `Head.index` together: the length of the head; 0: it has to be read.
    cdef Py_ssize_t read(
        self, int place, Head head, const unsigned char* p, Py_ssize_t length, Py_ssize_t max_bytes
    ) except -1


# A request whose head begins at ``p``, if it is the one that is expected: see `Repeats.read`.
cdef Py_ssize_t again(
    Engine engine, Expected* expected, Head head, const unsigned char* p, Py_ssize_t length, Py_ssize_t max_bytes
) except -1
# A head was read that may come again.
cdef int remember(Engine engine, Expected* expected, Head head, Runtime runtime) except -1
