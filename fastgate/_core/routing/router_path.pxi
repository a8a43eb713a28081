# Paths: their normal form, the decoding of captures, and the comparison of a literal with a spelling of it.

cdef enum:
    PLAIN = 0
    SLASH = 1
    PERCENT = 2
    REFUSED = 3
    SEMICOLON = 4

cdef unsigned char[256] BYTE_KIND
cdef signed char[256] HEX_VALUE
cdef unsigned char[256] UNRESERVED


cdef void prepare_tables() noexcept:
    cdef int c
    for c in range(256):
        BYTE_KIND[c] = PLAIN if 0x21 <= c <= 0x7E else REFUSED
        HEX_VALUE[c] = -1
        UNRESERVED[c] = c == c"-" or c == c"." or c == c"_" or c == c"~"
        if c"0" <= c <= c"9":
            HEX_VALUE[c] = c - c"0"
            UNRESERVED[c] = 1
        elif c"A" <= c <= c"F":
            HEX_VALUE[c] = c - c"A" + 10
        elif c"a" <= c <= c"f":
            HEX_VALUE[c] = c - c"a" + 10
        if c"A" <= c <= c"Z" or c"a" <= c <= c"z":
            UNRESERVED[c] = 1
    BYTE_KIND[c"/"] = SLASH
    BYTE_KIND[c"%"] = PERCENT
    BYTE_KIND[c";"] = SEMICOLON
    for c in b"\\?#":
        BYTE_KIND[c] = REFUSED


prepare_tables()


cdef inline int escape_at(const unsigned char* text, Py_ssize_t left) noexcept:
    """The byte that the escape at ``text`` stands for; -1 when it is none."""
    cdef int high, low
    if left < 3 or text[0] != c"%":
        return -1
    high = HEX_VALUE[text[1]]
    low = HEX_VALUE[text[2]]
    return -1 if high < 0 or low < 0 else high * 16 + low


cdef inline bint dot_ahead(const unsigned char* text, Py_ssize_t left) noexcept:
    """Whether a segment that begins with "." could be, or hide, a dot segment."""
    cdef Py_ssize_t n = 1
    if left > 1 and text[1] == c".":
        n = 2
    return n == left or text[n] == c"/" or text[n] == c"%" or text[n] == c";"


cdef int inspect_path(const unsigned char* source, Py_ssize_t length, bint merge_slashes) noexcept:
    """0: in normal form, or 2 with `ADDS_READINGS`; below 0: refused; 1: may need a change, or hides a dot segment."""
    cdef Py_ssize_t i = 0
    cdef int kind, value
    cdef int verdict = 0
    if fg_plain_path(source, length):
        return 0
    if length == 0 or source[0] != c"/":
        return PATH_MALFORMED
    while i < length:
        kind = BYTE_KIND[source[i]]
        if kind == PLAIN:
            i += 1
        elif kind == SLASH:
            i += 1
            if i < length:
                if source[i] == c"/":
                    if merge_slashes:
                        return 1
                    verdict = ADDS_READINGS
                elif source[i] == c"." and dot_ahead(source + i, length - i):
                    return 1
        elif kind == PERCENT:
            value = escape_at(source + i, length - i)
            if value <= 0:
                return PATH_NUL if value == 0 else PATH_ESCAPE
            if UNRESERVED[value] or value == c"/" or value == c"\\" or source[i + 1] >= c"a" or source[i + 2] >= c"a":
                return 1
            if value == c";":
                verdict = ADDS_READINGS
            i += 3
        elif kind == SEMICOLON:
            verdict = ADDS_READINGS
            i += 1
        else:
            return PATH_MALFORMED
    return verdict


cdef int normalize_path(
    const unsigned char* source, Py_ssize_t length, unsigned char* target, bint merge_slashes, Py_ssize_t* out_length
) noexcept:
    """Brings the path of a request to the one form that is matched and forwarded (RFC 3986 §6.2.2).

    Unreserved characters are decoded, other escapes get upper-case digits, dot segments are removed and, with
    ``merge_slashes``, repeated slashes become one. ``target`` needs ``length`` bytes and may be ``source`` itself.

    Returns 0 when the path is in that form already (nothing is written), `CHANGED` when the form was written to
    ``target`` (``out_length`` bytes, never more than ``length``), either with `ADDS_READINGS` added, and with
    `HAS_BACKSLASH` where there is a ``%5C``, which most routes refuse. Below 0 is a `PathFault`: the path must be
    refused, because it does not begin with a slash, climbs above the root, has a broken escape, ``%00``, ``\\``,
    ``?``, ``#``, a space, a control or a non-ASCII byte, or a segment that another program could read as a dot segment:
    ``..%2Fx``, ``..%5Cx``, ``..;x``.
    """
    cdef int verdict = inspect_path(source, length, merge_slashes)
    if verdict == 1:
        return rewrite_path(source, length, target, merge_slashes, out_length)
    out_length[0] = length
    return verdict


