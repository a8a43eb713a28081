"""Vary: which fields of a request select an answer, and the form in which their values are compared (RFC 9111 section
4.1).

Theory of operation
-------------------
`read_vary` collects the names that an answer's Vary lines and the route's own list nominate: in lower case, sorted,
each once. ``*``, a member that is not a name, and more than `MOST_NAMES` are the same: the answer fits no other
request. Names are spans of the head or of the rules. Written with commas between them they are the record that the
store keeps under the primary key; `read_record` reads it back.

`put_value` writes the value of one field as it stands in the secondary key. Two values may become one only where the
field means the same with both, as its own specification has it:

* all fields: lines are joined, white space around commas outside quotes goes;
* Accept-Encoding: what is left is the set of codings that are accepted. Weights go, and with them what has weight 0;
  ``*`` takes the place of all that it covers; a coding that is refused all the same is kept behind a slash, which no
  name of a coding has. ``identity`` is accepted unless it is refused. A value that cannot be read stays what it is;
* Accept-Language, Content-Language: without case. The order stays: applications take the first;
* Cookie, Authorization: no list, so nothing goes. Lines are kept apart.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_SIZE

from fastgate._core.delivery.cache.rules cimport CacheRules, has_name
from fastgate._core.delivery.cache.spans cimport blank, lower, skip_blank, skip_token
from fastgate._core.exchange.field_lines cimport next_line
from fastgate._core.exchange.head cimport DROPPED, Head, same, same_text
from fastgate._core.memory.buffer cimport Buffer, filled, put, room

cdef enum Form:
    LIST = 0
    CODINGS = 1
    LANGUAGES = 2
    EXACT = 3

cdef struct Coding:
    const unsigned char* name
    Py_ssize_t length
    bint accepted


cdef int order_of(
    const unsigned char* one, Py_ssize_t one_length, const unsigned char* other, Py_ssize_t other_length
) noexcept nogil:
    """Below 0, 0 or above: how two texts lie in lower case."""
    cdef Py_ssize_t i
    cdef int difference
    for i in range(one_length if one_length < other_length else other_length):
        difference = <int>lower(one[i]) - <int>lower(other[i])
        if difference:
            return difference
    return (one_length > other_length) - (one_length < other_length)


cdef int add_name(VaryNames* names, const unsigned char* name, Py_ssize_t length) noexcept nogil:
    """0: it is among them; NEVER_THE_SAME: they are too many."""
    cdef int place = 0
    cdef int order = 1
    cdef int i
    while place < names.count:
        order = order_of(name, length, names.name[place], names.length[place])
        if order <= 0:
            break
        place += 1
    if order == 0:
        return 0
    if names.count >= MOST_NAMES:
        return NEVER_THE_SAME
    i = names.count
    while i > place:
        names.name[i] = names.name[i - 1]
        names.length[i] = names.length[i - 1]
        i -= 1
    names.name[place] = name
    names.length[place] = length
    names.count += 1
    return 0


cdef int read_vary(CacheRules rules, Head answer, VaryNames* names) noexcept:
    """The fields that select this answer; how many, or NEVER_THE_SAME."""
    cdef const unsigned char* p
    cdef Py_ssize_t length, at, end, i
    cdef int line = next_line(answer, b"vary", 4, 0)
    names.count = 0
    for i in range(PyTuple_GET_SIZE(rules.vary)):
        if add_name(
            names, <const unsigned char*>PyBytes_AS_STRING(<object>rules.vary[i]),
            PyBytes_GET_SIZE(<object>rules.vary[i])
        ) < 0:
            return NEVER_THE_SAME
    while line >= 0:
        p = answer.p + answer.fields[line].value
        length = answer.fields[line].value_length
        at = 0
        while True:
            while at < length and (blank(p[at]) or p[at] == b","):
                at += 1
            if at >= length:
                break
            end = skip_token(p, length, at)
            if end == at or (end == at + 1 and p[at] == b"*"):
                return NEVER_THE_SAME
            if not has_name(rules.vary_except, p + at, end - at) and add_name(names, p + at, end - at) < 0:
                return NEVER_THE_SAME
            at = skip_blank(p, length, end)
            if at < length and p[at] != b",":
                return NEVER_THE_SAME
        line = next_line(answer, b"vary", 4, line + 1)
    return names.count


cdef int read_record(const unsigned char* p, Py_ssize_t length, VaryNames* names) noexcept nogil:
    """The names of a record that `put_record` has written; how many, or NEVER_THE_SAME: it is none."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end
    names.count = 0
    if length == 0:
        return 0
    while True:
        end = skip_token(p, length, at)
        if end == at or (end < length and p[end] != b",") or names.count >= MOST_NAMES:
            return NEVER_THE_SAME
        if names.count and order_of(names.name[names.count - 1], names.length[names.count - 1], p + at, end - at) >= 0:
            return NEVER_THE_SAME
        names.name[names.count] = p + at
        names.length[names.count] = end - at
        names.count += 1
        if end == length:
            return names.count
        at = end + 1


