"""C declarations of the router: what compiled callers fill in, and what they get back."""

from cpython.pythread cimport PyThread_type_lock

# Finds the next header field of a lower-case name from ``at`` on (0 at first) and moves that behind it: 1 = found, 0 =
# no more.
ctypedef int (*field_lookup)(
    void* context, const char* name, Py_ssize_t length, int* at, const char** value, Py_ssize_t* value_length
) noexcept

cdef enum PathFault:
    """Why `normalize_path` refuses a path."""
    PATH_MALFORMED = -1      # it does not begin with a slash, or has a byte that cannot stand in a path
    PATH_ESCAPE = -2         # a "%" without two hexadecimal digits
    PATH_NUL = -3            # "%00"
    PATH_ABOVE_ROOT = -4
    PATH_HIDES_DOTS = -5     # a segment that others could read as a dot segment


cdef enum:
    MAX_CAPTURES = 32
    MATCH_CAPTURES = 4       # kept inside a Match; more are decoded at once
    CHANGED = 1              # of normalize_path: the form was written
    ADDS_READINGS = 2        # of normalize_path: it has parameters, encoded or double slashes: see readings
    HAS_BACKSLASH = 4        # of normalize_path: it has an encoded backslash, and ADDS_READINGS with it
    ABSENT = 0xFFFFFFFF  # start of a capture whose named group took no part in the match

cdef struct Query:
    const char* method
    Py_ssize_t method_length
    const char* host             # as sent; port, case and a final dot are ignored; NULL = none
    Py_ssize_t host_length
    const char* path             # already normalised, percent-encoded
    Py_ssize_t path_length
    const char* query            # without "?"; may be NULL
    Py_ssize_t query_length
    field_lookup header          # may be NULL: then no header condition holds
    void* header_context

cdef struct Capture:
    unsigned int start           # into the path, still percent-encoded
    unsigned int length

cdef struct Found:
    int captures
    bint method_only             # nothing matched, but a candidate failed by nothing except its method
    Capture capture[MAX_CAPTURES]

cdef struct Index                # the trees; private to router.pyx


cdef class Entry:
    cdef readonly object value
    cdef readonly str name
    cdef readonly tuple params
    cdef readonly str path
    cdef readonly tuple methods
    cdef readonly tuple hosts
    cdef readonly dict headers
    cdef readonly dict query
    cdef readonly int priority
    cdef object fullmatch
    cdef object capture
    cdef bytes prefix

    cdef dict parameters(self, const char* path, Found* found)


cdef class Match:
    cdef readonly Entry route
    cdef str _path
    cdef dict _params
    cdef int _captures
    cdef Capture _capture[MATCH_CAPTURES]


cdef class Router:
    cdef Index* _index
    cdef PyThread_type_lock _lock    # NULL: no regular expression
    cdef unsigned long _owner
    cdef list _entries
    cdef list _kept
    cdef readonly bint merge_slashes

    cdef bint enter(self) noexcept
    cdef void leave(self, bint entered) noexcept
    cdef int insert(self, Entry entry, object pattern, tuple header_items, tuple query_items) except -1
    cdef Entry find(self, Query* query, Found* found)
    cdef set allow(self, Query* query)


cdef int normalize_path(
    const unsigned char* source, Py_ssize_t length, unsigned char* target, bint merge_slashes, Py_ssize_t* out_length
) noexcept
cdef str decode_capture(const char* path, Capture capture)
