"""The router: which route takes a request.

Theory of operation
===================

Data structure. The literal parts of all patterns of one host lie in a compressed radix tree. An edge is a run of bytes,
not of segments, so that ``/users`` and ``/user-groups`` share ``/user``. A node is one cache line of 64 bytes: up to 20
bytes of its literal, its children (a lone child by its address; several by an array of first bytes followed by the
addresses, one more line for up to seven), one ``parameter`` child that takes exactly one non-empty segment, and the
leaves of the patterns that end here. Parameter names belong to the route, not to the node: ``/users/{id}`` and
``/users/{name}/posts`` share their parameter node. Regular expressions lie beside each tree in an ordered list.

Order of candidates. A route competes by (priority, host, path, methods given, number of header conditions, number of
query conditions, order of addition). The structure makes most of this key implicit. There is one tree a host pattern
and they are searched from the exact host over the longer wildcards to the tree of any host. A depth-first walk that
tries literal, parameter and rest children in this order meets patterns by descending specificity of the path, segment
by segment from the left; regular expressions come after it. Candidates with equal patterns share one leaf, sorted by
what remains of the key. So the first candidate that holds is the best of its priority, and only a higher priority is
worth looking further for: every node keeps the best priority below it and subtrees that cannot win are not entered.
When all priorities are equal, the first hit ends the search.

Cost. A match without fall-through is O(length of the path), whatever the number of routes: each byte is compared once
and a node costs one or two cache lines. Every route that is passed over (host, method or condition does not hold)
adds its own check. No node is visited twice in a search, because a parameter takes exactly one segment and thus every
node has only one position in a given path: the worst case is the number of nodes, never exponential. A match that
meets no regular expression creates no Python object. Adding a route is O(length of its pattern) for each of its hosts,
plus the place in its leaf. Memory is one arena a router, freed as a whole; nodes lie in the order of their creation.

Spelling. Paths arrive in the normal form of ``normalize_path``, which is also what is forwarded. Reserved characters
keep the spelling the client chose there, because ``%2B`` and ``+`` may differ to an upstream; but to a literal of a
pattern both are the same character, or a route could be passed by with ``/a%3Ab`` for ``/a:b``. Only a path that has
a ``%`` pays for this. ``%2F`` is never a segment border; ``%25`` is never decoded for a comparison.

Regular expressions are those of `expressions`, matched in linear time, each against the whole path. One is tried only
where the path begins with the characters that it begins with, which costs no object.

Concurrency. A search writes only to the caller's stack, an addition to the trees; both hold the interpreter lock from
beginning to end. Only a regular expression releases it while it matches. A router that has one has a lock of its own,
which a search holds too, so that no addition comes into the middle of one. Routes are never removed: a changed
configuration is a new router.
"""

import re
from sys import intern

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_SetItem
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.pythread cimport (
    NOWAIT_LOCK,
    WAIT_LOCK,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_get_thread_ident,
    PyThread_release_lock,
)
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.limits cimport INT_MAX, INT_MIN
from libc.stdint cimport INT64_MIN, int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy, memmove, memset

cimport cython

cdef extern from "routing/hosts.h":
    enum:
        HOST_ROOM
    Py_ssize_t write_host(const unsigned char* text, Py_ssize_t length, char* out) noexcept

cdef extern from "routing/router_scan.h":
    bint fg_plain_path(const unsigned char*, Py_ssize_t) noexcept
    bint fg_equal(const unsigned char*, const unsigned char*, size_t) noexcept

cdef extern from "Python.h":
    str PyUnicode_New(Py_ssize_t, Py_UCS4)
    void* PyUnicode_DATA(object) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(object) noexcept
    PyObject* PyList_GET_ITEM(object, Py_ssize_t) noexcept  # borrowed
    PyObject* PyTuple_GET_ITEM(object, Py_ssize_t) noexcept

cdef enum:
    METHOD_GET = 0
    METHOD_HEAD = 1
    METHOD_ANY = 63              # the bit of every method that no route names

STANDARD_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
cdef frozenset IMPLIED_METHODS = frozenset(STANDARD_METHODS[:7])

include "router_path.pxi"
include "router_pattern.pxi"
include "router_tree.pxi"
include "router_conditions.pxi"


cdef inline int method_number(Index* index, const char* name, Py_ssize_t length) noexcept:
    """The bit of a method in a candidate's set; METHOD_ANY for one that no route names."""
    cdef int i
    for i in range(index.method_count):
        if index.methods[i].length == length and memcmp(index.methods[i].name, name, length) == 0:
            return i
    return METHOD_ANY


