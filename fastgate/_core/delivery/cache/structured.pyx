"""Dictionaries and lists of Structured Fields (RFC 9651, which replaces RFC 8941), member by member.

Theory of operation
-------------------
`next_item` reads one ``key``, ``key=item`` or ``key=(inner list)`` with its parameters and says where the next begins;
`next_listed` does the same in a list. A field with an error anywhere is an error as a whole (section 4.2), so a caller
goes through all members before it believes the first. Only what a cache directive can be is told apart: true, false, an
integer, a token, a string; decimals, bytes, dates, display strings and inner lists are checked and called OTHER_ITEM.
Parameters are checked and skipped.

A string that continues in the next line of the field is an error: section 4.2 leaves that open.
"""

from fastgate._core.delivery.cache.spans cimport is_tchar, skip_blank


cdef inline bint digit(unsigned char c) noexcept nogil:
    return b"0" <= c <= b"9"


cdef inline bint lower_letter(unsigned char c) noexcept nogil:
    return b"a" <= c <= b"z"


cdef inline bint letter(unsigned char c) noexcept nogil:
    return b"a" <= c <= b"z" or b"A" <= c <= b"Z"


cdef Py_ssize_t end_of_key(const unsigned char* p, Py_ssize_t length, Py_ssize_t i) noexcept nogil:
    """Section 4.2.3.3; -1: there is none."""
    if i >= length or not (lower_letter(p[i]) or p[i] == b"*"):
        return -1
    while i < length and (lower_letter(p[i]) or digit(p[i]) or p[i] in (b"_", b"-", b".", b"*")):
        i += 1
    return i


cdef Py_ssize_t end_of_number(const unsigned char* p, Py_ssize_t length, Py_ssize_t i, Item* item) noexcept nogil:
    """Section 4.2.4: at most 15 digits, of a decimal 12 before the point and 1 to 3 behind it."""
    cdef Py_ssize_t start = i
    cdef Py_ssize_t begin
    if p[i] == b"-":
        i += 1
    begin = i
    while i < length and digit(p[i]) and i - begin < 16:
        i += 1
    if i == begin or i - begin > 15:
        return -1
    item.kind = INTEGER
    if i < length and p[i] == b".":
        if i - begin > 12:
            return -1
        item.kind = OTHER_ITEM
        i += 1
        begin = i
        while i < length and digit(p[i]) and i - begin < 4:
            i += 1
        if i == begin or i - begin > 3:
            return -1
    item.value = p + start
    item.length = i - start
    return i


cdef Py_ssize_t end_of_string(const unsigned char* p, Py_ssize_t length, Py_ssize_t i, Item* item) noexcept nogil:
    """Section 4.2.5."""
    item.kind = STRING
    i += 1
    item.value = p + i
    while i < length:
        if p[i] == b'"':
            item.length = p + i - item.value
            return i + 1
        if p[i] == b"\\":
            i += 1
            if i >= length or (p[i] != b'"' and p[i] != b"\\"):
                return -1
        elif p[i] < 0x20 or p[i] > 0x7E:
            return -1
        i += 1
    return -1


cdef int hex_of(unsigned char c) noexcept nogil:
    if digit(c):
        return c - 48
    return c - 87 if b"a" <= c <= b"f" else -1


cdef Py_ssize_t end_of_display(const unsigned char* p, Py_ssize_t length, Py_ssize_t i) noexcept nogil:
    """Section 4.2.10 of RFC 9651: ``%"…"`` with escapes that make valid UTF-8."""
    cdef int byte
    cdef int more = 0                  # bytes that are still to come of a character
    cdef int least = 0x80              # what the next of them may be
    cdef int most = 0xBF
    if i + 1 >= length or p[i + 1] != b'"':
        return -1
    i += 2
    while i < length:
        byte = p[i]
        if byte < 0x20 or byte > 0x7E:
            return -1
        if byte == b'"':
            return i + 1 if more == 0 else -1
        if byte == b"%":
            if i + 2 >= length or hex_of(p[i + 1]) < 0 or hex_of(p[i + 2]) < 0:
                return -1
            byte = hex_of(p[i + 1]) * 16 + hex_of(p[i + 2])
            i += 2
        i += 1
        if more:
            if not least <= byte <= most:
                return -1
            more -= 1
            least = 0x80
            most = 0xBF
        elif byte >= 0x80:
            if not 0xC2 <= byte <= 0xF4:
                return -1
            more = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
            least = 0xA0 if byte == 0xE0 else 0x90 if byte == 0xF0 else 0x80
            most = 0x9F if byte == 0xED else 0x8F if byte == 0xF4 else 0xBF
    return -1


