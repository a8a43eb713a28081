"""What is stored of a head, how a 304 changes it, and what the cache says of itself in an answer.

Theory of operation
-------------------
`is_stored` says which fields of an answer are stored: all but those of RFC 9111 section 3.1, which the
index of the head has flagged already (Connection and what it names, what is about one hop); what a qualified
``private`` or ``no-cache`` lists; the request id, which is that of another exchange; Age, which is kept as a time;
Content-Length, which the record of the body says; and Set-Cookie, unless the route stores it.

`put_merged` writes the lines of a stored answer after a 304 (section 3.2): each field of the 304 that may be stored
takes the place of all lines of its name. Content-Length never changes, and neither do Content-Encoding and
Content-Range: the body is the stored one. `conditions.same_representation` says whether a 304 may do so at all.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, strlen

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.delivery.cache.directives cimport (
    NO_CACHE_FIELDS,
    NOWHERE,
    PRIVATE_FIELDS,
    Directives,
    excepted,
    read_directives,
)
from fastgate._core.delivery.cache.rules cimport COOKIE_STORE, CacheRules
from fastgate._core.exchange.field_lines cimport next_line
from fastgate._core.exchange.head cimport CONTENT_LENGTH, DROPPED, Field, Head, same, same_text
from fastgate._core.exchange.head_index cimport OwnLines, end_line
from fastgate._core.memory.buffer cimport Buffer, filled, put, put_number, room, write_number

cdef enum:
    MOST_STATUS = 128                  # bytes of Cache-Status without its detail

cdef const char* FORWARD_WORDS[9]
FORWARD_WORDS[:] = [b"", b"bypass", b"method", b"uri-miss", b"vary-miss", b"miss", b"request", b"stale", b"partial"]
cdef Py_ssize_t FORWARD_LENGTHS[9]
FORWARD_LENGTHS[:] = [0, 6, 6, 8, 9, 4, 7, 5, 7]


cdef uint64_t lengths_of_doubt(const Directives* said, bytes request_id) noexcept:
    """The lengths modulo 64, a bit each, of names that `is_stored` has to look at; of others it asks for Content-Length
    and for what was dropped only.
    """
    if said.words & (NO_CACHE_FIELDS | PRIVATE_FIELDS):
        return ~<uint64_t>0
    if request_id is None:
        return 1 << 3 | 1 << 10 | 1 << 11 | 1 << 25
    return 1 << 3 | 1 << 10 | 1 << 11 | 1 << 25 | <uint64_t>1 << (PyBytes_GET_SIZE(request_id) & 63)


cdef bint is_stored(
    CacheRules rules, Head answer, int field, Head source, const Directives* said, bytes request_id
) noexcept:
    """Whether a field of an answer is stored. ``said``: the directives, which the head ``source`` has;
    ``request_id``: a name in lower case, or None.
    """
    cdef Field* one = &answer.fields[field]
    cdef const unsigned char* name = answer.p + one.name
    cdef Py_ssize_t length = one.name_length
    if one.flags & DROPPED or one.id == CONTENT_LENGTH:
        return False
    if length == 3 and same(name, length, b"age", 3):
        return False
    if length == 25 and same(name, length, b"proxy-authentication-info", 25):
        return False
    if (length == 10 or length == 11) and rules.cookies != COOKIE_STORE and (
        same(name, length, b"set-cookie", 10) or same(name, length, b"set-cookie2", 11)
    ):
        return False
    if request_id is not None and length == PyBytes_GET_SIZE(request_id) \
            and same(name, length, PyBytes_AS_STRING(request_id), length):
        return False
    return not said.words & (NO_CACHE_FIELDS | PRIVATE_FIELDS) \
        or not excepted(source, rules.targeted, said, name, length)


cdef int put_field(Buffer* buffer, Head head, int field) except -1:
    """Writes a field as a line."""
    cdef Field* one = &head.fields[field]
    put(buffer, head.p + one.name, one.name_length)
    put(buffer, b": ", 2)
    put(buffer, head.p + one.value, one.value_length)
    return put(buffer, b"\r\n", 2)


cdef bint updates(
    CacheRules rules, Head update, int field, Head source, const Directives* said, bytes request_id
) noexcept:
    """Whether a field of a 304 takes the place of a stored one."""
    cdef const unsigned char* name = update.p + update.fields[field].name
    cdef Py_ssize_t length = update.fields[field].name_length
    if same(name, length, b"content-encoding", 16) or same(name, length, b"content-range", 13):
        return False
    return is_stored(rules, update, field, source, said, request_id)


cdef int put_merged(Buffer* buffer, CacheRules rules, Head stored, Head update, bytes request_id) except -1:
    """Writes the fields of a stored answer as a 304 has changed them, each as a line."""
    cdef Directives said
    cdef Head source = update
    cdef Field* one
    cdef Field* other
    cdef int i, j
    cdef bint replaced
    read_directives(update, rules.targeted, rules.targeted_bits, &said)
    if said.source == NOWHERE:
        source = stored
        read_directives(stored, rules.targeted, rules.targeted_bits, &said)
    for i in range(stored.count):
        one = &stored.fields[i]
        replaced = not is_stored(rules, stored, i, source, &said, request_id)
        for j in range(update.count):
            other = &update.fields[j]
            if replaced:
                break
            replaced = one.name_length == other.name_length \
                and same_text(stored.p + one.name, update.p + other.name, one.name_length) \
                and updates(rules, update, j, source, &said, request_id)
        if not replaced:
            put_field(buffer, stored, i)
    for j in range(update.count):
        if updates(rules, update, j, source, &said, request_id):
            put_field(buffer, update, j)
    return 0


cdef int put_validators(Buffer* buffer, Head stored) except -1:
    """Writes the conditions of a request that validates a stored answer: both, as far as it has them (section 4.3.1).
    1: it has one; 0: it has none, and cannot be validated.
    """
    cdef int tag = next_line(stored, b"etag", 4, 0)
    cdef int modified = next_line(stored, b"last-modified", 13, 0)
    if tag >= 0:
        put(buffer, b"If-None-Match: ", 15)
        put(buffer, stored.p + stored.fields[tag].value, stored.fields[tag].value_length)
        put(buffer, b"\r\n", 2)
    if modified >= 0:
        put(buffer, b"If-Modified-Since: ", 19)
        put(buffer, stored.p + stored.fields[modified].value, stored.fields[modified].value_length)
        put(buffer, b"\r\n", 2)
    return tag >= 0 or modified >= 0


cdef int put_age(OwnLines* lines, int64_t seconds) except -1:
    """Writes Age."""
    put(&lines.text, b"Age: ", 5)
    put_number(&lines.text, seconds if seconds > 0 else 0)
    return end_line(lines, 3)


cdef inline char* written(char* at, const char* text, Py_ssize_t length) noexcept nogil:
    """Where the text ends that is written there."""
    memcpy(at, text, length)
    return at + length


cdef int put_cache_status(OwnLines* lines, const CacheStatus* status) except -1:
    """Writes Cache-Status with the one member of this cache (RFC 9211); it comes behind those of the upstream's."""
    cdef Py_ssize_t detail = strlen(status.detail) if status.detail != NULL else 0
    cdef char* at = room(&lines.text, MOST_STATUS + detail)
    at = written(at, b"Cache-Status: fastgate", 22)
    if status.forwarded == FWD_NOT:
        at = written(at, b"; hit", 5)
    else:
        at = written(
            written(at, b"; fwd=", 6), FORWARD_WORDS[status.forwarded], FORWARD_LENGTHS[status.forwarded]
        )
        if status.forward_status:
            at = write_number(written(at, b"; fwd-status=", 13), status.forward_status)
    if status.parts & SAYS_TTL:
        at = written(at, b"; ttl=", 6)
        if status.ttl < 0:
            at = written(at, b"-", 1)
        at = write_number(at, -status.ttl if status.ttl < 0 else status.ttl)
    if status.parts & SAYS_STORED:
        at = written(at, b"; stored", 8)
    if status.parts & SAYS_COLLAPSED:
        at = written(at, b"; collapsed", 11)
    if detail:
        at = written(written(at, b"; detail=", 9), status.detail, detail)
    filled(&lines.text, at)
    return end_line(lines, 12)
