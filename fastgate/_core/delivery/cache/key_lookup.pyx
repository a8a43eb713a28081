"""A request as the cache knows it: its key, its addresses, and what the store has for it.

Theory of operation
-------------------
The key is made of the request *as the upstream gets it*, after every step that may change it: scheme, host and port as
they are told (X-Forwarded-*), the path that is forwarded, the query without what the route leaves out. Where a step has
changed the path, the path of the client is in the key too, so that an address has answers of its own.

An answer with Vary is found in two steps: under the primary key lies a record with the names of the fields that select,
and under the key with the values of these the answer. All of it goes through buffers of the worker: no object is made.

Purges know an answer by its tags. Those that every answer has follow from its key: the address by which the client
asked and the one that was forwarded, the route, the host. They are worked out only when something was purged since the
record was last checked. The others lie behind the index of its fields.
"""

from hashlib import sha256

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from fastgate._core.delivery.cache.key cimport (
    KeyFacts,
    KeyStart,
    Text,
    put_primary,
    put_query,
    put_secondary,
    renew_start,
)
from fastgate._core.delivery.cache.rules cimport (
    MOST_KEY_PARTS,
    OF_CLAIM,
    OF_CLIENT_IP,
    OF_IDENTITY,
    OF_PARAM,
    WITH_BODY,
    CacheRules,
    KeyPart,
)
from fastgate._core.delivery.cache.tags cimport MOST_TAGS
from fastgate._core.delivery.cache.vary cimport VaryNames, read_record
from fastgate._core.exchange.cache_result cimport CACHE_NOTHING, CacheFacts
from fastgate._core.exchange.exchange cimport Exchange, Peer
from fastgate._core.exchange.field_lines cimport next_line
from fastgate._core.exchange.field_values cimport edited_host
from fastgate._core.exchange.head cimport AUTHORIZATION, DROPPED, Head, same
from fastgate._core.exchange.head_index cimport HeadIndex, FieldIndex
from fastgate._core.exchange.hops cimport Hops
from fastgate._core.exchange.identity cimport Identity
from fastgate._core.exchange.request_fields cimport port_of
from fastgate._core.exchange.route cimport OWN_HOST
from fastgate._core.memory.buffer cimport Buffer, filled, put, room
from fastgate._core.memory.cache.cache_store cimport (
    View,
    begin_hash,
    hash_from,
    hash_key,
    look,
    set_checked,
    still,
)
from fastgate._core.memory.cache.purges cimport (
    PURGED_HARD,
    PURGED_NOT,
    PURGED_SOFT,
    TAG_HOST,
    TAG_ROUTE,
    TAG_URI,
    Purges,
)
from fastgate._core.routing.hosts cimport HOST_ROOM, end_of_host, write_host
from fastgate._core.routing.router cimport ABSENT

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_acquire(const uint64_t* word)


cdef class Lookup(CacheFacts):
    cdef void reset(self) noexcept:
        self.result = CACHE_NOTHING
        self.soft = False
        self.owners = None
        self.origin_mark = 0


cdef inline void set_text(Text* text, const void* p, Py_ssize_t length) noexcept:
    text.p = <const unsigned char*>p
    text.length = length


cdef inline void set_bytes(Text* text, bytes value) noexcept:
    """None: it is not there."""
    if value is None:
        set_text(text, NULL, -1)
    else:
        set_text(text, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))


cdef int keep(Lookup l, bytes owner) except -1:
    """Its bytes are pointed into until the key is written."""
    if l.owners is None:
        l.owners = []
    l.owners.append(owner)
    return 0


cdef struct Origin:
    Text scheme
    Text host
    Text port


