"""Where Location and Content-Location lead, within the origin of the request (RFC 9110 section 10.2.2, RFC 3986 section
5.2).

Theory of operation
-------------------
After an unsafe request has succeeded, the URIs in these two fields are invalidated with its own, if they are of the
same origin (RFC 9111 section 4.4). A reference is resolved against the target of the request: it keeps what it does not
say. Another scheme or another host, also another port, is another origin. Fragments go. Dot segments are resolved;
nothing else is normalised.

What is not a valid reference leads nowhere: bytes that no URI has, backslashes, user information, ``http:x`` without
slashes. This runs for answers to unsafe requests only, and makes objects.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.exchange.head cimport is_host, normal_host


cdef bint possible(bytes reference) noexcept:
    """Whether it has bytes of URIs only."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(reference)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(reference)):
        if p[i] < 0x21 or p[i] > 0x7E or p[i] in (b'"', b"<", b">", b"\\", b"^", b"`", b"{", b"|", b"}"):
            return False
    return True


cdef Py_ssize_t end_of_scheme(bytes reference) noexcept:
    """The colon behind a scheme; -1: there is none."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(reference)
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t length = PyBytes_GET_SIZE(reference)
    cdef unsigned char c
    while i < length:
        c = p[i] | 32
        if not b"a" <= c <= b"z" and (i == 0 or not (b"0" <= p[i] <= b"9" or p[i] in (b"+", b"-", b"."))):
            break
        i += 1
    return i if i and i < length and p[i] == b":" else -1


cdef bytes without_dots(bytes path):
    """Removes dot segments (section 5.2.4) from a path that begins with a slash."""
    cdef list kept = []
    cdef list segments = path.split(b"/")[1:]
    cdef bytes segment
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[len(segments) - 1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


cdef bytes host_form(bytes host, bytes scheme):
    return normal_host(<const unsigned char*>PyBytes_AS_STRING(host), PyBytes_GET_SIZE(host), scheme)


cpdef bytes target_of(bytes scheme, bytes host, bytes target, bytes reference):
    """See the stub."""
    cdef Py_ssize_t colon, end
    cdef bytes rest, path, query, own_path, mark, authority
    if not possible(reference):
        return None
    rest = reference.partition(b"#")[0]
    colon = end_of_scheme(rest)
    if colon >= 0:
        if rest[:colon].lower() != scheme or rest[colon + 1:colon + 3] != b"//":
            return None
        rest = rest[colon + 1:]
    own_path = target.partition(b"?")[0]
    if rest[:2] == b"//":
        end = 2
        while end < len(rest) and rest[end] not in b"/?":
            end += 1
        authority = rest[2:end]
        if not is_host(<const unsigned char*>PyBytes_AS_STRING(authority), PyBytes_GET_SIZE(authority)) \
                or host_form(authority, scheme) != host_form(host, scheme):
            return None
        path, mark, query = rest[end:].partition(b"?")
        path = without_dots(path or b"/")
    else:
        path, mark, query = rest.partition(b"?")
        if not path:
            path = own_path
            if not mark:
                _, mark, query = target.partition(b"?")
        elif path[:1] == b"/":
            path = without_dots(path)
        else:
            path = without_dots(own_path[:own_path.rfind(b"/") + 1] + path)
    return path + mark + query
