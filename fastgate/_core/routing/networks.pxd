from libc.stdint cimport uint64_t


cdef enum:
    NOWHERE = -1                       # the address is in none of the networks


cdef struct Node:
    uint64_t high                      # the prefix, its first bit on the left; zero beyond its length
    uint64_t low
    int length                         # of the prefix, in bits
    int mark                           # of the network with this prefix; NOWHERE: only a fork
    int child[2]                       # by the bit after the prefix; 0 = none


cdef bytes normal_address(bytes text)


cdef class Networks:
    """Networks of both families, each with a mark; immutable once made."""
    cdef Node* nodes                   # the first two are the roots: of IPv4 and of IPv6
    cdef int count
    cdef int capacity

    cdef int find(self, const char* address) noexcept
    cdef int add(self, str network, int mark) except -1
    cdef int new_node(self, uint64_t high, uint64_t low, int length, int mark) except -1
