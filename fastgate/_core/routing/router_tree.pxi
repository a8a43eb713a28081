# The trees: where routes lie, and the walk that finds the best of them.

cdef enum:
    INLINE_TEXT = 20
    BLOCK_BYTES = 65536
    LINE = 64
    SHORT_PATH = 128             # bytes; in longer ones groups are looked for once it is known that they match

cdef enum Kind:
    PRESENT
    EQUAL
    REGEX

cdef struct Condition:
    Kind kind
    const char* name
    Py_ssize_t name_length
    const char* value
    Py_ssize_t value_length
    PyObject* fullmatch

cdef struct Conditions:
    int headers
    int queries
    Condition items[1]           # headers, then queries

cdef struct Candidate:
    uint64_t methods
    Conditions* conditions       # NULL: none
    PyObject* entry              # owned by Router._entries
    int priority
    unsigned short detail        # methods given, header conditions, query conditions: more is more specific
    unsigned short captures

cdef struct Leaf:                # candidates of one pattern, best first
    int count
    int capacity
    Candidate items[1]

cdef struct Extra:
    Leaf* rest                   # {name*} and /* after the slash that ends the node
    Leaf* bare                   # the pattern "/api/*" on the path "/api"

cdef struct Node:                # one cache line
    unsigned short length        # of the literal
    unsigned short count         # literal children
    int best                     # the highest priority here or below
    unsigned char text[INLINE_TEXT]
    unsigned char capacity       # index into CAPACITIES
    unsigned char is_far         # the literal is longer than text; its address is kept there
    unsigned char[2] unused
    void* children               # count 1: the child itself; else first bytes, then the addresses in the same order
    Node* parameter
    Leaf* leaf
    Extra* extra

cdef struct Tree:                # the routes of one host pattern
    Node* root
    Leaf* regexes
    int best

cdef struct Block:
    Block* previous
    size_t size
    size_t used

cdef struct HostSlot:
    unsigned int hash
    unsigned int length
    const char* name
    Tree* tree

cdef struct Method:
    const char* name
    Py_ssize_t length

cdef struct Index:
    Block* block
    Tree* anywhere
    HostSlot* hosts
    size_t host_slots            # a power of two, at most half full
    size_t host_count
    bint wildcard_hosts
    bint header_conditions
    int method_count
    Method methods[METHOD_ANY]

cdef struct Search:
    const unsigned char* path
    Py_ssize_t length
    bint escaped
    bint collect                 # gather the methods of all candidates instead of choosing one
    bint method_only
    bint any_method              # with collect: a candidate accepts every method
    uint64_t method
    uint64_t methods
    int64_t best
    Candidate* hit
    Query* query
    Found* found
    Capture capture[MAX_CAPTURES + 1]  # one more for the rest that "/*" takes

cdef int[5] CAPACITIES
CAPACITIES[:] = [7, 24, 56, 120, 256]  # the first makes one cache line


cdef void* allocate(Index* index, size_t size, size_t alignment) except NULL:
    """Memory that lives as long as the index. Nodes are laid out in the order in which they are made."""
    cdef Block* block = index.block
    cdef size_t start = 0
    cdef size_t capacity
    if block != NULL:
        start = (<size_t>block + block.used + alignment - 1) // alignment * alignment - <size_t>block
    if block == NULL or start + size > block.size:
        capacity = max(<size_t>BLOCK_BYTES, sizeof(Block) + size + alignment)
        block = <Block*>malloc(capacity)
        if block == NULL:
            raise MemoryError
        block.previous = index.block
        block.size = capacity
        index.block = block
        start = (<size_t>block + sizeof(Block) + alignment - 1) // alignment * alignment - <size_t>block
    block.used = start + size
    memset(<char*>block + start, 0, size)
    return <char*>block + start


cdef const char* copy_bytes(Index* index, bytes text) except NULL:
    cdef size_t size = PyBytes_GET_SIZE(text)
    cdef char* copy = <char*>allocate(index, size + 1, 1)
    memcpy(copy, PyBytes_AS_STRING(text), size)
    return copy


cdef inline const unsigned char* text_of(const Node* node) noexcept:
    return (<const unsigned char**>node.text)[0] if node.is_far else node.text


cdef int set_text(Index* index, Node* node, const unsigned char* text, Py_ssize_t length) except -1:
    cdef unsigned char[INLINE_TEXT] near
    cdef unsigned char* far
    if length > INLINE_TEXT:
        far = <unsigned char*>allocate(index, length, 1)
        memcpy(far, text, length)
        (<unsigned char**>node.text)[0] = far
        node.is_far = 1
    else:
        memcpy(near, text, length)  # text may lie in the node itself
        memcpy(node.text, near, length)
        node.is_far = 0
    node.length = <unsigned short>length
    return 0


cdef inline size_t firsts_size(int capacity) noexcept:
    return <size_t>(capacity + 7) // 8 * 8