cdef int rewrite_path(
    const unsigned char* source, Py_ssize_t length, unsigned char* target, bint merge_slashes, Py_ssize_t* out_length
) noexcept:
    # Each turn of the outer loop takes one slash and the segment after it. The write position never passes the read
    # position, so that target may be source.
    cdef Py_ssize_t read = 0
    cdef Py_ssize_t write = 0
    cdef Py_ssize_t begin, end, size
    cdef int kind, value
    cdef bint last
    cdef bint changed = False
    cdef int readings = 0
    while read < length:
        read += 1
        begin = end = write + 1
        while read < length and source[read] != c"/":
            kind = BYTE_KIND[source[read]]
            if kind == PLAIN or kind == SEMICOLON:
                if kind == SEMICOLON:
                    readings |= ADDS_READINGS
                target[end] = source[read]
                end += 1
                read += 1
            elif kind == PERCENT:
                value = escape_at(source + read, length - read)
                if value <= 0:
                    return PATH_NUL if value == 0 else PATH_ESCAPE
                if UNRESERVED[value]:
                    target[end] = value
                    end += 1
                else:
                    changed = changed or source[read + 1] >= c"a" or source[read + 2] >= c"a"
                    if value == c"/" or value == c";":
                        readings |= ADDS_READINGS
                    elif value == c"\\":
                        readings |= ADDS_READINGS | HAS_BACKSLASH
                    target[end] = c"%"
                    target[end + 1] = HEX_DIGITS[value >> 4]
                    target[end + 2] = HEX_DIGITS[value & 15]
                    end += 3
                read += 3
            else:
                return PATH_MALFORMED
        size = end - begin
        last = read == length
        if size == 0 or (size == 1 and target[begin] == c"."):
            if size == 0 and not last and not merge_slashes:
                readings |= ADDS_READINGS
            if last or (size == 0 and not merge_slashes):
                target[write] = c"/"
                write = begin
        elif size == 2 and target[begin] == c"." and target[begin + 1] == c".":
            if write == 0:
                return PATH_ABOVE_ROOT
            write -= 1
            while target[write] != c"/":
                write -= 1
            if last:
                target[write] = c"/"
                write += 1
        else:
            if hides_dots(target + begin, size):
                return PATH_HIDES_DOTS
            target[write] = c"/"
            write = end
    out_length[0] = write
    return readings | (CHANGED if changed or write != length else 0)


cdef const char* HEX_DIGITS = "0123456789ABCDEF"


cdef bint hides_dots(const unsigned char* segment, Py_ssize_t size) noexcept:
    """Whether a piece of the segment, cut at ``%2F`` and ``%5C`` and freed of ``;parameters``, is ``.`` or ``..``."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t dots
    cdef int value
    while True:
        dots = 0
        while i < size and segment[i] == c".":
            dots += 1
            i += 1
        if dots == 1 or dots == 2:
            if i == size or segment[i] == c";":
                return True
            value = escape_at(segment + i, size - i)
            if value == c"/" or value == c"\\" or value == c";":
                return True
        while i < size:
            value = escape_at(segment + i, size - i)
            if value == c"/" or value == c"\\":
                break
            i += 1
        if i == size:
            return False
        i += 3


cdef inline int spelled(const unsigned char* text, Py_ssize_t left, int* width) noexcept:
    """The byte at ``text`` for comparison with a literal, and how many bytes spell it.

    An escaped visible character is the character, so that ``/a%3Ab`` cannot pass by the route ``/a:b``; ``%2F`` and
    ``%25`` stay what they are, since decoding them would change the segments or be done twice.
    """
    cdef int value
    if text[0] == c"%":
        value = escape_at(text, left)
        if 0x21 <= value <= 0x7E and value != c"/" and value != c"%":
            width[0] = 3
            return value
    width[0] = 1
    return text[0]


cdef Py_ssize_t consume_spelled(
    const unsigned char* text, Py_ssize_t left, const unsigned char* literal, Py_ssize_t length
) noexcept:
    """How many bytes of ``text`` spell the literal; -1 when they do not."""
    cdef Py_ssize_t used = 0
    cdef Py_ssize_t i
    cdef int width
    for i in range(length):
        if used >= left or spelled(text + used, left - used, &width) != literal[i]:
            return -1
        used += width
    return used


cdef bytes respell(const unsigned char* text, Py_ssize_t length):
    """The path in the spelling that literals are kept in and regular expressions see."""
    cdef bytes out = PyBytes_FromStringAndSize(NULL, length)
    cdef char* target = PyBytes_AS_STRING(out)
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t size = 0
    cdef int width = 1
    while i < length:
        target[size] = spelled(text + i, length - i, &width)
        size += 1
        i += width
    return out[:size]


cdef Py_ssize_t position_of(const unsigned char* text, Py_ssize_t length, Py_ssize_t spelled_bytes) noexcept:
    """Where in the path the given number of respelled bytes ends."""
    cdef Py_ssize_t i = 0
    cdef int width
    while spelled_bytes > 0 and i < length:
        spelled(text + i, length - i, &width)
        i += width
        spelled_bytes -= 1
    return i


cdef Py_ssize_t unescape(const unsigned char* text, Py_ssize_t length, unsigned char* target) noexcept:
    """Percent-decodes into ``target``; what is no escape stays. Returns the number of bytes written."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t out = 0
    cdef int value
    while i < length:
        value = escape_at(text + i, length - i)
        if value >= 0:
            target[out] = value
            i += 3
        else:
            target[out] = text[i]
            i += 1
        out += 1
    return out


cdef inline str ascii_text(const char* text, Py_ssize_t length):
    cdef str made = PyUnicode_New(length, 127)
    memcpy(PyUnicode_DATA(made), text, length)
    return made


cdef str decode_capture(const char* path, Capture capture):
    """The captured part of the path, percent-decoded; bytes that are not UTF-8 become U+FFFD."""
    cdef const char* start = path + capture.start
    cdef bytes decoded
    cdef Py_ssize_t length
    cdef unsigned int i = 0
    while i < capture.length and start[i] != c"%":
        i += 1
    if i == capture.length:
        return ascii_text(start, capture.length)
    decoded = PyBytes_FromStringAndSize(NULL, capture.length)
    length = unescape(<const unsigned char*>start, capture.length, <unsigned char*>PyBytes_AS_STRING(decoded))
    return PyUnicode_DecodeUTF8(PyBytes_AS_STRING(decoded), length, "replace")