cdef int ensure_method(Index* index, str name) except -1:
    cdef bytes encoded = name.encode()
    cdef int number = method_number(index, encoded, len(encoded))
    if number < METHOD_ANY:
        return number
    number = index.method_count
    if number == METHOD_ANY:
        raise ValueError(f"methods: {name!r}: a router knows at most {METHOD_ANY} different methods")
    index.methods[number].name = copy_bytes(index, encoded)
    index.methods[number].length = len(encoded)
    index.method_count += 1
    return number


cdef void prepare_search(Search* search, Query* query, Found* found) noexcept:
    search.path = <const unsigned char*>query.path
    search.length = query.path_length
    search.escaped = memchr(query.path, c"%", query.path_length) != NULL
    search.collect = False
    search.method_only = False
    search.any_method = False
    search.methods = 0
    search.best = INT64_MIN
    search.hit = NULL
    search.query = query
    search.found = found


cdef int search_index(Search* search, Index* index) except -1:
    if index.host_count and search.query.host != NULL:
        search_hosts(search, index)
    search_tree(search, index.anywhere)
    return 0


@cython.final
cdef class Entry:
    """A route as it was added: what ``Router.routes()`` lists and ``find`` returns."""

    cdef dict parameters(self, const char* path, Found* found):
        """The percent-decoded parameters of a match of this route; named groups that took no part are left out."""
        cdef dict params = {}
        cdef int i
        for i in range(found.captures):
            if found.capture[i].start != ABSENT:
                params[self.params[i]] = decode_capture(path, found.capture[i])
        return params

    def __repr__(self):
        return f"<Entry {self.name or ''} {self.path!r}>"


cdef dict params_of(Match match):
    cdef dict params = {}
    cdef const char* path
    cdef tuple names
    cdef int i
    if match._captures:
        path = <const char*>PyUnicode_DATA(match._path)  # normal form, thus ASCII
        names = match.route.params
        for i in range(match._captures):
            if match._capture[i].start != ABSENT:
                PyDict_SetItem(params, <object>PyTuple_GET_ITEM(names, i), decode_capture(path, match._capture[i]))
    return params


@cython.final
@cython.no_gc
@cython.freelist(16)
cdef class Match:
    """The route that takes a request. Parameters are decoded when they are first asked for."""

    # Not tracked by the cycle collector, like re.Match: tracking cost a tenth of a match.

    @property
    def value(self):
        """What was given to ``Router.add``."""
        return self.route.value

    @property
    def name(self):
        """The name of the route, or None."""
        return self.route.name

    @property
    def params(self):
        """The parameters of the path by name, percent-decoded; the same dict each time."""
        if self._params is None:
            self._params = params_of(self)
        return self._params

    def __repr__(self):
        return f"<Match {self.name or ''} {self.route.path!r} {self.params!r}>"


cdef int python_field(
    void* context, const char* name, Py_ssize_t length, int* at, const char** value, Py_ssize_t* value_length
) noexcept:
    cdef object fields = <object>context
    cdef PyObject* pair
    cdef PyObject* key
    cdef PyObject* content
    cdef Py_ssize_t i
    for i in range(at[0], PyList_GET_SIZE(fields)):
        pair = PyList_GET_ITEM(fields, i)
        key = PyTuple_GET_ITEM(<object>pair, 0)
        if PyBytes_GET_SIZE(<object>key) == length and memcmp(PyBytes_AS_STRING(<object>key), name, length) == 0:
            content = PyTuple_GET_ITEM(<object>pair, 1)
            value[0] = PyBytes_AS_STRING(<object>content)
            value_length[0] = PyBytes_GET_SIZE(<object>content)
            at[0] = <int>i + 1
            return 1
    return 0


cdef list field_list(object headers):
    """Header fields given as a mapping or as pairs, as the callback above reads them."""
    pairs = headers.items() if hasattr(headers, "items") else headers
    return [(name.lower().encode("latin-1"), value.strip(" \t").encode("latin-1", "replace")) for name, value in pairs]


cdef str query_text(object query):
    """A query given as text or as a mapping, as text without ``?``."""
    if isinstance(query, str):
        return query
    pairs = query.items() if hasattr(query, "items") else query
    return "&".join(
        "=".join("".join(f"%{byte:02X}" for byte in str(part).encode()) for part in pair) for pair in pairs
    )