cdef int read_origin(Lookup l, Exchange x, WorkerCache cache, Origin* origin) except -1:
    """Scheme, host and port as the upstream is told them: see `request_fields`."""
    cdef Peer peer = x.client.peer
    cdef Hops hops = <Hops>x.hops
    cdef bytes host, port
    if hops is None or (hops.scheme is None and hops.host is None and hops.port is None):
        set_bytes(&origin.scheme, peer.scheme)
        set_text(&origin.host, x.host, x.host_length)
        set_bytes(&origin.port, port_text(cache, peer.local_port))
        return 0
    set_bytes(&origin.scheme, hops.scheme if hops.scheme is not None else peer.scheme)
    if hops.host is not None:
        set_bytes(&origin.host, hops.host)
    else:
        set_text(&origin.host, x.host, x.host_length)
    port = hops.port
    if port is None and (hops.scheme is not None or hops.host is not None):
        host = hops.host if hops.host is not None else x.host[:x.host_length]
        port = port_of(host, hops.scheme if hops.scheme is not None else peer.scheme)
    if port is not None:
        keep(l, port)
    set_bytes(&origin.port, port if port is not None else port_text(cache, peer.local_port))
    return 0


cdef bytes port_text(WorkerCache cache, int port):
    """A port as text; None: there is none. The worker keeps the last one."""
    if port == 0:
        return None
    if cache.port != port:
        cache.port = port
        cache.port_text = b"%d" % port
    return cache.port_text


cdef bint forwards_credential(Exchange x, tuple credentials) noexcept:
    """Whether the upstream sees one of these fields, lower-case names, or Authorization."""
    cdef Head head = x.request
    cdef bytes name
    cdef int line = -1
    cdef Py_ssize_t i
    if head.seen & <uint32_t>1 << AUTHORIZATION:
        line = next_line(head, b"authorization", 13, 0)
    if line >= 0 and not head.fields[line].flags & DROPPED:
        return True
    for i in range(PyTuple_GET_SIZE(credentials)):
        name = <bytes>credentials[i]
        line = next_line(head, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), 0)
        if line >= 0 and not head.fields[line].flags & DROPPED:
            return True
    return False


cdef bytes credential_of(Exchange x, tuple credentials):
    """A digest of what `forwards_credential` has found."""
    cdef Head head = x.request
    cdef bytes name
    cdef int line
    cdef object digest = sha256()
    for name in (b"authorization", *credentials):
        line = next_line(head, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), 0)
        while line >= 0:
            if not head.fields[line].flags & DROPPED:
                digest.update(b"%b\0%d\0" % (name, head.fields[line].value_length))
                digest.update(head.value_of(line))
            line = next_line(head, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), line + 1)
    return digest.digest()


cdef bytes identity_of(Exchange x):
    """Who asks, as bytes; None: nobody is known."""
    if x.identity is None:
        return None
    if isinstance(x.identity, Identity):
        return (<Identity>x.identity).key
    return repr(x.identity).encode("utf-8", "surrogatepass")


cdef int read_part(Lookup l, Exchange x, KeyPart part, Text* text) except -1:
    """A part of the key that does not stand in the head."""
    cdef bytes value = None
    cdef Py_ssize_t i
    set_text(text, NULL, -1)
    if part.kind == OF_CLIENT_IP:
        set_bytes(text, x.client_ip if x.client_ip else x.client.peer.address)
    elif part.kind == OF_CLAIM:
        if isinstance(x.identity, Identity):
            value = (<Identity>x.identity).claim(part.name.decode())
        if value is not None:
            keep(l, value)
            set_bytes(text, value)
    elif part.kind == OF_PARAM and x.entry is not None:
        name = part.name.decode()
        if name in x.entry.params:
            i = x.entry.params.index(name)
            if x.found.capture[i].start != ABSENT:
                set_text(text, x.path + x.found.capture[i].start, x.found.capture[i].length)
    return 0


cdef int make_query(Exchange x, WorkerCache cache, CacheRules rules) except -1:
    """The query as it is forwarded, in ``cache.query``; 0: there is none."""
    cache.query.length = 0
    if not x.has_query:
        return 0
    return put_query(&cache.query, rules, x.query, x.query_length)