cdef int join_names(VaryNames* names, const VaryNames* others) noexcept nogil:
    """Adds the names of another answer of the same URL; how many there are then, or NEVER_THE_SAME."""
    cdef int i
    for i in range(others.count):
        if add_name(names, others.name[i], others.length[i]) < 0:
            return NEVER_THE_SAME
    return names.count


cdef int put_lower(Buffer* buffer, const unsigned char* text, Py_ssize_t length) except -1:
    cdef char* at = room(buffer, length)
    cdef Py_ssize_t i
    for i in range(length):
        at[i] = <char>lower(text[i])
    filled(buffer, at + length)
    return 0


cdef int put_record(Buffer* buffer, const VaryNames* names) except -1:
    """Writes the names in lower case, with commas between them."""
    cdef int i
    for i in range(names.count):
        if i:
            put(buffer, b",", 1)
        put_lower(buffer, names.name[i], names.length[i])
    return 0


# -- values


cdef int line_of_request(Head request, const unsigned char* name, Py_ssize_t length, int start) noexcept nogil:
    """The next field of this name that the upstream gets; -1: none."""
    cdef int i
    for i in range(start, request.count):
        if request.fields[i].name_length == length and not request.fields[i].flags & DROPPED \
                and same_text(request.p + request.fields[i].name, name, length):
            return i
    return -1


cdef int form_of(const unsigned char* name, Py_ssize_t length) noexcept nogil:
    if same(name, length, b"accept-encoding", 15):
        return CODINGS
    if same(name, length, b"accept-language", 15) or same(name, length, b"content-language", 16):
        return LANGUAGES
    if same(name, length, b"cookie", 6) or same(name, length, b"authorization", 13):
        return EXACT
    return LIST


cdef Py_ssize_t put_line(
    Buffer* buffer, const unsigned char* p, Py_ssize_t length, bint folds, bint* quoted
) except -1:
    """Writes a line of a list without white space around commas outside quotes. ``quoted`` goes on in the next line."""
    cdef char* begin = room(buffer, length)
    cdef char* at = begin
    cdef Py_ssize_t i = 0
    while i < length:
        if quoted[0]:
            if p[i] == b"\\" and i + 1 < length:
                at[0] = <char>p[i]
                at += 1
                i += 1
            elif p[i] == b'"':
                quoted[0] = False
        elif p[i] == b'"':
            quoted[0] = True
        elif p[i] == b",":
            while at > begin and blank(<unsigned char>(at - 1)[0]):
                at -= 1
            at[0] = b","
            at += 1
            i = skip_blank(p, length, i + 1)
            continue
        at[0] = <char>(lower(p[i]) if folds and not quoted[0] else p[i])
        at += 1
        i += 1
    filled(buffer, at)
    return at - begin


cdef int weight_of(const unsigned char* p, Py_ssize_t length) noexcept nogil:
    """Whether a qvalue (RFC 9110 section 12.4.2) is above 0; -1: it is none."""
    cdef Py_ssize_t i
    cdef bint above
    if length == 0 or length > 5 or (p[0] != b"0" and p[0] != b"1") or (length > 1 and p[1] != b"."):
        return -1
    above = p[0] == b"1"
    for i in range(2, length):
        if p[i] < 48 or p[i] > 57 or (p[0] == b"1" and p[i] != b"0"):
            return -1
        if p[i] != b"0":
            above = True
    return above


