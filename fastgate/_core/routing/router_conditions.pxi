# Conditions on header and query fields, and the table of hosts.

cdef bint conditions_hold(Conditions* conditions, Query* query) except -1:
    cdef int i
    for i in range(conditions.headers):
        if not header_holds(&conditions.items[i], query):
            return False
    for i in range(conditions.headers, conditions.headers + conditions.queries):
        if not query_holds(&conditions.items[i], query):
            return False
    return True


cdef bint header_holds(Condition* condition, Query* query) except -1:
    """Whether one of the field lines of that name satisfies the condition."""
    cdef const char* value = NULL
    cdef Py_ssize_t length = 0
    cdef int at = 0
    if query.header == NULL:
        return False
    while query.header(query.header_context, condition.name, condition.name_length, &at, &value, &length):
        if condition.kind == PRESENT:
            return True
        if condition.kind == EQUAL:
            if length == condition.value_length and memcmp(value, condition.value, length) == 0:
                return True
        elif (<object>condition.fullmatch)(PyBytes_FromStringAndSize(value, length)) is not None:
            return True
    return False


cdef bint query_holds(Condition* condition, Query* query) except -1:
    """Whether one of the ``name=value`` pairs satisfies the condition, both sides percent-decoded, ``+`` a space."""
    cdef const unsigned char* at = <const unsigned char*>query.query
    cdef const unsigned char* end
    cdef const unsigned char* stop
    cdef const unsigned char* equals
    if at == NULL:
        return False
    end = at + query.query_length
    while at <= end:
        stop = <const unsigned char*>memchr(at, c"&", end - at)
        if stop == NULL:
            stop = end
        equals = <const unsigned char*>memchr(at, c"=", stop - at)
        if equals == NULL:
            equals = stop
        if stop > at and form_equal(at, equals - at, condition.name, condition.name_length):
            if condition.kind == PRESENT:
                return True
            if equals < stop:
                equals += 1
            if condition.kind == EQUAL:
                if form_equal(equals, stop - equals, condition.value, condition.value_length):
                    return True
            elif (<object>condition.fullmatch)(form_decode(equals, stop - equals)) is not None:
                return True
        at = stop + 1
    return False


cdef inline int form_byte(const unsigned char* text, Py_ssize_t left, int* width) noexcept:
    cdef int value = escape_at(text, left)
    width[0] = 3 if value >= 0 else 1
    if value >= 0:
        return value
    return c" " if text[0] == c"+" else text[0]


cdef bint form_equal(const unsigned char* text, Py_ssize_t length, const char* wanted, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t k = 0
    cdef int width
    while i < length:
        if k == size or form_byte(text + i, length - i, &width) != <unsigned char>wanted[k]:
            return False
        i += width
        k += 1
    return k == size


cdef bytes form_decode(const unsigned char* text, Py_ssize_t length):
    """The text that a form has encoded, in UTF-8; bytes that are none are U+FFFD."""
    cdef bytes out = PyBytes_FromStringAndSize(NULL, length)
    cdef char* target = PyBytes_AS_STRING(out)
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t size = 0
    cdef int width = 1
    while i < length:
        target[size] = form_byte(text + i, length - i, &width)
        size += 1
        i += width
    out = out[:size]
    return out if out.isascii() else out.decode("utf-8", "replace").encode()


cdef inline unsigned int hash_step(unsigned int hash, char c) noexcept:
    return (hash ^ <unsigned char>c) * 16777619u


cdef Tree* host_tree(Index* index, const char* name, Py_ssize_t length, unsigned int hash) noexcept:
    cdef size_t mask = index.host_slots - 1
    cdef size_t at = hash & mask
    cdef HostSlot* slot
    while True:
        slot = &index.hosts[at]
        if slot.tree == NULL:
            return NULL
        if slot.hash == hash and slot.length == length and memcmp(slot.name, name, length) == 0:
            return slot.tree
        at = (at + 1) & mask


cdef unsigned int hash_host(const char* name, Py_ssize_t length) noexcept:
    # From the end, so that one pass over a host gives the hash of each of its suffixes.
    cdef unsigned int hash = 2166136261u
    cdef Py_ssize_t i
    for i in range(length - 1, -1, -1):
        hash = hash_step(hash, name[i])
    return hash


cdef int put_host(Index* index, HostSlot* entry) noexcept:
    cdef size_t at = entry.hash & (index.host_slots - 1)
    while index.hosts[at].tree != NULL:
        at = (at + 1) & (index.host_slots - 1)
    index.hosts[at] = entry[0]
    return 0


cdef Tree* ensure_host(Index* index, bytes name) except NULL:
    """The tree of a host pattern: ``api.example.com``, or ``.example.com`` for ``*.example.com``."""
    cdef HostSlot entry
    cdef HostSlot* old = index.hosts
    cdef size_t count = index.host_slots
    cdef size_t i
    cdef Tree* tree = NULL
    entry.hash = hash_host(name, len(name))
    if count:
        tree = host_tree(index, name, len(name), entry.hash)
    if tree != NULL:
        return tree
    if index.host_count * 2 >= count:
        index.host_slots = count * 2 if count else 8
        index.hosts = <HostSlot*>allocate(index, index.host_slots * sizeof(HostSlot), LINE)
        for i in range(count):
            if old[i].tree != NULL:
                put_host(index, &old[i])
    entry.name = copy_bytes(index, name)
    entry.length = <unsigned int>len(name)
    entry.tree = new_tree(index)
    put_host(index, &entry)
    index.host_count += 1
    if name.startswith(b"."):
        index.wildcard_hosts = True
    return entry.tree


cdef Tree* new_tree(Index* index) except NULL:
    cdef Tree* tree = <Tree*>allocate(index, sizeof(Tree), LINE)
    tree.best = INT_MIN
    return tree


cdef int search_hosts(Search* search, Index* index) except -1:
    """Searches the trees whose host pattern fits, exact first, then the longer wildcard."""
    cdef char[HOST_ROOM] name
    cdef (Tree*)[HOST_ROOM] wildcards
    cdef int count = 0
    cdef unsigned int hash = 2166136261u
    cdef Py_ssize_t i
    cdef Tree* tree
    cdef Py_ssize_t length = write_host(
        <const unsigned char*>search.query.host, search.query.host_length, name
    )
    if length <= 0:
        return 0
    for i in range(length - 1, -1, -1):
        hash = hash_step(hash, name[i])
        if name[i] == c"." and index.wildcard_hosts and i > 0:
            tree = host_tree(index, name + i, length - i, hash)
            if tree != NULL:
                wildcards[count] = tree
                count += 1
    tree = host_tree(index, name, length, hash)
    if tree != NULL and name[0] != c".":
        search_tree(search, tree)
    while count:
        count -= 1
        search_tree(search, wildcards[count])
    return 0