cdef int make_key(
    Lookup l, Exchange x, WorkerCache cache, CacheRules rules, bytes namespace, bytes upstream, tuple credentials
) except -1:
    """The primary key of a request, in ``cache.key``, and its hash."""
    cdef KeyFacts facts
    cdef Text parts[MOST_KEY_PARTS]
    cdef Origin origin
    cdef Head head = x.request
    cdef KeyStart* start = &cache.start
    cdef KeyPart part
    cdef bytes value
    cdef Py_ssize_t i
    cdef int line
    read_origin(l, x, cache, &origin)
    set_bytes(&facts.route, namespace)
    set_bytes(&facts.upstream, upstream)
    facts.scheme = origin.scheme
    facts.host = origin.host
    facts.port = origin.port
    if x.request_withheld & OWN_HOST:
        # An edit chooses the host that the upstream is asked for.
        value = b"%b %b" % (origin.host.p[:origin.host.length], edited_host(x))
        keep(l, value)
        set_bytes(&facts.host, value)
    if x.forward_path is not None:
        value = b"%b %b" % (x.path[:x.path_length], x.forward_path)
        keep(l, value)
        set_bytes(&facts.path, value)
    else:
        set_text(&facts.path, x.path, x.path_length)
    if make_query(x, cache, rules):
        set_text(&facts.query, cache.query.data, cache.query.length)
    else:
        set_text(&facts.query, NULL, -1)
    for i in range(PyTuple_GET_SIZE(rules.key)):
        part = <KeyPart>rules.key[i]
        if part.kind >= OF_PARAM and part.kind != OF_IDENTITY:
            read_part(l, x, part, &parts[i])
    facts.parts = parts
    set_text(&facts.identity, NULL, -1)
    set_text(&facts.credential, NULL, -1)
    if rules.identity_in_key:
        value = identity_of(x)
        if value is not None:
            keep(l, value)
            set_bytes(&facts.identity, value)
        if forwards_credential(x, credentials):
            value = credential_of(x, credentials)
            keep(l, value)
            set_bytes(&facts.credential, value)
    set_text(&facts.content_type, NULL, -1)
    set_text(&facts.body, NULL, -1)
    if l.method == WITH_BODY:
        value = b"%b %b" % (
            head.p[:head.method.length],
            b"\n".join([head.value_of(line) for line in range(head.count) if is_content_type(head, line)]),
        )
        keep(l, value)
        set_bytes(&facts.content_type, value)
        value = sha256(b"".join(x.body) if x.body is not None else b"").digest()
        keep(l, value)
        set_bytes(&facts.body, value)
    if renew_start(start, &facts):
        begin_hash(cache.store, start.text.data, start.text.length, &start.hash)
        cache.address.length = 0
        put_origin(cache, &origin)
        start.mark = cache.purges.mark_of_origin(cache.address.data, cache.address.length)
    l.origin_mark = 0 if x.request_withheld & OWN_HOST else start.mark
    cache.key.length = 0
    put_primary(&cache.key, start, rules, head, x.request_extra, &facts)
    l.owners = None
    l.primary_length = cache.key.length
    l.primary_hash = l.hash = hash_from(&start.hash, start.text.length, cache.key.data, cache.key.length)
    return 0


cdef bint is_content_type(Head head, int line) noexcept:
    return same(head.p + head.fields[line].name, head.fields[line].name_length, b"content-type", 12)


# -- addresses and tags


cdef int put_origin(WorkerCache cache, const Origin* origin) except -1:
    """Writes ``scheme://host[:port]`` as purges name it. The worker keeps the last one, which the next one often is."""
    cdef Buffer* known = &cache.origin
    cdef Py_ssize_t length = origin.host.length
    cdef Py_ssize_t size, end
    cdef const unsigned char* port
    cdef char* at
    cdef bint https = origin.scheme.length == 5
    if length < 0:
        length = 0
    if known.length == 0 or length != cache.raw_host.length or https != cache.origin_https \
            or memcmp(origin.host.p, cache.raw_host.data, length):
        cache.raw_host.length = known.length = 0
        at = room(known, origin.scheme.length + HOST_ROOM + length + 4)
        memcpy(at, origin.scheme.p, origin.scheme.length)
        at += origin.scheme.length
        memcpy(at, b"://", 3)
        at += 3
        size = write_host(origin.host.p, origin.host.length, at)
        if size > 0:
            at += size
        end = end_of_host(origin.host.p, origin.host.length) if origin.host.length > 0 else -1
        if end >= 0 and end + 1 < origin.host.length:
            port = origin.host.p + end + 1
            size = origin.host.length - end - 1
            if not same(port, size, b"443" if https else b"80", 3 if https else 2):
                at[0] = c":"
                memcpy(at + 1, port, size)
                at += 1 + size
        put(&cache.raw_host, origin.host.p, length)
        cache.origin_https = https
        filled(known, at)
    return put(&cache.address, known.data, known.length)


