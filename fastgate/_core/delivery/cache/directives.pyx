"""What Cache-Control, targeted fields, Pragma and Age say (RFC 9111 section 5, RFC 9213, RFC 5861, RFC 8246).

Theory of operation
-------------------
`next_member` cuts a line of Cache-Control into members: a name, and an argument that is a token, a quoted text, missing
or broken. Commas inside quotes separate nothing. All lines of a field are one list. `apply` turns a member into bits
and seconds:

* A number counts quoted or not. Something else in its place is 0 seconds, which makes an answer stale; more than 2³¹
  is 2³¹. Of several numbers the smallest counts, of ``min-fresh`` the largest: the stricter one.
* ``private`` and ``no-cache`` with a list of field names are about these fields only. A list that is empty or that
  cannot be read is none, and the directive is about the whole answer.
* A word that restricts counts whatever its argument is. A word that allows counts without an argument only, and in a
  member that can be read.
* A quote that is not closed in its line is no quote: what stands behind the next comma counts.

A targeted field is a dictionary of Structured Fields instead (see `structured`): it is read as a whole first, and
counts for nothing where it is empty or has an error. There the last member of a name counts, and an integer is one only
without quotes.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_SIZE

from fastgate._core.delivery.cache.spans cimport blank, end_of_quoted, is_tchar, lower, skip_blank, skip_token
from fastgate._core.delivery.cache.structured cimport FALSE, INTEGER, STRING, TOKEN, TRUE, Item, next_item
from fastgate._core.exchange.field_lines cimport names_in, next_line
from fastgate._core.exchange.head cimport Head, same

cdef enum Argument:
    BARE = 0
    WORD = 1                           # a token
    QUOTED = 2
    BROKEN = 3

cdef enum Directive:
    UNKNOWN = 0
    D_MAX_AGE
    D_S_MAXAGE
    D_MIN_FRESH
    D_MAX_STALE
    D_SWR
    D_SIE
    D_NO_STORE
    D_NO_CACHE
    D_PRIVATE
    D_PUBLIC
    D_MUST_REVALIDATE
    D_PROXY_REVALIDATE
    D_MUST_UNDERSTAND
    D_NO_TRANSFORM
    D_IMMUTABLE
    D_ONLY_IF_CACHED

cdef struct Member:
    const unsigned char* name
    Py_ssize_t name_length
    const unsigned char* value         # without its quotes, with its escapes
    Py_ssize_t length
    int argument                       # Argument


cdef void no_directives(Directives* found) noexcept nogil:
    found.words = 0
    found.max_age = found.s_maxage = found.min_fresh = found.max_stale = found.swr = found.sie = NO_SECONDS
    found.source = NOWHERE
    found.targeted = -1


cdef int directive_of(const unsigned char* p, Py_ssize_t length) noexcept nogil:
    """The directive of this name, in any case."""
    if length == 6 and same(p, length, b"public", 6):
        return D_PUBLIC
    if length == 7:
        if same(p, length, b"max-age", 7):
            return D_MAX_AGE
        if same(p, length, b"private", 7):
            return D_PRIVATE
    elif length == 8:
        if same(p, length, b"no-cache", 8):
            return D_NO_CACHE
        if same(p, length, b"no-store", 8):
            return D_NO_STORE
        if same(p, length, b"s-maxage", 8):
            return D_S_MAXAGE
    elif length == 9:
        if same(p, length, b"min-fresh", 9):
            return D_MIN_FRESH
        if same(p, length, b"max-stale", 9):
            return D_MAX_STALE
        if same(p, length, b"immutable", 9):
            return D_IMMUTABLE
    elif length == 12 and same(p, length, b"no-transform", 12):
        return D_NO_TRANSFORM
    elif length == 14 and same(p, length, b"stale-if-error", 14):
        return D_SIE
    elif length == 14 and same(p, length, b"only-if-cached", 14):
        return D_ONLY_IF_CACHED
    elif length == 15:
        if same(p, length, b"must-revalidate", 15):
            return D_MUST_REVALIDATE
        if same(p, length, b"must-understand", 15):
            return D_MUST_UNDERSTAND
    elif length == 16 and same(p, length, b"proxy-revalidate", 16):
        return D_PROXY_REVALIDATE
    elif length == 22 and same(p, length, b"stale-while-revalidate", 22):
        return D_SWR
    return UNKNOWN


cdef Py_ssize_t next_member(const unsigned char* p, Py_ssize_t length, Py_ssize_t i, Member* member) noexcept nogil:
    """Reads the member at or behind ``i``; where it ends, -1: there is none."""
    cdef Py_ssize_t end
    while i < length and (blank(p[i]) or p[i] == b","):
        i += 1
    if i >= length:
        return -1
    end = skip_token(p, length, i)
    member.name = p + i
    member.name_length = end - i
    member.value = p + end
    member.length = 0
    member.argument = BARE if end > i else BROKEN
    i = end
    if i < length and p[i] == b"=" and member.name_length:
        i += 1
        member.argument = BROKEN
        if i < length and p[i] == b'"':
            end = end_of_quoted(p, length, i)
            if end >= 0:
                member.argument = QUOTED
                member.value = p + i + 1
                member.length = end - i - 1
                i = end + 1
        else:
            end = skip_token(p, length, i)
            if end > i:
                member.argument = WORD
                member.value = p + i
                member.length = end - i
                i = end
    i = skip_blank(p, length, i)
    if i < length and p[i] != b",":
        member.argument = BROKEN
        while i < length and p[i] != b",":
            end = end_of_quoted(p, length, i) if p[i] == b'"' else -1
            i = end + 1 if end >= 0 else i + 1
    return i


cdef inline Py_ssize_t unescaped(const unsigned char* p, Py_ssize_t length, Py_ssize_t i) noexcept nogil:
    """Where the byte stands that a text has at ``i``: behind a backslash the next one."""
    return i + 1 if p[i] == b"\\" and i + 1 < length else i


cdef bint read_number(const unsigned char* p, Py_ssize_t length, bint escapes, uint32_t* seconds) noexcept nogil:
    cdef uint64_t number = 0
    cdef Py_ssize_t i = 0
    if length == 0:
        return False
    while i < length:
        if escapes:
            i = unescaped(p, length, i)
        if p[i] < 48 or p[i] > 57:
            return False
        if number <= MOST_SECONDS:
            number = number * 10 + p[i] - 48
        i += 1
    seconds[0] = <uint32_t>number if number < MOST_SECONDS else MOST_SECONDS
    return True


cdef bint read_seconds(const unsigned char* p, Py_ssize_t length, uint32_t* seconds) noexcept nogil:
    """delta-seconds (RFC 9111 section 1.2.2), at most MOST_SECONDS; False: it is none, and ``seconds`` stays."""
    return read_number(p, length, False, seconds)


cdef bint is_field_list(const unsigned char* p, Py_ssize_t length, bint escapes) noexcept nogil:
    """Whether it is a list of at least one field name (RFC 9110 section 5.6.1)."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t at
    cdef bint any = False
    cdef bint inside = False           # a name
    cdef bint over = False             # white space has ended it
    while i < length:
        at = unescaped(p, length, i) if escapes else i
        if p[at] == b",":
            inside = over = False
        elif blank(p[at]):
            over = inside
        elif not is_tchar(p[at]) or over:
            return False
        else:
            inside = any = True
        i = at + 1
    return any


