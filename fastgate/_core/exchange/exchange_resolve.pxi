"""From a request head to the route: target, host, client address, request id, path, route."""

cdef enum:
    ITSELF = -3                # the target `*`


cdef int lookup(
    void* context, const char* name, Py_ssize_t length, int* at, const char** value, Py_ssize_t* value_length
) noexcept:
    """The router's way to the fields of a head."""
    cdef Head head = <Head>context
    cdef int found = head.find(name, length, at[0])
    if found < 0:
        return 0
    value[0] = <const char*>head.p + head.fields[found].value
    value_length[0] = head.fields[found].value_length
    at[0] = found + 1
    return 1


cdef int resolve(Exchange x) except -1:
    """Target, host, client and route. OK, the cause to refuse with, or -2 when the request has been answered."""
    cdef Head head = x.request
    cdef const unsigned char* method = head.p
    cdef Py_ssize_t length = head.method.length
    # What is in use now: another one than the exchange began with, when its head took its time. That has no routes.
    cdef Runtime runtime = x.engine.runtime
    cdef Query query
    cdef Py_ssize_t normal
    cdef char* form
    cdef int changed
    cdef int cause
    x.is_get = length == 3 and memcmp(method, b"GET", 3) == 0
    x.is_head = length == 4 and memcmp(method, b"HEAD", 4) == 0
    x.idempotent = x.is_get or x.is_head or (length == 3 and memcmp(method, b"PUT", 3) == 0) \
        or (length == 6 and memcmp(method, b"DELETE", 6) == 0) or (length == 7 and memcmp(method, b"OPTIONS", 7) == 0) \
        or (length == 5 and memcmp(method, b"TRACE", 5) == 0)
    x.expects_continue = head.expect >= 0 and head.minor == 1 and not x.request_complete
    identify_client(x)
    cause = split_target(x)
    if cause != OK:
        return cause if cause > 0 else answer_options(x)
    x.engine.buffer.length = 0
    form = room(&x.engine.buffer, x.path_length)
    changed = normalize_path(x.path, x.path_length, <unsigned char*>form, runtime.merge_slashes, &normal)
    if changed < 0:
        return path_fault(changed)
    if changed & CHANGED:
        filled(&x.engine.buffer, form + normal)
        x.path_owner = PyBytes_FromStringAndSize(form, normal)
        x.path = <const unsigned char*>PyBytes_AS_STRING(x.path_owner)
        x.path_length = normal
    if head.expect >= 0 and head.minor == 1 and not same(head.p + head.fields[head.expect].value,
                                                         head.fields[head.expect].value_length, b"100-continue", 12):
        return BAD_EXPECTATION
    if runtime.check_server_name:
        if x.client.peer.withdrawn:
            return CERTIFICATE_WITHDRAWN
        if misdirected(x):
            return MISDIRECTED
    if runtime.health_path is not None and (x.is_get or x.is_head) \
            and x.path_length == PyBytes_GET_SIZE(runtime.health_path) \
            and memcmp(x.path, PyBytes_AS_STRING(runtime.health_path), x.path_length) == 0:
        return answer_health(x)
    put_query(x, &query)
    if length == 7 and memcmp(method, b"OPTIONS", 7) == 0:
        if find_preflight(x, &query):
            return ENCODED_BACKSLASH if changed & HAS_BACKSLASH and not x.route.keeps_backslash else OK
        if goes_no_further(x):
            return answer_allowed(x)
    x.entry = runtime.router.find(&query, &x.found)
    if x.entry is None:
        if changed & HAS_BACKSLASH:
            return ENCODED_BACKSLASH
        return NO_METHOD if x.found.method_only else NO_ROUTE
    if changed & ADDS_READINGS:
        if changed & HAS_BACKSLASH and not (<Route>x.entry.value).keeps_backslash:
            return ENCODED_BACKSLASH
        if is_stricter_otherwise(runtime.router, &query, x.entry):
            return AMBIGUOUS_PATH
    x.route = <Route>x.entry.value
    if length == 5 and memcmp(method, b"TRACE", 5) == 0 and (not x.route.names_trace or goes_no_further(x)):
        return NO_METHOD
    return OK


cdef int path_fault(int fault) noexcept:
    """The cause for which `normalize_path` refuses a path."""
    if fault == PATH_ESCAPE:
        return BAD_ESCAPE
    if fault == PATH_NUL:
        return ENCODED_NUL
    if fault == PATH_ABOVE_ROOT:
        return ABOVE_ROOT
    return HIDDEN_DOTS if fault == PATH_HIDES_DOTS else BAD_TARGET_CHARACTER


cdef bint goes_no_further(Exchange x) except -1:
    """Counts Max-Forwards down (RFC 9110 section 7.6.2). True: this gateway is the last to get the request."""
    cdef Head head = x.request
    cdef int i = head.find(b"max-forwards", 12, 0)
    cdef bytes value
    if i < 0:
        return False
    value = head.value_of(i)
    if not value.isdigit():
        return False
    if int(value[:9]) == 0:
        return True
    head.fields[i].flags |= DROPPED
    x.request_extra = [(b"Max-Forwards", b"%d" % (int(value[:9]) - 1))]
    return False