cdef int make_address(Lookup l, Exchange x, WorkerCache cache, CacheRules rules, bint forwarded) except -1:
    """The address of the request in ``cache.address``, as purges name it: ``scheme://host[:port]path[?query]``.

    ``forwarded``: with the path that the upstream gets. ``rules`` None: with the query of the client.
    """
    cdef Buffer* buffer = &cache.address
    cdef Origin origin
    cdef const unsigned char* path = x.path
    cdef Py_ssize_t length = x.path_length
    read_origin(l, x, cache, &origin)
    if forwarded and x.forward_path is not None:
        path = <const unsigned char*>PyBytes_AS_STRING(x.forward_path)
        length = PyBytes_GET_SIZE(x.forward_path)
    buffer.length = 0
    put_origin(cache, &origin)
    l.path_at = buffer.length
    put(buffer, path, length)
    if rules is None:
        if x.has_query:
            put(buffer, b"?", 1)
            put(buffer, x.query, x.query_length)
    elif make_query(x, cache, rules):
        put(buffer, b"?", 1)
        put(buffer, cache.query.data, cache.query.length)
    l.owners = None
    return 0


cdef uint64_t mark_of_address(Lookup l, WorkerCache cache, const char* address, Py_ssize_t length) noexcept:
    cdef Purges purges = cache.purges
    cdef const char* path = address + l.path_at
    cdef Py_ssize_t size = length - l.path_at
    cdef const char* mark = <const char*>memchr(path, c"?", size)
    cdef Py_ssize_t query = size if mark == NULL else mark - path
    return purges.mark_of(
        purges.mark_of_origin(address, l.path_at), path, query, path + query + 1, size - query - 1
    )


cdef uint64_t mark_of_request(Lookup l, Exchange x, WorkerCache cache, CacheRules rules) except? 0:
    if l.origin_mark and not rules.filters_query and not rules.sort:
        return cache.purges.mark_of(
            l.origin_mark, x.path, x.path_length, x.query, x.query_length if x.has_query else -1
        )
    make_address(l, x, cache, rules, False)
    return mark_of_address(l, cache, cache.address.data, cache.address.length)


cdef int own_tags(Lookup l, Exchange x, WorkerCache cache, CacheRules rules, bytes route, uint64_t* tags) except -1:
    """The tags that follow from the key; how many, `OWN_TAGS` at most. ``cache.address`` is the client's afterwards."""
    cdef Purges purges = cache.purges
    cdef Buffer* address = &cache.address
    cdef Py_ssize_t begin
    cdef int count = 0
    if x.forward_path is not None:
        make_address(l, x, cache, rules, True)
        tags[count] = purges.tag_of(TAG_URI, address.data, address.length)
        count += 1
    make_address(l, x, cache, rules, False)
    tags[count] = purges.tag_of(TAG_URI, address.data, address.length)
    tags[count + 1] = purges.tag_of(TAG_ROUTE, PyBytes_AS_STRING(route), PyBytes_GET_SIZE(route))
    begin = host_at(address)
    tags[count + 2] = purges.tag_of(TAG_HOST, address.data + begin, l.path_at - begin)
    return count + 3


cdef Py_ssize_t host_at(const Buffer* address) noexcept:
    """Where the host begins in an address."""
    return 8 if address.length > 4 and address.data[4] == b"s" else 7


# -- what is stored


cdef void freshness_of(const View* view, Freshness* freshness) noexcept nogil:
    """What a record says of its times: see `stored_head`."""
    freshness.born = <int64_t>view.record.words[0]
    freshness.fresh_until = <int64_t>view.record.words[1]
    freshness.swr_until = freshness.fresh_until + <int64_t>(view.record.words[2] >> 32)
    freshness.sie_until = freshness.fresh_until + <int64_t>(view.record.words[2] & 0xffffffffULL)
    freshness.flags = view.record.flags & 255