cdef inline Node** child_slot(Node* node, int first) noexcept:
    """Where the address of the child whose literal begins with that byte is kept; NULL when there is none."""
    cdef const unsigned char* firsts = <const unsigned char*>node.children
    cdef const unsigned char* at
    cdef int i
    if node.count > 1:
        if node.capacity == 0:
            for i in range(node.count):
                if firsts[i] == first:
                    return <Node**>(firsts + 8) + i
            return NULL
        at = <const unsigned char*>memchr(firsts, first, node.count)
        return NULL if at == NULL else <Node**>(firsts + firsts_size(CAPACITIES[node.capacity])) + (at - firsts)
    if node.count == 1 and text_of(<Node*>firsts)[0] == first:
        return <Node**>&node.children
    return NULL


cdef Node** add_child(Index* index, Node* node, int first) except NULL:
    """A new place for a child; the caller puts its address there."""
    cdef unsigned char* firsts = <unsigned char*>node.children
    cdef unsigned char* wider
    cdef Node* only
    cdef int capacity
    cdef size_t size
    if node.count == 0:
        node.count = 1
        return <Node**>&node.children
    if node.count == 1:
        only = <Node*>node.children
        firsts = <unsigned char*>allocate(index, LINE, LINE)
        firsts[0] = text_of(only)[0]
        (<Node**>(firsts + firsts_size(CAPACITIES[0])))[0] = only
        node.children = firsts
        node.capacity = 0
    elif node.count == CAPACITIES[node.capacity]:
        capacity = CAPACITIES[node.capacity + 1]
        size = firsts_size(capacity) + capacity * sizeof(Node*)
        wider = <unsigned char*>allocate(index, size, LINE)
        memcpy(wider, firsts, node.count)
        memcpy(wider + firsts_size(capacity), firsts + firsts_size(node.count), node.count * sizeof(Node*))
        firsts = wider
        node.children = firsts
        node.capacity += 1
    firsts[node.count] = <unsigned char>first
    node.count += 1
    return <Node**>(firsts + firsts_size(CAPACITIES[node.capacity])) + (node.count - 1)


cdef Node* place(Index* index, Node** slot, const unsigned char* text, Py_ssize_t length, int priority) except NULL:
    """The node at which the text ends, made by adding and splitting nodes below ``slot``."""
    cdef Node* node
    cdef Node* upper
    cdef const unsigned char* literal
    cdef Py_ssize_t common
    cdef Node** below
    while True:
        node = slot[0]
        if node == NULL:
            node = <Node*>allocate(index, sizeof(Node), LINE)
            node.best = priority
            set_text(index, node, text, length)
            slot[0] = node
            return node
        literal = text_of(node)
        common = 0
        while common < length and common < node.length and text[common] == literal[common]:
            common += 1
        if common < node.length:
            upper = <Node*>allocate(index, sizeof(Node), LINE)
            upper.best = node.best
            set_text(index, upper, literal, common)
            set_text(index, node, literal + common, node.length - common)
            upper.count = 1
            upper.children = node
            slot[0] = upper
            node = upper
        node.best = max(node.best, priority)
        if common == length:
            return node
        text += common
        length -= common
        below = child_slot(node, text[0])
        slot = below if below != NULL else add_child(index, node, text[0])


cdef int insert_candidate(Index* index, Leaf** slot, Candidate* candidate) except -1:
    """Keeps a leaf in order: priority, then detail, then the order of insertion."""
    cdef Leaf* leaf = slot[0]
    cdef Leaf* wider
    cdef int low = 0
    cdef int high, middle
    if leaf == NULL or leaf.count == leaf.capacity:
        high = 1 if leaf == NULL else leaf.capacity * 2
        wider = <Leaf*>allocate(index, sizeof(Leaf) + (high - 1) * sizeof(Candidate), 8)
        wider.capacity = high
        if leaf != NULL:
            wider.count = leaf.count
            memcpy(wider.items, leaf.items, leaf.count * sizeof(Candidate))
        slot[0] = leaf = wider
    high = leaf.count
    while low < high:
        middle = (low + high) // 2
        if (
            leaf.items[middle].priority > candidate.priority
            or (leaf.items[middle].priority == candidate.priority and leaf.items[middle].detail >= candidate.detail)
        ):
            low = middle + 1
        else:
            high = middle
    memmove(&leaf.items[low + 1], &leaf.items[low], (leaf.count - low) * sizeof(Candidate))
    leaf.items[low] = candidate[0]
    leaf.count += 1
    return 0


cdef inline void note_methods(Search* search, uint64_t methods) noexcept:
    search.method_only = True
    if methods >> METHOD_ANY:
        search.any_method = True
    else:
        search.methods |= methods