cdef Conditions* compile_conditions(Index* index, tuple headers, tuple queries, list kept) except? NULL:
    """The conditions as the search reads them; ``kept`` holds the references to compiled regular expressions."""
    cdef Conditions* conditions
    cdef Condition* condition
    cdef bytes text
    cdef Py_ssize_t count = len(headers) + len(queries)
    if count == 0:
        return NULL
    conditions = <Conditions*>allocate(index, sizeof(Conditions) + (count - 1) * sizeof(Condition), 8)
    conditions.headers = <int>len(headers)
    conditions.queries = <int>len(queries)
    condition = conditions.items
    for name, value, fullmatch in headers + queries:
        text = name.encode()
        condition.name = copy_bytes(index, text)
        condition.name_length = len(text)
        text = value.encode()
        condition.value = copy_bytes(index, text)
        condition.value_length = len(text)
        condition.kind = PRESENT if value == "*" else EQUAL
        if fullmatch is not None:
            kept.append(fullmatch)
            condition.kind = REGEX
            condition.fullmatch = <PyObject*>fullmatch
        condition += 1
    if headers:
        index.header_conditions = True
    return conditions


cdef Node* place_pattern(Index* index, Tree* tree, list literals, int priority) except NULL:
    cdef Node** slot = &tree.root
    cdef Node* node = NULL
    cdef bytes text
    for literal in literals:
        text = literal.encode()
        node = place(index, slot, text, len(text), priority)
        slot = &node.parameter
    return node


cdef Extra* extra_of(Index* index, Node* node) except NULL:
    if node.extra == NULL:
        node.extra = <Extra*>allocate(index, sizeof(Extra), 8)
    return node.extra


cdef int insert_route(Index* index, Tree* tree, _Pattern pattern, Candidate* candidate) except -1:
    cdef int priority = candidate.priority
    cdef list literals = pattern.literals
    cdef str final
    cdef Node* node
    tree.best = max(tree.best, priority)
    if pattern.regex is not None:
        return insert_candidate(index, &tree.regexes, candidate)
    if pattern.end == PREFIX and literals != ["/"]:
        final = literals[len(literals) - 1]
        node = place_pattern(index, tree, literals[: len(literals) - 1] + [final[: len(final) - 1]], priority)
        insert_candidate(index, &extra_of(index, node).bare, candidate)
    node = place_pattern(index, tree, literals, priority)
    if pattern.end == WHOLE:
        return insert_candidate(index, &node.leaf, candidate)
    return insert_candidate(index, &extra_of(index, node).rest, candidate)


cdef object fill_query(Query* request, Index* index, str host, object headers, object query):
    """Points the request at what the caller gave beside method and path; returns what must be kept alive for it."""
    cdef list fields = None
    cdef str text = None
    if host is not None:
        request.host = PyUnicode_AsUTF8AndSize(host, &request.host_length)
    if headers is not None and index.header_conditions:
        fields = field_list(headers)
        request.header = python_field
        request.header_context = <void*>fields
    if query is not None:
        text = query_text(query)
        request.query = PyUnicode_AsUTF8AndSize(text, &request.query_length)
    return None if fields is None and text is None else (fields, text)