cdef bint names_of(WorkerCache cache, const View* view, Buffer* text, VaryNames* names) except -1:
    """The names in a Vary record, which are copied into ``text``. False: it is not whole any more."""
    text.length = 0
    put(text, view.head, view.record.head_length)
    return still(cache.store, view) and read_record(<const unsigned char*>text.data, text.length, names) >= 0


cdef int find(Lookup l, Exchange x, WorkerCache cache, CacheRules rules, bytes route, View* view) except -1:
    """What is stored under the key: `LookedUp`. The key in ``cache.key`` is the whole one afterwards."""
    cdef VaryNames names
    cdef int state
    cache.key.length = l.primary_length
    l.hash = l.primary_hash
    l.soft = False
    if not look(cache.store, l.hash, cache.key.data, cache.key.length, l.now, view):
        return NOT_FOUND
    if view.record.flags & IS_VARY_RECORD:
        if not names_of(cache, view, &cache.text, &names):
            return NOT_FOUND
        state = put_secondary(&cache.key, x.request, x.request_extra, &names)
        if state < 0:
            cache.key.length = l.primary_length
            return NO_VARIANT
        l.hash = hash_key(cache.store, cache.key.data, cache.key.length)
        if not look(cache.store, l.hash, cache.key.data, cache.key.length, l.now, view):
            return NO_VARIANT
    state = validity(l, x, cache, rules, route, view)
    if state == PURGED_HARD:
        return PURGED
    l.soft = state == PURGED_SOFT
    return FOUND


cdef int validity(
    Lookup l, Exchange x, WorkerCache cache, CacheRules rules, bytes route, const View* view
) except -1:
    """Whether it was purged since it was asked for: PURGED_NOT, PURGED_SOFT, PURGED_HARD."""
    cdef Purges purges = cache.purges
    cdef uint64_t tags[OWN_TAGS + MOST_TAGS]
    cdef uint64_t checked = view.record.checked
    cdef uint64_t other
    cdef int count, more, state, second
    cdef Py_ssize_t begin
    cdef HeadIndex about
    if checked == atomic_load_acquire(&purges.head.number):
        return PURGED_NOT
    count = own_tags(l, x, cache, rules, route, tags)
    if view.record.fields_length >= sizeof(HeadIndex):
        memcpy(&about, view.fields, sizeof(HeadIndex))
        begin = sizeof(HeadIndex) + about.count * <Py_ssize_t>sizeof(FieldIndex)
        more = min(<int>((<Py_ssize_t>view.record.fields_length - begin) // 8), <int>MOST_TAGS)
        if more > 0:
            memcpy(&tags[count], view.fields + begin, more * sizeof(uint64_t))
            count += more
    if not still(cache.store, view):
        return PURGED_HARD
    checked = view.record.purge
    state = purges.compare(
        view.record.purge, &checked, tags, count, <const unsigned char*>cache.address.data, cache.address.length,
        l.path_at
    )
    if state != PURGED_HARD and x.forward_path is not None:
        # A prefix may be meant as the upstream knows it.
        make_address(l, x, cache, rules, True)
        other = view.record.purge
        second = purges.compare(
            view.record.purge, &other, NULL, 0, <const unsigned char*>cache.address.data, cache.address.length,
            l.path_at
        )
        state = max(state, second)
        checked = min(checked, other)
    if state == PURGED_NOT:
        set_checked(cache.store, view, checked)
    return state


cdef bint follows_client(VaryNames* names, Exchange x) noexcept:
    """Whether an answer varies by a field that the gateway writes anew for each client."""
    cdef bytes id = x.runtime.request_id_lower
    cdef const unsigned char* name
    cdef Py_ssize_t length
    cdef int i
    for i in range(names.count):
        name = names.name[i]
        length = names.length[i]
        if same(name, length, b"x-forwarded-for", 15) or same(name, length, b"x-real-ip", 9) \
                or same(name, length, b"forwarded", 9):
            return True
        if id is not None and same(name, length, PyBytes_AS_STRING(id), PyBytes_GET_SIZE(id)):
            return True
    return False
