# What the answer of an unsafe request removes from the store. Part of cached.pyx.


cdef int invalidate(Lookup l, Exchange x, WorkerCache cache, CacheRules rules) except -1:
    """Removes what is stored of the request's address, and of those that the answer names within its origin (RFC 9111
    section 4.4), whichever route has stored it; and of the groups that it names (RFC 9875 section 2.2).

    ``rules`` None: the route does not cache. Nothing is written for an address that nobody has asked for. How many
    purges that were.
    """
    cdef int count = 0
    cdef Tags groups
    cdef int i
    if x.forward_path is not None:
        count += changed_address(l, x, cache, rules, True)
    if rules is not None and (rules.filters_query or rules.sort):
        count += changed_address(l, x, cache, None, False)
    count += changed_address(l, x, cache, rules, False)
    count += changed_location(l, x, cache, b"location", 8)
    count += changed_location(l, x, cache, b"content-location", 16)
    groups.count = 0
    read_groups(x.response, b"cache-group-invalidation", 24, &groups)
    for i in range(groups.count):
        cache.purges.write_tag(group_tag(l, cache, &groups.tag[i]), False)
    return count + groups.count


cdef int changed_address(Lookup l, Exchange x, WorkerCache cache, CacheRules rules, bint forwarded) except -1:
    make_address(l, x, cache, rules, forwarded)
    return changed_uri(l, cache, cache.address.data, cache.address.length)


cdef int changed_uri(Lookup l, WorkerCache cache, const char* address, Py_ssize_t length) noexcept:
    """``address`` has the origin of ``cache.address``."""
    return cache.purges.changed(
        cache.purges.tag_of(TAG_URI, address, length), mark_of_address(l, cache, address, length)
    )


cdef int changed_location(Lookup l, Exchange x, WorkerCache cache, const char* name, Py_ssize_t length) except -1:
    """The address in a field of the answer, where that is another one. ``cache.address`` is that of the request."""
    cdef bytes named = named_in(l, cache, x.response, name, length)
    if named is None or named == cache.address.data[:cache.address.length]:
        return 0
    return changed_uri(l, cache, PyBytes_AS_STRING(named), PyBytes_GET_SIZE(named))


cdef bytes named_in(Lookup l, WorkerCache cache, Head answer, const char* name, Py_ssize_t length):
    """The address that a field of the answer names, if its origin is that of ``cache.address``; None: none."""
    cdef bytes address, origin, scheme, mark, host, target
    cdef int line = next_line(answer, name, length, 0)
    if line < 0:
        return None
    address = cache.address.data[:cache.address.length]
    origin = address[:l.path_at]
    scheme, mark, host = origin.partition(b"://")
    target = target_of(scheme, host, address[l.path_at:], answer.value_of(line))
    return origin + target if target is not None else None


cdef class Invalidating(Changes):
    """Of the upstreams of a route that does not cache, where others do: unsafe requests change what they store."""

    def __init__(self, WorkerCache cache not None):
        self.cache = cache
        self.aside = Lookup.__new__(Lookup)

    cdef int answered(self, Exchange x) except -1:
        if 200 <= x.response.status < 400 and not is_safe(x.request):
            invalidate(self.aside, x, self.cache, None)
        return 0


cdef bint is_safe(Head request) noexcept:
    """RFC 9110 section 9.2.1; methods that are not known are unsafe."""
    cdef const unsigned char* p = request.p + request.method.start
    cdef Py_ssize_t length = request.method.length
    return exactly(p, length, b"GET", 3) or exactly(p, length, b"HEAD", 4) or exactly(p, length, b"OPTIONS", 7) \
        or exactly(p, length, b"TRACE", 5) or exactly(p, length, b"QUERY", 5)