cdef Py_ssize_t end_of_bare_item(const unsigned char* p, Py_ssize_t length, Py_ssize_t i, Item* item) noexcept nogil:
    """Section 4.2.3.1; -1: it is none."""
    if i >= length:
        return -1
    if digit(p[i]) or p[i] == b"-":
        return end_of_number(p, length, i, item)
    if p[i] == b'"':
        return end_of_string(p, length, i, item)
    if letter(p[i]) or p[i] == b"*":
        item.kind = TOKEN
        item.value = p + i
        while i < length and (is_tchar(p[i]) or p[i] == b":" or p[i] == b"/"):
            i += 1
        item.length = p + i - item.value
        return i
    item.kind = OTHER_ITEM
    if p[i] == b"?":
        if i + 1 >= length or (p[i + 1] != b"0" and p[i + 1] != b"1"):
            return -1
        item.kind = TRUE if p[i + 1] == b"1" else FALSE
        return i + 2
    if p[i] == b":":
        i += 1
        while i < length and (letter(p[i]) or digit(p[i]) or p[i] in (b"+", b"/", b"=")):
            i += 1
        return i + 1 if i < length and p[i] == b":" else -1
    if p[i] == b"@":
        i += 1
        if i >= length or not (digit(p[i]) or p[i] == b"-"):
            return -1
        i = end_of_number(p, length, i, item)
        if i >= 0 and item.kind != INTEGER:
            return -1
        item.kind = OTHER_ITEM
        return i
    if p[i] == b"%":
        return end_of_display(p, length, i)
    return -1


cdef Py_ssize_t end_of_parameters(const unsigned char* p, Py_ssize_t length, Py_ssize_t i) noexcept nogil:
    """Section 4.2.3.2."""
    cdef Item item
    while i < length and p[i] == b";":
        i += 1
        while i < length and p[i] == b" ":
            i += 1
        i = end_of_key(p, length, i)
        if i < 0:
            return -1
        if i < length and p[i] == b"=":
            i = end_of_bare_item(p, length, i + 1, &item)
            if i < 0:
                return -1
    return i


cdef Py_ssize_t end_of_inner_list(const unsigned char* p, Py_ssize_t length, Py_ssize_t i) noexcept nogil:
    """Section 4.2.1.2."""
    cdef Item item
    i += 1
    while i < length:
        while i < length and p[i] == b" ":
            i += 1
        if i < length and p[i] == b")":
            return end_of_parameters(p, length, i + 1)
        i = end_of_bare_item(p, length, i, &item)
        if i < 0:
            return -1
        i = end_of_parameters(p, length, i)
        if i < 0 or i >= length or (p[i] != b" " and p[i] != b")"):
            return -1
    return -1


cdef Py_ssize_t behind_member(const unsigned char* p, Py_ssize_t length, Py_ssize_t i) noexcept nogil:
    """Where the next member begins when one has ended at ``i``; ``length`` at the end, -1: an error."""
    if i < 0:
        return -1
    i = skip_blank(p, length, i)
    if i == length:
        return i
    if p[i] != b",":
        return -1
    i = skip_blank(p, length, i + 1)
    # A comma at the end is an error.
    return i if i < length else -1


cdef Py_ssize_t next_listed(const unsigned char* p, Py_ssize_t length, Py_ssize_t i, Item* item) noexcept nogil:
    """As `next_item`, for a list (section 4.2.1): there is no key."""
    item.key_length = 0
    if p[i] == b"(":
        item.kind = OTHER_ITEM
        return behind_member(p, length, end_of_inner_list(p, length, i))
    i = end_of_bare_item(p, length, i, item)
    return behind_member(p, length, end_of_parameters(p, length, i) if i >= 0 else -1)


cdef Py_ssize_t next_item(const unsigned char* p, Py_ssize_t length, Py_ssize_t i, Item* item) noexcept nogil:
    """Reads the member that begins at ``i``; where the next begins, ``length`` at the end, -1: an error.

    The line is one without white space at its ends, and ``i`` is below ``length``.
    """
    cdef Py_ssize_t end = end_of_key(p, length, i)
    if end < 0:
        return -1
    item.key = p + i
    item.key_length = end - i
    item.kind = TRUE
    item.value = p + end
    item.length = 0
    i = end
    if i < length and p[i] == b"=":
        if i + 1 < length and p[i + 1] == b"(":
            item.kind = OTHER_ITEM
            i = end_of_inner_list(p, length, i + 1)
        else:
            i = end_of_bare_item(p, length, i + 1, item)
            if i >= 0:
                i = end_of_parameters(p, length, i)
    else:
        i = end_of_parameters(p, length, i)
    return behind_member(p, length, i)