cdef int add_coding(
    Coding* codings, int count, const unsigned char* name, Py_ssize_t length, bint accepted
) noexcept nogil:
    """How many there are then; -1: it is there with the other meaning, or they are too many."""
    cdef int place = 0
    cdef int order = 1
    cdef int i
    # RFC 9110 section 8.4.1
    if same(name, length, b"x-gzip", 6) or same(name, length, b"x-compress", 10):
        name += 2
        length -= 2
    while place < count:
        order = order_of(name, length, codings[place].name, codings[place].length)
        if order <= 0:
            break
        place += 1
    if order == 0:
        return count if codings[place].accepted == accepted else -1
    if count >= MOST_CODINGS:
        return -1
    i = count
    while i > place:
        codings[i] = codings[i - 1]
        i -= 1
    codings[place].name = name
    codings[place].length = length
    codings[place].accepted = accepted
    return count + 1


cdef int read_codings(const unsigned char* p, Py_ssize_t length, Coding* codings, int count) noexcept nogil:
    """Adds the codings of one line of Accept-Encoding, in order of their names; -1: it cannot be read."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t start, end
    cdef int accepted
    while True:
        while i < length and (blank(p[i]) or p[i] == b","):
            i += 1
        if i >= length:
            return count
        start = i
        i = end = skip_token(p, length, i)
        if end == start:
            return -1
        accepted = True
        i = skip_blank(p, length, i)
        if i < length and p[i] == b";":
            i = skip_blank(p, length, i + 1)
            if i + 1 >= length or lower(p[i]) != b"q" or p[i + 1] != b"=":
                return -1
            i += 2
            accepted = weight_of(p + i, skip_token(p, length, i) - i)
            if accepted < 0:
                return -1
            i = skip_blank(p, length, skip_token(p, length, i))
        if i < length and p[i] != b",":
            return -1
        count = add_coding(codings, count, p + start, end - start, accepted)
        if count < 0:
            return -1


cdef int put_codings(Buffer* buffer, const Coding* codings, int count) except -1:
    """Writes the set that codings in order are."""
    cdef int i
    cdef bint others = False           # what is not named is accepted
    cdef bint plain = True             # no coding at all is
    # "*" comes before identity, which outweighs it.
    for i in range(count):
        if codings[i].length == 1 and codings[i].name[0] == b"*":
            others = codings[i].accepted
            plain = others
        elif same(codings[i].name, codings[i].length, b"identity", 8):
            plain = codings[i].accepted
    put(buffer, b"\x01", 1)
    if others:
        put(buffer, b"*", 1)
    for i in range(count):
        if same(codings[i].name, codings[i].length, b"identity", 8) \
                or (codings[i].length == 1 and codings[i].name[0] == b"*") or codings[i].accepted == others:
            continue
        put(buffer, b",/" if others else b",", 2 if others else 1)
        put_lower(buffer, codings[i].name, codings[i].length)
    return 0 if plain else put(buffer, b",/identity", 10)


cdef int put_value(Buffer* buffer, Head request, const unsigned char* name, Py_ssize_t length) except -1:
    """Writes the value of a request field as it is compared; 0: the request does not have the field.

    Lines that the upstream does not get do not count.
    """
    cdef Coding codings[MOST_CODINGS]
    cdef int form = form_of(name, length)
    cdef int first = line_of_request(request, name, length, 0)
    cdef int line = first
    cdef int count = 0
    cdef bint quoted = False
    cdef bint folds = form == LANGUAGES
    if first < 0:
        return 0
    if form == CODINGS:
        while line >= 0 and count >= 0:
            count = read_codings(
                request.p + request.fields[line].value, request.fields[line].value_length, codings, count
            )
            line = line_of_request(request, name, length, line + 1)
        if count >= 0:
            put_codings(buffer, codings, count)
            return 1
        put(buffer, b"\x02", 1)
    line = first
    while line >= 0:
        if form == EXACT:
            if line != first:
                put(buffer, b"\n", 1)
            put(buffer, request.p + request.fields[line].value, request.fields[line].value_length)
        else:
            if line != first:
                put(buffer, b",", 1)
            put_line(
                buffer, request.p + request.fields[line].value, request.fields[line].value_length, folds, &quoted
            )
        line = line_of_request(request, name, length, line + 1)
    return 1
