cdef enum ItemKind:
    TRUE = 0
    FALSE = 1
    INTEGER = 2
    TOKEN = 3
    STRING = 4
    OTHER_ITEM = 5                     # a decimal, bytes, a date, a display string, an inner list


cdef struct Item:
    const unsigned char* key
    Py_ssize_t key_length
    const unsigned char* value         # of an INTEGER, TOKEN or STRING, that without quotes, with escapes
    Py_ssize_t length
    int kind                           # ItemKind


cdef Py_ssize_t next_listed(const unsigned char* p, Py_ssize_t length, Py_ssize_t i, Item* item) noexcept nogil
cdef Py_ssize_t next_item(const unsigned char* p, Py_ssize_t length, Py_ssize_t i, Item* item) noexcept nogil
