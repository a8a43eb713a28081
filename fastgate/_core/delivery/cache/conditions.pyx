"""Conditions and ranges of a request, evaluated against a stored answer (RFC 9110 sections 13 and 14, RFC 9111 section
4.3).

Theory of operation
-------------------
`wishes` says by names alone whether there is anything to evaluate; most requests stop there. `select` goes through it
in the order of RFC 9110 section 13.2.2: If-None-Match, else If-Modified-Since, then Range with If-Range. Only a stored
200 is evaluated, for GET, HEAD and QUERY; of a HEAD no part is cut. If-Match and If-Unmodified-Since are for the
origin: a cache never answers 412.

What cannot be read is ignored, in the direction of the whole: a list of entity tags counts up to where it breaks, a
Range that is none gets the whole, an If-Range that is none matches nothing.

One range is answered. Several get the whole, which section 14.2 allows.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcmp

from fastgate._core.delivery.cache.dates cimport read_date
from fastgate._core.delivery.cache.spans cimport blank, exactly, skip_blank
from fastgate._core.exchange.field_lines cimport next_line
from fastgate._core.exchange.head cimport Field, Head, same


cdef inline bint has(Head head, const char* name, Py_ssize_t length) noexcept:
    return next_line(head, name, length, 0) >= 0


cdef inline int only_line(Head head, const char* name, Py_ssize_t length) noexcept:
    """The one field of this name; -1: there is none, or there are several."""
    cdef int line = next_line(head, name, length, 0)
    return line if line >= 0 and next_line(head, name, length, line + 1) < 0 else -1


cdef bint evaluates(Head request) noexcept:
    """Whether the method is one of which a cache may evaluate conditions."""
    cdef const unsigned char* method = request.p + request.method.start
    cdef Py_ssize_t length = request.method.length
    return exactly(method, length, b"GET", 3) or exactly(method, length, b"HEAD", 4) \
        or exactly(method, length, b"QUERY", 5)


cdef int wishes(Head request) noexcept:
    """`Wish`. Conditions of a method that is not GET, HEAD or QUERY are for the origin."""
    cdef int found = 0
    cdef int i
    cdef const unsigned char* name
    cdef Py_ssize_t length
    for i in range(request.count):
        length = request.fields[i].name_length
        name = request.p + request.fields[i].name
        if length < 5 or (name[0] | 32 != b"i" and name[0] | 32 != b"r"):
            continue
        if same(name, length, b"if-none-match", 13) or same(name, length, b"if-modified-since", 17):
            found |= HAS_CONDITION
        elif same(name, length, b"if-match", 8) or same(name, length, b"if-unmodified-since", 19):
            found |= HAS_ORIGIN_CONDITION
        elif same(name, length, b"range", 5):
            found |= HAS_RANGE
    if found & HAS_CONDITION and not evaluates(request):
        found |= HAS_ORIGIN_CONDITION
    return found


# -- entity tags


cdef Py_ssize_t next_tag(const unsigned char* p, Py_ssize_t length, Py_ssize_t i, EntityTag* tag) noexcept nogil:
    """Reads the entity tag at ``i`` (RFC 9110 section 8.8.3); where it ends, -1: it is none."""
    tag.weak = i + 1 < length and p[i] == b"W" and p[i + 1] == b"/"
    if tag.weak:
        i += 2
    if i >= length or p[i] != b'"':
        return -1
    i += 1
    tag.p = p + i
    while i < length and p[i] != b'"':
        if p[i] < 0x21 or p[i] == 0x7F:
            return -1
        i += 1
    if i >= length:
        return -1
    tag.length = p + i - tag.p
    return i + 1


cdef bint read_entity_tag(Head head, EntityTag* tag) noexcept:
    """The ETag of a message; False: there is none, there are several, or it is none."""
    cdef int line = only_line(head, b"etag", 4)
    if line < 0:
        return False
    return next_tag(
        head.p + head.fields[line].value, head.fields[line].value_length, 0, tag
    ) == <Py_ssize_t>head.fields[line].value_length


cdef bint same_tag(const EntityTag* one, const EntityTag* other, bint strong) noexcept nogil:
    """The strong and the weak comparison of RFC 9110 section 8.8.3.2."""
    if strong and (one.weak or other.weak):
        return False
    return one.length == other.length and memcmp(one.p, other.p, one.length) == 0


cdef bint none_match(Head request, Head stored) noexcept:
    """Whether no tag of If-None-Match is that of the stored answer."""
    cdef EntityTag own, tag
    cdef bint has_own = read_entity_tag(stored, &own)
    cdef const unsigned char* p
    cdef Py_ssize_t length, i
    cdef int line = next_line(request, b"if-none-match", 13, 0)
    if only_line(request, b"if-none-match", 13) >= 0 and exactly(
        request.p + request.fields[line].value, request.fields[line].value_length, b"*", 1
    ):
        return False
    while line >= 0 and has_own:
        p = request.p + request.fields[line].value
        length = request.fields[line].value_length
        i = 0
        while True:
            while i < length and (blank(p[i]) or p[i] == b","):
                i += 1
            if i >= length:
                break
            i = next_tag(p, length, i, &tag)
            if i < 0:
                break
            i = skip_blank(p, length, i)
            if i < length and p[i] != b",":
                break
            if same_tag(&own, &tag, False):
                return False
        line = next_line(request, b"if-none-match", 13, line + 1)
    return True


# -- dates


cdef bint date_in(Head head, const char* name, Py_ssize_t length, int64_t now, int64_t* seconds) noexcept:
    """The date in the one line of this name; False: there is none, there are several, or it is none."""
    cdef int line = only_line(head, name, length)
    return line >= 0 and read_date(head.p + head.fields[line].value, head.fields[line].value_length, now, seconds)


cdef bint modified_since(Head request, Head stored, int64_t received, int64_t now) noexcept:
    """If-Modified-Since against Last-Modified, else Date, else when it was received; True where it cannot be read."""
    cdef int64_t since = 0
    cdef int64_t modified = received
    if not date_in(request, b"if-modified-since", 17, now, &since):
        return True
    if not date_in(stored, b"last-modified", 13, now, &modified):
        date_in(stored, b"date", 4, now, &modified)
    return modified > since


# -- ranges


cdef bint range_holds(Head request, Head stored, int64_t now) noexcept:
    """If-Range (RFC 9110 section 13.1.5): whether a part of this answer is what the client means."""
    cdef int line = next_line(request, b"if-range", 8, 0)
    cdef int own
    cdef const unsigned char* p
    cdef Py_ssize_t length
    cdef EntityTag tag, stored_tag
    cdef int64_t modified = 0
    cdef int64_t date = 0
    if line < 0:
        return True
    if only_line(request, b"if-range", 8) < 0:
        return False
    p = request.p + request.fields[line].value
    length = request.fields[line].value_length
    if next_tag(p, length, 0, &tag) == length:
        return read_entity_tag(stored, &stored_tag) and same_tag(&tag, &stored_tag, True)
    # A date has to be the very text, and strong: Date is later by a second at least (section 8.8.2.2).
    own = only_line(stored, b"last-modified", 13)
    if own < 0 or <Py_ssize_t>stored.fields[own].value_length != length \
            or memcmp(stored.p + stored.fields[own].value, p, length) != 0:
        return False
    return read_date(p, length, now, &modified) and date_in(stored, b"date", 4, now, &date) and date > modified


cdef Py_ssize_t read_position(const unsigned char* p, Py_ssize_t length, Py_ssize_t i, int64_t* number) noexcept nogil:
    """Digits at ``i``; where they end. What is larger than any body is one number."""
    number[0] = 0
    while i < length and 48 <= p[i] <= 57:
        if number[0] < 100000000000000000LL:  # so that the next digit fits
            number[0] = number[0] * 10 + p[i] - 48
        i += 1
    return i


cdef int read_range(const unsigned char* p, Py_ssize_t length, int64_t size, Selection* selection) noexcept nogil:
    """A Range field of a body of ``size`` bytes: THE_WHOLE where it cannot be read or has several ranges."""
    cdef Py_ssize_t i = 6
    cdef Py_ssize_t start
    cdef int64_t first = -1
    cdef int64_t last = -1
    cdef int64_t number = 0
    cdef int64_t one_first = -1
    cdef int64_t one_last = -1
    cdef int count = 0
    if length < 6 or not same(p, 5, b"bytes", 5) or p[5] != b"=" or (length > 6 and blank(p[6])):
        return THE_WHOLE
    while True:
        while i < length and (blank(p[i]) or p[i] == b","):
            i += 1
        if i >= length:
            break
        first = last = -1
        start = i
        i = read_position(p, length, i, &number)
        if i > start:
            first = number
        if i >= length or p[i] != b"-":
            return THE_WHOLE
        start = i + 1
        i = read_position(p, length, start, &number)
        if i > start:
            last = number
        i = skip_blank(p, length, i)
        if (i < length and p[i] != b",") or (first < 0 and last < 0) or (0 <= last < first):
            return THE_WHOLE
        one_first = first
        one_last = last
        count += 1
    if count != 1:
        return THE_WHOLE
    if one_first < 0:                  # the last bytes
        if one_last == 0:
            return NOT_SATISFIABLE
        if size == 0:
            return THE_WHOLE
        selection.first = size - one_last if one_last < size else 0
        selection.last = size - 1
        return A_PART
    if one_first >= size:
        return NOT_SATISFIABLE
    selection.first = one_first
    selection.last = one_last if 0 <= one_last < size else size - 1
    return A_PART


cdef void select(
    Head request, Head stored, int64_t length, int64_t received, int64_t now, Selection* selection
) noexcept:
    """What a client gets of a stored answer whose body has ``length`` bytes.

    ``received``: when the answer came, in seconds since 1970, as ``now``.
    """
    cdef int found = wishes(request)
    cdef int line
    selection.answered = THE_WHOLE
    selection.first = 0
    selection.last = length - 1
    if found == 0:
        return
    if found & HAS_ORIGIN_CONDITION:
        selection.answered = NOT_HERE
        return
    if stored.status != 200:
        return
    if found & HAS_CONDITION:
        if has(request, b"if-none-match", 13):
            if not none_match(request, stored):
                selection.answered = NOT_MODIFIED
                return
        elif not modified_since(request, stored, received, now):
            selection.answered = NOT_MODIFIED
            return
    if found & HAS_RANGE and exactly(request.p + request.method.start, request.method.length, b"GET", 3):
        line = only_line(request, b"range", 5)
        if line >= 0 and range_holds(request, stored, now):
            selection.answered = read_range(
                request.p + request.fields[line].value, request.fields[line].value_length, length, selection
            )


cdef bint in_not_modified(Head stored, int field) noexcept:
    """Whether a field of a stored answer belongs in a 304 (RFC 9110 section 15.4.5).

    Beside what has to be there these are fields that guide other caches: targeted ones, and Last-Modified where there
    is no ETag.
    """
    cdef Field* one = &stored.fields[field]
    cdef const unsigned char* name = stored.p + one.name
    cdef Py_ssize_t length = one.name_length
    if length >= 13 and same(name + length - 13, 13, b"cache-control", 13):
        return length == 13 or name[length - 14] == b"-"
    if same(name, length, b"last-modified", 13):
        return not has(stored, b"etag", 4)
    return same(name, length, b"date", 4) or same(name, length, b"etag", 4) or same(name, length, b"vary", 4) \
        or same(name, length, b"expires", 7) or same(name, length, b"content-location", 16)


cdef bint same_lines(Head one, Head other, const char* name, Py_ssize_t length) noexcept:
    """Whether both have the one same value in the field of this name."""
    cdef int i = only_line(one, name, length)
    cdef int j = only_line(other, name, length)
    return i >= 0 and j >= 0 and one.fields[i].value_length == other.fields[j].value_length and memcmp(
        one.p + one.fields[i].value, other.p + other.fields[j].value, one.fields[i].value_length
    ) == 0


cdef bint same_representation(Head stored, Head update) noexcept:
    """Whether a 304 is about the stored answer that was to be validated (RFC 9111 section 4.3.4).

    A strong entity tag has to be the same; a weak one, and a Last-Modified where there is no tag, has to correspond. A
    304 without any validator is about the one answer whose validators were sent.
    """
    cdef EntityTag own, tag
    if read_entity_tag(update, &tag):
        return read_entity_tag(stored, &own) and same_tag(&own, &tag, not tag.weak)
    if only_line(update, b"last-modified", 13) < 0:
        return True
    return same_lines(stored, update, b"last-modified", 13)


cdef bint agrees(Head stored, Head answer, int64_t length) noexcept:
    """Whether the answer to a HEAD is about the stored answer, whose body has ``length`` bytes, and may update it (RFC
    9111 section 4.3.5); else that is stale from now on.

    What the HEAD does not say does not matter: each validator and the length that it has must be the same.
    """
    if has(answer, b"etag", 4) and not same_lines(stored, answer, b"etag", 4):
        return False
    if has(answer, b"last-modified", 13) and not same_lines(stored, answer, b"last-modified", 13):
        return False
    return answer.content_length < 0 or answer.content_length == length