cdef inline int weigh(Search* search, Leaf* leaf) except -1:
    """Lets the candidates of a leaf that the path reached compete with the best found so far."""
    cdef int i, k
    cdef Candidate* candidate
    for i in range(leaf.count):
        candidate = &leaf.items[i]
        if candidate.priority <= search.best:
            return 0
        if candidate.methods & search.method:
            if candidate.conditions == NULL or conditions_hold(candidate.conditions, search.query):
                search.best = candidate.priority
                search.hit = candidate
                for k in range(candidate.captures):
                    search.found.capture[k] = search.capture[k]
                return 0
        elif search.collect or not search.method_only:
            if candidate.conditions == NULL or conditions_hold(candidate.conditions, search.query):
                note_methods(search, candidate.methods)
    return 0


cdef int walk(Search* search, Node* node, Py_ssize_t at, int captures) except -1:
    """Tries what lies below a node, most specific first: literal, then parameter, then rest.

    Every node is visited at most once a search, since a parameter takes exactly one segment. A subtree whose best
    priority cannot beat the match in hand is skipped; with equal priorities the first match ends the search.
    """
    cdef const unsigned char* path = search.path
    cdef Py_ssize_t length = search.length
    cdef Py_ssize_t end
    cdef Node** child
    cdef int width
    while node.best > search.best:
        if not search.escaped:
            if node.length > length - at or not fg_equal(path + at, text_of(node), node.length):
                return 0
            at += node.length
        else:
            end = consume_spelled(path + at, length - at, text_of(node), node.length)
            if end < 0:
                return 0
            at += end
        if at == length:
            if node.leaf != NULL:
                weigh(search, node.leaf)
            if node.extra != NULL:
                if node.extra.bare != NULL:
                    weigh(search, node.extra.bare)
                if node.extra.rest != NULL:
                    search.capture[captures].start = <unsigned int>at
                    search.capture[captures].length = 0
                    weigh(search, node.extra.rest)
            return 0
        child = child_slot(node, spelled(path + at, length - at, &width) if search.escaped else path[at])
        if node.parameter == NULL and node.extra == NULL:
            if child == NULL:
                return 0
            node = child[0]
            continue
        if child != NULL:
            walk(search, child[0], at, captures)
        if node.parameter != NULL and path[at] != c"/":
            end = at + 1
            while end < length and path[end] != c"/":
                end += 1
            search.capture[captures].start = <unsigned int>at
            search.capture[captures].length = <unsigned int>(end - at)
            if node.extra == NULL:
                node = node.parameter
                at = end
                captures += 1
                continue
            walk(search, node.parameter, end, captures + 1)
        if node.extra != NULL and node.extra.rest != NULL:
            search.capture[captures].start = <unsigned int>at
            search.capture[captures].length = <unsigned int>(length - at)
            weigh(search, node.extra.rest)
        return 0
    return 0


cdef int try_regexes(Search* search, Leaf* leaf) except -1:
    """Lets the regular expressions of a tree compete with the best found so far."""
    cdef int i, k
    cdef Candidate* candidate
    cdef Entry entry
    cdef bytes respelled = respell(search.path, search.length) if search.escaped else None
    cdef bytes subject = respelled
    cdef const char* path = <const char*>search.path
    cdef Py_ssize_t length = search.length
    cdef Py_ssize_t start, end
    if respelled is not None:
        path = PyBytes_AS_STRING(respelled)
        length = PyBytes_GET_SIZE(respelled)
    for i in range(leaf.count):
        candidate = &leaf.items[i]
        if candidate.priority <= search.best:
            return 0
        if not candidate.methods & search.method and search.method_only and not search.collect:
            continue
        entry = <Entry>candidate.entry
        start = PyBytes_GET_SIZE(entry.prefix)
        if start > length or memcmp(path, PyBytes_AS_STRING(entry.prefix), start) != 0:
            continue
        if candidate.conditions != NULL and not conditions_hold(candidate.conditions, search.query):
            continue
        if subject is None:
            subject = PyBytes_FromStringAndSize(path, length)
        # Groups cost time, above all in a long text that does not match in the end.
        spans = None
        if candidate.captures and length <= SHORT_PATH:
            spans = entry.capture(subject)
            if spans is None:
                continue
        elif entry.fullmatch(subject) is None:
            continue
        if not candidate.methods & search.method:
            note_methods(search, candidate.methods)
            continue
        if candidate.captures and spans is None:
            spans = entry.capture(subject)
        search.best = candidate.priority
        search.hit = candidate
        for k in range(candidate.captures):
            start, end = spans[k + 1]
            if start < 0:
                search.found.capture[k].start = ABSENT
                search.found.capture[k].length = 0
                continue
            if search.escaped:
                start = position_of(search.path, search.length, start)
                end = position_of(search.path, search.length, end)
            search.found.capture[k].start = <unsigned int>start
            search.found.capture[k].length = <unsigned int>(end - start)
        return 0
    return 0


cdef int search_tree(Search* search, Tree* tree) except -1:
    if tree.best > search.best:
        if tree.root != NULL:
            walk(search, tree.root, 0, 0)
        if tree.regexes != NULL:
            try_regexes(search, tree.regexes)
    return 0
