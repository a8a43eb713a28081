from fastgate._core.delivery.cache.rules cimport CacheRules
from fastgate._core.exchange.head cimport Head
from fastgate._core.memory.buffer cimport Buffer

cdef enum:
    MOST_NAMES = 16                    # fields that an answer may nominate
    MOST_VALUES = 8192                 # bytes of their values, as they stand in the key
    MOST_CODINGS = 32
    NEVER_THE_SAME = -1                # no other request gets this answer


cdef struct VaryNames:
    int count
    const unsigned char* name[16]      # in order of their lower-case form, each once
    Py_ssize_t length[16]


cdef int read_vary(CacheRules rules, Head answer, VaryNames* names) noexcept
cdef int read_record(const unsigned char* p, Py_ssize_t length, VaryNames* names) noexcept nogil
cdef int join_names(VaryNames* names, const VaryNames* others) noexcept nogil
cdef int put_record(Buffer* buffer, const VaryNames* names) except -1
cdef int put_value(Buffer* buffer, Head request, const unsigned char* name, Py_ssize_t length) except -1
cdef int put_lower(Buffer* buffer, const unsigned char* text, Py_ssize_t length) except -1
