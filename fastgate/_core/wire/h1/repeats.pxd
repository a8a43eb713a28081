from libc.stdint cimport uint32_t, uint64_t

from fastgate._core.exchange.head cimport Head
from fastgate._core.exchange.route cimport Runtime
from fastgate._core.exchange.worker cimport Engine

cdef enum:
    REPEATS = 256                      # heads that a worker knows
    MOST_BYTES = 4096                  # of one, without its target
    MOST_FIELDS = 64


# What a connection knows of the fields of its requests.
cdef struct Expected:
    unsigned short lines               # bytes that the head before had behind its target
    short place                        # of the one that is expected; -1: none is
    uint32_t number                    # that of the head there, as long as no other one is
    unsigned char strange              # heads in a row that were not that one


# A head that was read, without its target.
cdef class Known:
    cdef Head head                     # without bytes; the places of its fields count from the first of the lines
    cdef bytes method                  # with the space behind it
    cdef bytes lines                   # of the fields, with the empty line
    cdef uint32_t number               # which no other one has

    # As `Head.scan` and `Head.index` together: the length of the head; 0: it has to be read.
    cdef Py_ssize_t read(
        self, Head head, const unsigned char* p, Py_ssize_t length, Py_ssize_t max_bytes
    ) except -1


cdef class Repeats:
    cdef list known                    # Known, None: there is none
    cdef uint32_t kept                 # how many there were
    cdef uint64_t secret[2]            # heads are hashed with it: nobody can tell which have one place
    cdef readonly uint64_t matched     # requests that were not read again

    # Which place has it from now on; -1: it is not one that may be known.
    cdef int keep(self, Head head) except -2


# A request whose head begins at ``p``, if it is the one that is expected: see `Known.read`.
cdef Py_ssize_t again(
    Engine engine, Expected* expected, Head head, const unsigned char* p, Py_ssize_t length, Py_ssize_t max_bytes
) except -1
# A head was read that may come again.
cdef int remember(Engine engine, Expected* expected, Head head, Runtime runtime) except -1