cdef bint in_field_list(
    const unsigned char* p, Py_ssize_t length, bint escapes, const unsigned char* name, Py_ssize_t name_length
) noexcept nogil:
    """Whether a list that `is_field_list` takes has this name, in any case."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t at
    cdef Py_ssize_t matched = 0        # bytes of the name; -1: this member has another one
    while i < length:
        at = unescaped(p, length, i) if escapes else i
        if p[at] == b",":
            if matched == name_length:
                return True
            matched = 0
        elif not blank(p[at]):
            if 0 <= matched < name_length and lower(p[at]) == lower(name[matched]):
                matched += 1
            else:
                matched = -1
        i = at + 1
    return matched == name_length


cdef inline void least(uint32_t* seconds, uint32_t value) noexcept nogil:
    if value < seconds[0]:
        seconds[0] = value


cdef void apply(int directive, const Member* member, Directives* found) noexcept nogil:
    """What one member says, on top of what was said before."""
    cdef uint32_t seconds = 0
    cdef bint plain = member.argument == BARE
    if directive <= D_SIE:
        if directive == D_MAX_STALE and plain:
            found.words |= ANY_STALE
            return
        if member.argument not in (WORD, QUOTED) or not read_number(
            member.value, member.length, member.argument == QUOTED, &seconds
        ):
            seconds = 0
        if directive == D_MAX_AGE:
            least(&found.max_age, seconds)
        elif directive == D_S_MAXAGE:
            least(&found.s_maxage, seconds)
        elif directive == D_MIN_FRESH:
            if found.min_fresh == NO_SECONDS or seconds > found.min_fresh:
                found.min_fresh = seconds
        elif directive == D_MAX_STALE:
            least(&found.max_stale, seconds)
        elif directive == D_SWR:
            least(&found.swr, seconds)
        else:
            least(&found.sie, seconds)
    elif directive == D_NO_CACHE or directive == D_PRIVATE:
        if member.argument in (WORD, QUOTED) and is_field_list(
            member.value, member.length, member.argument == QUOTED
        ):
            found.words |= NO_CACHE_FIELDS if directive == D_NO_CACHE else PRIVATE_FIELDS
        else:
            found.words |= NO_CACHE if directive == D_NO_CACHE else PRIVATE
    elif directive == D_NO_STORE:
        found.words |= NO_STORE
    elif directive == D_MUST_REVALIDATE:
        found.words |= MUST_REVALIDATE
    elif directive == D_PROXY_REVALIDATE:
        found.words |= PROXY_REVALIDATE
    elif directive == D_NO_TRANSFORM:
        found.words |= NO_TRANSFORM
    elif directive == D_ONLY_IF_CACHED:
        found.words |= ONLY_IF_CACHED
    elif plain and directive == D_PUBLIC:
        found.words |= PUBLIC
    elif plain and directive == D_MUST_UNDERSTAND:
        found.words |= MUST_UNDERSTAND
    elif plain and directive == D_IMMUTABLE:
        found.words |= IMMUTABLE


cdef void forget(int directive, Directives* found) noexcept nogil:
    """Takes back what an earlier member of the same name has said."""
    if directive == D_MAX_AGE:
        found.max_age = NO_SECONDS
    elif directive == D_S_MAXAGE:
        found.s_maxage = NO_SECONDS
    elif directive == D_MIN_FRESH:
        found.min_fresh = NO_SECONDS
    elif directive == D_MAX_STALE:
        found.max_stale = NO_SECONDS
        found.words &= ~<uint32_t>ANY_STALE
    elif directive == D_SWR:
        found.swr = NO_SECONDS
    elif directive == D_SIE:
        found.sie = NO_SECONDS
    elif directive == D_NO_CACHE:
        found.words &= ~<uint32_t>(NO_CACHE | NO_CACHE_FIELDS)
    elif directive == D_PRIVATE:
        found.words &= ~<uint32_t>(PRIVATE | PRIVATE_FIELDS)
    elif directive == D_NO_STORE:
        found.words &= ~<uint32_t>NO_STORE
    elif directive == D_PUBLIC:
        found.words &= ~<uint32_t>PUBLIC
    elif directive == D_MUST_REVALIDATE:
        found.words &= ~<uint32_t>MUST_REVALIDATE
    elif directive == D_PROXY_REVALIDATE:
        found.words &= ~<uint32_t>PROXY_REVALIDATE
    elif directive == D_MUST_UNDERSTAND:
        found.words &= ~<uint32_t>MUST_UNDERSTAND
    elif directive == D_NO_TRANSFORM:
        found.words &= ~<uint32_t>NO_TRANSFORM
    elif directive == D_IMMUTABLE:
        found.words &= ~<uint32_t>IMMUTABLE
    elif directive == D_ONLY_IF_CACHED:
        found.words &= ~<uint32_t>ONLY_IF_CACHED


cdef void read_line(const unsigned char* p, Py_ssize_t length, Directives* found) noexcept nogil:
    """Adds what a line of Cache-Control says."""
    cdef Member member
    cdef Py_ssize_t i = 0
    cdef int directive
    while True:
        i = next_member(p, length, i, &member)
        if i < 0:
            return
        directive = directive_of(member.name, member.name_length)
        if directive != UNKNOWN:
            apply(directive, &member, found)


cdef int member_of(const Item* item, Member* member) noexcept nogil:
    """The directive that a member of a dictionary is, as a member of Cache-Control; UNKNOWN: none.

    RFC 9213 section 2.1: a word is a true, a number an integer, a list of fields a string (or one token). What has
    another type is broken: a number is 0 then, a word that restricts counts.
    """
    member.value = item.value
    member.length = item.length
    member.argument = BARE if item.kind == TRUE else BROKEN
    cdef int directive = directive_of(item.key, item.key_length)
    if directive == D_NO_CACHE or directive == D_PRIVATE:
        if item.kind == STRING:
            member.argument = QUOTED
        elif item.kind == TOKEN:
            member.argument = WORD
    elif item.kind == INTEGER:
        member.argument = WORD
    return directive


cdef bint read_dictionary(const unsigned char* p, Py_ssize_t length, Directives* found) noexcept nogil:
    """Adds what a line of a targeted field says; False: it has an error, and ``found`` is not to be used."""
    cdef Item item
    cdef Member member
    cdef Py_ssize_t i = 0
    cdef int directive
    while i < length:
        i = next_item(p, length, i, &item)
        if i < 0:
            return False
        directive = member_of(&item, &member)
        if directive != UNKNOWN:
            forget(directive, found)
            if item.kind != FALSE:
                apply(directive, &member, found)
    return True


cdef bint read_targeted(Head head, const char* name, Py_ssize_t length, Directives* found) noexcept:
    """Reads a targeted field; False: it is not there, is empty or has an error (RFC 9213 section 2.1).

    The lines are one text with commas between them, in which an empty line makes an empty member: an error, unless
    there is nothing else.
    """
    cdef int i = next_line(head, name, length, 0)
    cdef int empty = 0
    if i < 0:
        return False
    no_directives(found)
    while i >= 0:
        if head.fields[i].value_length == 0:
            empty += 1
        elif not read_dictionary(head.p + head.fields[i].value, head.fields[i].value_length, found):
            return False
        i = next_line(head, name, length, i + 1)
    return empty == 0


cdef enum:
    MOST_KNOWN = 128                   # bytes

# The last line of Cache-Control that an answer had: those of one route mostly have the same.
cdef struct KnownLine:
    Py_ssize_t length
    unsigned char text[MOST_KNOWN]
    Directives said

cdef KnownLine _last
_last.length = -1


cdef void read_first_line(const unsigned char* p, Py_ssize_t length, Directives* found) noexcept:
    """Reads a line of Cache-Control when nothing was said before."""
    if length == _last.length and memcmp(p, _last.text, length) == 0:
        found[0] = _last.said
        return
    no_directives(found)
    found.source = CACHE_CONTROL
    read_line(p, length, found)
    if length <= MOST_KNOWN:
        memcpy(_last.text, p, length)
        _last.length = length
        _last.said = found[0]


cdef void read_directives(Head head, tuple targeted, uint64_t bits, Directives* found) noexcept:
    """What an answer says: the first field of ``targeted`` that can be read, else Cache-Control.

    ``targeted``: names in lower case, as bytes; ``bits`` are theirs (`bits_of`). ``found.source`` is TARGETED where one
    of them counts: Expires counts for nothing then.
    """
    cdef Py_ssize_t i
    cdef int line
    for i in range(PyTuple_GET_SIZE(targeted) if names_in(head) & bits else 0):
        if read_targeted(
            head, PyBytes_AS_STRING(<object>targeted[i]), PyBytes_GET_SIZE(<object>targeted[i]), found
        ):
            found.source = TARGETED
            found.targeted = <int>i
            return
    line = next_line(head, b"cache-control", 13, 0)
    if line < 0:
        no_directives(found)
        return
    read_first_line(head.p + head.fields[line].value, head.fields[line].value_length, found)
    line = next_line(head, b"cache-control", 13, line + 1)
    while line >= 0:
        read_line(head.p + head.fields[line].value, head.fields[line].value_length, found)
        line = next_line(head, b"cache-control", 13, line + 1)


cdef void read_request_directives(Head head, Directives* found) noexcept:
    """What a request says: Cache-Control, and only without it ``Pragma: no-cache`` (RFC 9111 section 5.4)."""
    cdef Directives pragma
    cdef int line = next_line(head, b"cache-control", 13, 0)
    no_directives(found)
    while line >= 0:
        found.source = CACHE_CONTROL
        read_line(head.p + head.fields[line].value, head.fields[line].value_length, found)
        line = next_line(head, b"cache-control", 13, line + 1)
    # A request's no-cache has no fields.
    if found.words & NO_CACHE_FIELDS:
        found.words |= NO_CACHE
    if found.source == CACHE_CONTROL:
        return
    no_directives(&pragma)
    line = next_line(head, b"pragma", 6, 0)
    while line >= 0:
        read_line(head.p + head.fields[line].value, head.fields[line].value_length, &pragma)
        line = next_line(head, b"pragma", 6, line + 1)
    if pragma.words & (NO_CACHE | NO_CACHE_FIELDS):
        found.source = PRAGMA
        found.words = NO_CACHE


cdef bint excepted(
    Head head, tuple targeted, const Directives* found, const unsigned char* name, Py_ssize_t length
) noexcept:
    """Whether a ``private="…"`` or ``no-cache="…"`` of the directives in ``found`` lists this field of the answer."""
    cdef const char* source = b"cache-control"
    cdef Py_ssize_t source_length = 13
    cdef const unsigned char* p
    cdef Py_ssize_t size, i
    cdef Member member
    cdef Item item
    cdef int line, directive
    cdef bint listed
    cdef bint by_private = False
    cdef bint by_no_cache = False
    if not found.words & (NO_CACHE_FIELDS | PRIVATE_FIELDS):
        return False
    if found.source == TARGETED:
        source = PyBytes_AS_STRING(<object>targeted[found.targeted])
        source_length = PyBytes_GET_SIZE(<object>targeted[found.targeted])
    line = next_line(head, source, source_length, 0)
    while line >= 0:
        p = head.p + head.fields[line].value
        size = head.fields[line].value_length
        i = 0
        while i < size:
            if found.source == TARGETED:
                i = next_item(p, size, i, &item)
                if i < 0:
                    break
                directive = member_of(&item, &member)
            else:
                i = next_member(p, size, i, &member)
                if i < 0:
                    break
                directive = directive_of(member.name, member.name_length)
            if directive != D_NO_CACHE and directive != D_PRIVATE:
                continue
            listed = member.argument in (WORD, QUOTED) and is_field_list(
                member.value, member.length, member.argument == QUOTED
            ) and in_field_list(member.value, member.length, member.argument == QUOTED, name, length)
            # Of a dictionary the last member counts, of Cache-Control all of them.
            if directive == D_PRIVATE:
                by_private = listed or (by_private and found.source != TARGETED)
            else:
                by_no_cache = listed or (by_no_cache and found.source != TARGETED)
        line = next_line(head, source, source_length, line + 1)
    return by_private or by_no_cache


cdef bint read_age(Head head, uint32_t* seconds) noexcept:
    """Age (RFC 9111 section 5.1): the first member of the first line; False: it is not there or no number."""
    cdef int line = next_line(head, b"age", 3, 0)
    cdef const unsigned char* p
    cdef Py_ssize_t end = 0
    cdef Py_ssize_t length
    if line < 0:
        return False
    p = head.p + head.fields[line].value
    length = head.fields[line].value_length
    while end < length and p[end] != b",":
        end += 1
    while end > 0 and blank(p[end - 1]):
        end -= 1
    return read_seconds(p, end, seconds)
