"""The bytes of a key: what decides which stored answer a request can get.

Theory of operation
-------------------
A key is a row of parts, each a tag of one byte, a length of four bytes (little endian) and a value. What is not there
has its tag only, with the highest bit set. Each part is written in each key of a route, in one order, and the first is
a digest of the route's configuration, which says which parts follow: so the bytes can be read back in one way only,
and two requests that differ in a part have different keys. The whole key is compared, not its hash.

`put_primary` writes what is known before any answer is. The first five parts are those of the request before, mostly:
they are kept as a `KeyStart`, and so is what the hash of a key has of them. `put_secondary` adds the fields that a Vary
record names, each with its name: records that name different fields have different keys.

`put_query` writes the query without the parameters that the route leaves out; the upstream gets this query, not the one
of the client. Names of parameters are compared decoded, since the upstream decodes them too. What stays is not touched,
but sorted by decoded name where the route says so; parameters of one name keep their order. A query of more than
`MOST_PARAMETERS` is not sorted: less is shared then, and nothing is wrong.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_SIZE

from fastgate._core.delivery.cache.rules cimport OF_COOKIE, OF_HEADER, OF_IDENTITY, CacheRules, KeyPart
from fastgate._core.delivery.cache.spans cimport blank, equal_bytes
from fastgate._core.delivery.cache.vary cimport MOST_VALUES, VaryNames, put_lower, put_value
from fastgate._core.exchange.head cimport Head, same_text
from fastgate._core.exchange.request_key cimport find_cookie
from fastgate._core.memory.buffer cimport Buffer, filled, put, room

cdef enum:
    START = 5                          # bytes of tag and length
    ABSENT = 128                       # added to the tag of what is not there

cdef enum Tag:
    T_ROUTE = 1
    T_UPSTREAM = 2
    T_SCHEME = 3
    T_HOST = 4
    T_PORT = 5
    T_PATH = 6
    T_QUERY = 7
    T_PART = 8
    T_IDENTITY = 9
    T_CREDENTIAL = 10
    T_CONTENT_TYPE = 11
    T_BODY = 12
    T_NAME = 13
    T_VALUE = 14


cdef const char* WITHOUT_BODY = b"\x8b\x8c"      # what `put_texts` writes without T_CONTENT_TYPE and T_BODY


cdef inline int set_start(unsigned char* start, int tag, Py_ssize_t length) except -1:
    """The five bytes before a value: its tag and its length."""
    cdef uint32_t size = <uint32_t>length
    if length >= 0xFFFFFFFFLL:
        raise OverflowError("a part of a key is longer than its length can say")
    start[0] = <unsigned char>tag
    start[1] = size & 255
    start[2] = size >> 8 & 255
    start[3] = size >> 16 & 255
    start[4] = size >> 24
    return 0


cdef int put_start(Buffer* buffer, int tag, Py_ssize_t length) except -1:
    cdef unsigned char start[START]
    set_start(start, tag, length)
    return put(buffer, start, START)


cdef inline char* written(char* at, int tag, const Text* text) except NULL:
    """Writes one part; where it ends."""
    if text.length < 0:
        at[0] = <char>(tag | ABSENT)
        return at + 1
    set_start(<unsigned char*>at, tag, text.length)
    memcpy(at + START, text.p, text.length)
    return at + START + text.length


cdef int put_texts(Buffer* buffer, int tag, const Text* texts, int count) except -1:
    """Writes parts one behind the other, whose tags are ``tag`` and those that follow it."""
    cdef Py_ssize_t size = count * START
    cdef char* at
    cdef int i
    for i in range(count):
        size += max(texts[i].length, 0)
    at = room(buffer, size)
    for i in range(count):
        at = written(at, tag + i, &texts[i])
    filled(buffer, at)
    return 0


cdef int set_length(Buffer* buffer, Py_ssize_t begin, int tag, bint there) except -1:
    """Says how long the part is that began at ``begin`` with `put_start` and has grown since, or that it is not there.
    """
    cdef unsigned char start[START]
    if not there:
        buffer.length = begin
        start[0] = <unsigned char>(tag | ABSENT)
        return put(buffer, start, 1)
    set_start(start, tag, buffer.length - begin - START)
    memcpy(buffer.data + begin, start, START)
    return 0


cdef int put_cookie(Buffer* buffer, Head request, bytes name) except -1:
    """Writes the values of the cookie of this name with ";" between them, which none has; 0: there is none.

    Names of cookies have case. All of a name count: which one the upstream takes is its own choice.
    """
    cdef Py_ssize_t length = 0
    cdef int found = 0
    cdef const unsigned char* value = find_cookie(request, name, found, &length)
    while value != NULL:
        while length > 0 and blank(value[length - 1]):
            length -= 1
        if found:
            put(buffer, b";", 1)
        put(buffer, value, length)
        found += 1
        value = find_cookie(request, name, found, &length)
    return found > 0


cdef int put_selecting(
    Buffer* buffer, Head request, list extra, const unsigned char* name, Py_ssize_t length
) except -1:
    """Writes the value of a field as the upstream gets it; 0: it gets none. ``extra``: (name, value) that steps of the
    route have added, None: none.
    """
    cdef bint there = put_value(buffer, request, name, length)
    cdef bytes added, value
    if extra is not None:
        for added, value in extra:
            if PyBytes_GET_SIZE(added) == length \
                    and same_text(<const unsigned char*>PyBytes_AS_STRING(added), name, length):
                put(buffer, b"\n", 1)
                put(buffer, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
                there = True
    return there


cdef bint renew_start(KeyStart* start, const KeyFacts* facts) except -1:
    cdef const Text* text = &facts.route
    cdef Py_ssize_t length, at = START
    cdef int i
    if start.text.length:
        for i in range(START_PARTS):
            length = text[i].length
            if length != start.length[i] or not equal_bytes(text[i].p, start.text.data + start.at[i], length):
                break
        else:
            return False
    start.text.length = 0
    put_texts(&start.text, T_ROUTE, text, START_PARTS)
    for i in range(START_PARTS):
        length = text[i].length
        start.length[i] = length
        start.at[i] = at
        at += START + length if length >= 0 else 1
    return True


cdef int put_primary(
    Buffer* buffer, const KeyStart* start, CacheRules rules, Head request, list extra, const KeyFacts* facts
) except -1:
    """Writes the primary key of a request, whose ``start`` was renewed. ``extra`` as of `put_selecting`."""
    cdef KeyPart part
    cdef Py_ssize_t i, begin
    cdef bint there
    cdef char* at = room(
        buffer, start.text.length + 2 * START + max(facts.path.length, 0) + max(facts.query.length, 0)
    )
    memcpy(at, start.text.data, start.text.length)
    at = written(at + start.text.length, T_PATH, &facts.path)
    filled(buffer, written(at, T_QUERY, &facts.query))
    for i in range(PyTuple_GET_SIZE(rules.key)):
        part = <KeyPart>rules.key[i]
        if part.kind == OF_HEADER or part.kind == OF_COOKIE:
            begin = buffer.length
            put_start(buffer, T_PART, 0)
            if part.kind == OF_HEADER:
                there = put_selecting(
                    buffer, request, extra, <const unsigned char*>PyBytes_AS_STRING(part.name),
                    PyBytes_GET_SIZE(part.name)
                )
            else:
                there = put_cookie(buffer, request, part.name)
            set_length(buffer, begin, T_PART, there)
        elif part.kind != OF_IDENTITY:
            put_texts(buffer, T_PART, &facts.parts[i], 1)
    if rules.identity_in_key:
        put_texts(buffer, T_IDENTITY, &facts.identity, 2)
    if facts.content_type.length < 0 and facts.body.length < 0:
        # Those of nearly all.
        return put(buffer, WITHOUT_BODY, 2)
    return put_texts(buffer, T_CONTENT_TYPE, &facts.content_type, 2)


cdef int put_secondary(Buffer* buffer, Head request, list extra, const VaryNames* names) except -2:
    """Adds the values of the fields that a Vary record names; -1: they are longer than `MOST_VALUES`, and the request
    has no variant.
    """
    cdef Py_ssize_t begin = buffer.length
    cdef Py_ssize_t start
    cdef int i
    for i in range(names.count):
        start = buffer.length
        put_start(buffer, T_NAME, 0)
        put_lower(buffer, names.name[i], names.length[i])
        set_length(buffer, start, T_NAME, True)
        start = buffer.length
        put_start(buffer, T_VALUE, 0)
        set_length(buffer, start, T_VALUE, put_selecting(buffer, request, extra, names.name[i], names.length[i]))
        if buffer.length - begin > MOST_VALUES:
            return -1
    return 0


# -- the query


cdef struct Parameter:
    const unsigned char* p
    Py_ssize_t length
    Py_ssize_t name                    # bytes of it before the "="


cdef inline int hex_of(unsigned char c) noexcept nogil:
    if b"0" <= c <= b"9":
        return c - 48
    c |= 32
    return c - 87 if b"a" <= c <= b"f" else -1


cdef inline int decoded(const unsigned char* p, Py_ssize_t length, Py_ssize_t* at) noexcept nogil:
    """The byte of a form that stands at ``at``, which moves behind it."""
    cdef Py_ssize_t i = at[0]
    at[0] = i + 1
    if p[i] == b"+":
        return b" "
    if p[i] == b"%" and i + 2 < length and hex_of(p[i + 1]) >= 0 and hex_of(p[i + 2]) >= 0:
        at[0] = i + 3
        return hex_of(p[i + 1]) * 16 + hex_of(p[i + 2])
    return p[i]


cdef bint matches(
    const unsigned char* pattern, Py_ssize_t size, const unsigned char* text, Py_ssize_t length
) noexcept nogil:
    """Whether the decoded text is the pattern, in which each ``*`` stands for any bytes."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t star = -1          # behind the last "*", and where its bytes end as far as it is known
    cdef Py_ssize_t resume = 0
    cdef Py_ssize_t after
    while at < length:
        after = at
        if i < size and pattern[i] == b"*":
            i += 1
            star = i
            resume = at
        elif i < size and pattern[i] == decoded(text, length, &after):
            i += 1
            at = after
        elif star >= 0:
            decoded(text, length, &resume)
            at = resume
            i = star
        else:
            return False
    while i < size and pattern[i] == b"*":
        i += 1
    return i == size