@cython.final
cdef class Router:
    """Maps method, host, path, header fields and query of a request to the most specific route.

    ``merge_slashes``: whether ``//`` in the path of a request is one slash.
    """

    def __cinit__(self, *, bint merge_slashes=True):
        self.merge_slashes = merge_slashes
        self._entries = []
        self._kept = []
        cdef Index* index = <Index*>malloc(sizeof(Index))
        if index == NULL:
            raise MemoryError
        memset(index, 0, sizeof(Index))
        self._index = index
        index.anywhere = new_tree(index)
        for method in STANDARD_METHODS:
            ensure_method(index, method)

    def __dealloc__(self):
        cdef Block* block
        cdef Block* previous
        if self._lock != NULL:
            PyThread_free_lock(self._lock)
        if self._index == NULL:
            return
        block = self._index.block
        while block != NULL:
            previous = block.previous
            free(block)
            block = previous
        free(self._index)

    def __len__(self):
        return len(self._entries)

    def __repr__(self):
        return f"<Router with {len(self._entries)} routes>"

    def routes(self):
        """The routes in the order in which they were added."""
        return list(self._entries)

    def add(
        self, str path not None, value, *, methods=None, hosts=None, headers=None, query=None, priority=0, str name=None
    ):
        """Adds a route that answers ``value``.

        ``path`` is ``/exact``, ``/users/{id}`` (one non-empty segment), ``/files/{path*}`` (the rest, may be empty),
        ``/api/*`` (a prefix on a segment border, ``/api`` too) or ``~regex`` (of the whole path; its named groups
        are parameters). ``methods``: default all; GET implies HEAD. ``hosts``: names or ``*.suffix``. ``headers``
        and ``query``: name → a value, ``*`` (present) or ``~regex`` (of the whole value); all must hold. Regular
        expressions are RE2's. Raises ValueError, before anything is changed, when one of them is malformed.
        """
        cdef _Pattern pattern = _Pattern.parse(path, self.merge_slashes)
        cdef Entry entry = Entry.__new__(Entry)
        cdef tuple header_items = () if headers is None else checked_conditions(headers, "headers", True)
        cdef tuple query_items = () if query is None else checked_conditions(query, "query", False)
        cdef bint entered
        entry.value = value
        entry.name = name
        entry.path = path
        entry.params = tuple([intern(parameter) for parameter in pattern.names])
        entry.methods = None if methods is None else checked_methods(methods)
        entry.hosts = None if hosts is None else checked_hosts(hosts)
        entry.headers = {key: wanted for key, wanted, _ in header_items}
        entry.query = {key: wanted for key, wanted, _ in query_items}
        if not INT_MIN <= priority <= INT_MAX:
            raise ValueError(f"priority {priority} does not fit 32 bits")
        entry.priority = priority
        if pattern.regex is not None:
            entry.fullmatch = pattern.regex.fullmatch
            entry.prefix = pattern.regex.prefix
            entry.capture = None if pattern.captures is None else pattern.captures.fullmatch
        if self._lock == NULL and (pattern.regex is not None or any(
                [fullmatch is not None for _, _, fullmatch in header_items + query_items])):
            self._lock = PyThread_allocate_lock()
            if self._lock == NULL:
                raise MemoryError
        entered = self.enter()
        if self._lock != NULL and not entered:
            raise RuntimeError("a route cannot be added while a search of the same thread is under way")
        try:
            self.insert(entry, pattern, header_items, query_items)
        finally:
            self.leave(entered)

    cdef int insert(self, Entry entry, object pattern, tuple header_items, tuple query_items) except -1:
        """Puts a route that has been checked into the trees of its hosts."""
        cdef Index* index = self._index
        cdef Candidate candidate
        candidate.methods = ~<uint64_t>0
        if entry.methods is not None:
            candidate.methods = 0
            for method in entry.methods:
                candidate.methods |= <uint64_t>1 << ensure_method(index, method)
            if candidate.methods & (1 << METHOD_GET):
                candidate.methods |= 1 << METHOD_HEAD
        candidate.conditions = compile_conditions(index, header_items, query_items, self._kept)
        candidate.entry = <PyObject*>entry
        candidate.priority = entry.priority
        candidate.captures = <unsigned short>len(entry.params)
        candidate.detail = <unsigned short>(
            ((entry.methods is not None) << 14) | (len(header_items) << 7) | len(query_items)
        )
        self._entries.append(entry)
        if entry.hosts is None:
            insert_route(index, index.anywhere, pattern, &candidate)
        else:
            for host in entry.hosts:
                insert_route(index, ensure_host(index, host.removeprefix("*").encode()), pattern, &candidate)

    cdef bint enter(self) noexcept:
        """Begins a search or an addition, alone where there are regular expressions. False: it was begun already."""
        cdef unsigned long thread
        if self._lock == NULL:
            return False
        thread = PyThread_get_thread_ident()
        if self._owner == thread:  # by a signal's handler or a finalizer
            return False
        if not PyThread_acquire_lock(self._lock, NOWAIT_LOCK):
            with nogil:
                PyThread_acquire_lock(self._lock, WAIT_LOCK)
        self._owner = thread
        return True

    cdef void leave(self, bint entered) noexcept:
        """Ends what `enter` began."""
        if entered:
            self._owner = 0
            PyThread_release_lock(self._lock)

    cdef Entry find(self, Query* query, Found* found):
        """The best route for a request, or None. Creates no Python object unless a regular expression is tried."""
        cdef Search search
        cdef bint entered = self.enter()
        prepare_search(&search, query, found)
        search.method = <uint64_t>1 << method_number(self._index, query.method, query.method_length)
        try:
            search_index(&search, self._index)
        finally:
            self.leave(entered)
        if search.hit == NULL:
            found.captures = 0
            found.method_only = search.method_only
            return None
        found.captures = search.hit.captures  # without the rest that "/*" took
        found.method_only = False
        return <Entry>search.hit.entry

    cdef set allow(self, Query* query):
        """The methods with which the request would match, whatever ``query.method`` is; empty: no path fits."""
        cdef Search search
        cdef Found found
        cdef Index* index = self._index
        cdef set names = set()
        cdef int i
        cdef bint entered = self.enter()
        prepare_search(&search, query, &found)
        search.method = 0
        search.collect = True
        try:
            search_index(&search, index)
        finally:
            self.leave(entered)
        if search.any_method:
            names.update(IMPLIED_METHODS)
        for i in range(index.method_count):
            if search.methods >> i & 1:
                names.add(index.methods[i].name[: index.methods[i].length].decode())
        return names

    def match(self, str method not None, str path not None, *, str host=None, headers=None, query=None):
        """The most specific route for a request, or None.

        ``path`` is percent-encoded as on the wire, without query; it is brought to its normal form first, and one
        that must be refused (see ``normalize_path``) matches nothing. Characters outside visible ASCII stand for
        their percent-encoded UTF-8. ``headers`` is a mapping or pairs, ``query`` a mapping, pairs or text without
        ``?``.
        """
        cdef Query request
        cdef Found found
        cdef Match match
        cdef Entry entry
        cdef object _kept
        cdef int i
        request.method = PyUnicode_AsUTF8AndSize(method, &request.method_length)
        path = normal_text(path, self.merge_slashes)
        if path is None:
            return None
        request.path = <const char*>PyUnicode_DATA(path)  # normal form, thus ASCII
        request.path_length = PyUnicode_GET_LENGTH(path)
        request.host = NULL
        request.query = NULL
        request.header = NULL
        if host is not None or headers is not None or query is not None:
            _kept = fill_query(&request, self._index, host, headers, query)
        entry = self.find(&request, &found)
        if entry is None:
            return None
        match = Match.__new__(Match)
        match.route = entry
        match._path = path
        if found.captures <= MATCH_CAPTURES:
            match._captures = found.captures
            for i in range(found.captures):
                match._capture[i] = found.capture[i]
        else:
            match._params = entry.parameters(request.path, &found)
        return match

    def allowed(self, str path not None, *, str host=None, headers=None, query=None):
        """The methods with which ``match`` would find a route, for ``Allow`` (RFC 9110 §10.2.1); empty: none.

        A route without ``methods`` allows GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS.
        """
        cdef Query request
        path = normal_text(path, self.merge_slashes)
        if path is None:
            return set()
        request.path = <const char*>PyUnicode_DATA(path)  # normal form, thus ASCII
        request.path_length = PyUnicode_GET_LENGTH(path)
        request.host = NULL
        request.query = NULL
        request.header = NULL
        if host is not None or headers is not None or query is not None:
            _kept = fill_query(&request, self._index, host, headers, query)
        return self.allow(&request)


cdef str normal_text(str path, bint merge_slashes, bint encoded_backslash=False):
    """The normal form of a path given from Python; None when it is refused."""
    cdef Py_ssize_t length, size
    cdef const char* text
    cdef bytes target
    cdef int verdict
    if path.isascii():
        if inspect_path(<const unsigned char*>PyUnicode_DATA(path), PyUnicode_GET_LENGTH(path), merge_slashes) == 0:
            return path
    path = escape_unwritable(path)
    text = PyUnicode_AsUTF8AndSize(path, &length)
    target = PyBytes_FromStringAndSize(NULL, length)
    verdict = normalize_path(
        <const unsigned char*>text, length, <unsigned char*>PyBytes_AS_STRING(target), merge_slashes, &size
    )
    if verdict < 0 or (verdict & HAS_BACKSLASH and not encoded_backslash):
        return None
    return target[:size].decode("ascii") if verdict & CHANGED else path


def normalized(str path not None, *, bint merge_slashes=True, bint encoded_backslash=False):
    """The normal form of a percent-encoded path as ``Router`` matches it; ValueError when it must be refused."""
    cdef str result = normal_text(path, merge_slashes, encoded_backslash)
    if result is None:
        raise ValueError(f"refused path {path!r}")
    return result