cdef bint find_preflight(Exchange x, Query* query) except -1:
    """Finds the route of a CORS preflight: that of the method which it asks for, where that route has rules of CORS.

    False: it is an OPTIONS like any other.
    """
    cdef Head head = x.request
    cdef Query asked = query[0]
    cdef Entry entry
    cdef Route route
    cdef int method = head.find(b"access-control-request-method", 29, 0)
    if method < 0 or head.find(b"origin", 6, 0) < 0:
        return False
    asked.method = <const char*>head.p + head.fields[method].value
    asked.method_length = head.fields[method].value_length
    if not is_token(<const unsigned char*>asked.method, asked.method_length):
        return False
    entry = x.engine.runtime.router.find(&asked, &x.found)
    if entry is None:
        return False
    route = <Route>entry.value
    if not route.answers_preflights:
        return False
    if asked.method_length == 5 and memcmp(asked.method, b"TRACE", 5) == 0 and not route.names_trace:
        return False
    x.entry = entry
    x.route = route
    x.preflight = True
    return True


cdef void put_query(Exchange x, Query* query) noexcept:
    query.method = <const char*>x.request.p
    query.method_length = x.request.method.length
    query.host = <const char*>x.host
    query.host_length = x.host_length
    query.path = <const char*>x.path
    query.path_length = x.path_length
    query.query = <const char*>x.query
    query.query_length = x.query_length
    query.header = lookup
    query.header_context = <void*>x.request


cdef int split_target(Exchange x) noexcept:
    """Host, path and query from the request target (RFC 9112 section 3.2) and the Host field. ITSELF for `*`."""
    cdef Head head = x.request
    cdef const unsigned char* p = head.p + head.target.start
    cdef const unsigned char* end = p + head.target.length
    cdef const unsigned char* start
    if head.host >= 0:
        x.host = head.p + head.fields[head.host].value
        x.host_length = head.fields[head.host].value_length
        if not head.host_checked and not is_host(x.host, x.host_length):
            return BAD_HOST
    elif head.minor == 1:
        return NO_HOST
    if head.method.length == 7 and memcmp(head.p, b"CONNECT", 7) == 0:
        return NO_METHOD
    if p[0] == b"/":
        pass
    elif head.target.length == 1 and p[0] == b"*":
        if head.method.length == 7 and memcmp(head.p, b"OPTIONS", 7) == 0:
            return ITSELF
        return BAD_TARGET
    else:
        if end - p > 7 and same(p, 7, b"http://", 7):
            p += 7
        elif end - p > 8 and same(p, 8, b"https://", 8):
            p += 8
        else:
            return BAD_TARGET
        start = p
        while p < end and p[0] != b"/" and p[0] != b"?":
            p += 1
        # Userinfo fails here too: "@" is no byte of a host.
        if not is_host(start, p - start):
            return BAD_HOST
        x.host = start
        x.host_length = p - start
    start = p
    p = <const unsigned char*>memchr(start, b"?", end - start) if end > start else NULL
    if p == NULL:
        p = end
        x.has_query = False
    else:
        x.has_query = True
        x.query = p + 1
        x.query_length = end - p - 1
    x.path = start
    x.path_length = p - start
    if x.path_length == 0:
        x.path = <const unsigned char*>b"/"
        x.path_length = 1
    return OK


cdef int identify_client(Exchange x) except -1:
    """Client address and request id: from the peer itself, or from what a trusted peer says."""
    cdef Head head = x.request
    cdef int i
    cdef bytes name
    cdef Peer peer = x.client.peer
    x.client_ip = peer.address
    if peer.trusted:
        if head.has_forwarded:
            x.hops = read_hops(head, peer.trusted_by)
            x.client_ip = client_of(x.hops, peer.address, peer.trusted_by)
        if x.runtime.request_id is not None:
            name = x.runtime.request_id_lower
            i = head.find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), 0)
            if i >= 0 and 0 < head.fields[i].value_length <= <Py_ssize_t>sizeof(x.id) \
                    and visible(head.p + head.fields[i].value, head.fields[i].value_length):
                x.id_length = head.fields[i].value_length
                memcpy(x.id, head.p + head.fields[i].value, x.id_length)
    if x.id_length == 0:
        x.engine.make_id(x.id)
        x.id_length = 32
    return 0


cdef bint misdirected(Exchange x) noexcept:
    """Whether the Host is not the name that the TLS connection was opened for (RFC 9110 section 7.4)."""
    cdef bytes name = x.client.peer.server_name
    cdef char form[HOST_ROOM]
    cdef Py_ssize_t length
    if name is None:
        return False
    length = write_host(x.host, x.host_length, form)
    return length != PyBytes_GET_SIZE(name) or memcmp(form, PyBytes_AS_STRING(name), length) != 0


cdef bytes allowed(Exchange x):
    """The methods that some route would take here."""
    cdef Query query
    put_query(x, &query)
    return ", ".join(sorted(x.engine.runtime.router.allow(&query) - {"TRACE"})).encode()


cdef bint visible(const unsigned char* p, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(length):
        if p[i] < 0x21 or p[i] > 0x7E:
            return False
    return True