cdef bint stays(CacheRules rules, const unsigned char* name, Py_ssize_t length) noexcept:
    cdef Py_ssize_t i
    for i in range(PyTuple_GET_SIZE(rules.patterns)):
        if matches(
            <const unsigned char*>PyBytes_AS_STRING(<object>rules.patterns[i]),
            PyBytes_GET_SIZE(<object>rules.patterns[i]), name, length,
        ):
            return rules.only
    return not rules.only


cdef int order_of_names(const Parameter* one, const Parameter* other) noexcept nogil:
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t j = 0
    cdef int difference
    while i < one.name and j < other.name:
        difference = decoded(one.p, one.name, &i) - decoded(other.p, other.name, &j)
        if difference:
            return difference
    return (i < one.name) - (j < other.name)


cdef int put_query(Buffer* buffer, CacheRules rules, const unsigned char* p, Py_ssize_t length) except -1:
    """Writes a query as it is forwarded and as it stands in the key; 0: nothing is left of it, and there is none.

    ``p`` is what stands behind the "?".
    """
    cdef Parameter parameters[MOST_PARAMETERS]
    cdef Parameter one
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t begin = buffer.length
    cdef int count = 0
    cdef int place
    cdef bint any = False
    cdef bint removed = False
    cdef bint sorts = rules.sort
    if not rules.filters_query and not sorts:
        put(buffer, p, length)
        return 1
    if sorts and parameters_of(p, length) > MOST_PARAMETERS:
        sorts = False
    while at <= length:
        one.p = p + at
        one.length = 0
        while at + one.length < length and one.p[one.length] != b"&":
            one.length += 1
        one.name = 0
        while one.name < one.length and one.p[one.name] != b"=":
            one.name += 1
        at += one.length + 1
        if rules.filters_query and not stays(rules, one.p, one.name):
            removed = True
            continue
        if not sorts:
            if any:
                put(buffer, b"&", 1)
            put(buffer, one.p, one.length)
            any = True
            continue
        place = count
        while place > 0 and order_of_names(&one, &parameters[place - 1]) < 0:
            parameters[place] = parameters[place - 1]
            place -= 1
        parameters[place] = one
        count += 1
    for place in range(count):
        if any:
            put(buffer, b"&", 1)
        put(buffer, parameters[place].p, parameters[place].length)
        any = True
    if buffer.length == begin and removed:
        return 0
    return 1


cdef Py_ssize_t parameters_of(const unsigned char* p, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t count = 1
    cdef Py_ssize_t i
    for i in range(length):
        if p[i] == b"&":
            count += 1
    return count
