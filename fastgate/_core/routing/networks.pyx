"""Which network an address is in: a trie of prefixes, asked for each connection or request.

Theory of operation
-------------------
A path-compressed binary trie (D. R. Morrison's PATRICIA) for each family. A node holds a whole prefix and has two
children, by the first bit after it; nodes that are no network stand only where two of them part. A search goes down
from the root, remembers the last network that it passed, which is the longest one, and ends where a prefix does not
fit. So it looks at no more nodes than the address has bits, and with few networks at two or three. The nodes lie in one
array and name each other by position; position 0 is a root, so that it can stand for "none".

An IPv4 address and its IPv4-mapped IPv6 form (RFC 4291 section 2.5.5.2) are the same address, an IPv4 one. A network of
IPv6 that is wider than the mapped range, ``::/0`` say, has no IPv4 address in it. A zone (``fe80::1%eth0``) is ignored.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcpy, strlen

from collections.abc import Mapping

cdef extern from "arpa/inet.h" nogil:
    int inet_pton(int family, const char* text, void* address)
    const char* inet_ntop(int family, const void* address, char* text, unsigned int size)

cdef extern from "sys/socket.h" nogil:
    enum:
        AF_INET
        AF_INET6

cdef extern from * nogil:
    int __builtin_clzll(unsigned long long)

cdef enum:
    LONGEST_TEXT = 46          # INET6_ADDRSTRLEN


cdef inline uint64_t from_network(const unsigned char* raw) noexcept nogil:
    """Eight bytes, the most significant first."""
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value = value << 8 | raw[i]
    return value


cdef inline uint64_t mask(int bits) noexcept nogil:
    """The first so many of 64 bits."""
    return 0 if bits <= 0 else <uint64_t>-1 if bits >= 64 else ~((<uint64_t>-1) >> bits)


cdef inline int bit_at(uint64_t high, uint64_t low, int position) noexcept nogil:
    return (high >> (63 - position) & 1) if position < 64 else (low >> (127 - position) & 1)


cdef inline int common_bits(uint64_t high, uint64_t low, Node* node) noexcept nogil:
    """How many bits are the same from the left."""
    if high != node.high:
        return __builtin_clzll(high ^ node.high)
    if low != node.low:
        return 64 + __builtin_clzll(low ^ node.low)
    return 128


cdef int parse(const char* text, uint64_t* high, uint64_t* low) noexcept nogil:
    """An address, the bits of an IPv4 one on the left of ``high``. 0: IPv4, 1: IPv6, -1: none."""
    cdef unsigned char raw[16]
    cdef char copy[LONGEST_TEXT]
    cdef Py_ssize_t length = strlen(text)
    cdef const char* zone = <const char*>memchr(text, b"%", length)
    if zone != NULL:
        length = zone - text
        if length >= LONGEST_TEXT or zone[1] == 0 or memchr(text, b":", length) == NULL:
            return -1
        memcpy(copy, text, length)
        copy[length] = 0
        text = copy
    low[0] = 0
    if memchr(text, b":", length) == NULL:
        if inet_pton(AF_INET, text, raw) != 1:
            return -1
        high[0] = <uint64_t>raw[0] << 56 | <uint64_t>raw[1] << 48 | <uint64_t>raw[2] << 40 | <uint64_t>raw[3] << 32
        return 0
    if inet_pton(AF_INET6, text, raw) != 1:
        return -1
    high[0] = from_network(raw)
    low[0] = from_network(raw + 8)
    if high[0] == 0 and low[0] >> 32 == 0xFFFF:
        high[0] = low[0] << 32
        low[0] = 0
        return 0
    return 1


cdef bytes normal_address(bytes text):
    """The one form of an address that everything compares, counts and writes; None: it is none.

    IPv4 where it is an IPv4-mapped address of IPv6, without a zone, as inet_ntop writes it.
    """
    cdef uint64_t high = 0
    cdef uint64_t low = 0
    cdef unsigned char raw[16]
    cdef char shown[LONGEST_TEXT]
    cdef int i
    cdef int family
    if PyBytes_GET_SIZE(text) != <Py_ssize_t>strlen(PyBytes_AS_STRING(text)):
        return None
    family = parse(PyBytes_AS_STRING(text), &high, &low)
    if family < 0:
        return None
    for i in range(8):
        raw[i] = <unsigned char>(high >> (56 - 8 * i) & 255)
        raw[8 + i] = <unsigned char>(low >> (56 - 8 * i) & 255)
    if inet_ntop(AF_INET if family == 0 else AF_INET6, raw, shown, LONGEST_TEXT) == NULL:
        return None
    return shown


cdef class Networks:
    def __cinit__(self):
        self.nodes = NULL
        self.count = self.capacity = 0

    def __init__(self, networks=()):
        self.new_node(0, 0, 0, NOWHERE)
        self.new_node(0, 0, 0, NOWHERE)
        if isinstance(networks, Mapping):
            for network, mark in networks.items():
                self.add(network, mark)
        else:
            for network in networks:
                self.add(network, 1)

    def __dealloc__(self):
        free(self.nodes)

    cdef int new_node(self, uint64_t high, uint64_t low, int length, int mark) except -1:
        cdef Node* room
        cdef Node* node
        if self.count == self.capacity:
            room = <Node*>realloc(self.nodes, (self.capacity * 2 + 4) * sizeof(Node))
            if room == NULL:
                raise MemoryError
            self.nodes = room
            self.capacity = self.capacity * 2 + 4
        node = &self.nodes[self.count]
        node.high = high
        node.low = low
        node.length = length
        node.mark = mark
        node.child[0] = node.child[1] = 0
        self.count += 1
        return self.count - 1

    cdef int add(self, str network, int mark) except -1:
        cdef uint64_t high = 0
        cdef uint64_t low = 0
        cdef int at, below, shared, side, made, length
        cdef Node* node
        address, slash, prefix = network.partition("/")
        encoded = address.encode()
        at = parse(encoded, &high, &low) if b"\0" not in encoded and b"%" not in encoded else -1
        bits = 128 if ":" in address else 32
        if at < 0 or mark < 0 or (slash and not (prefix.isascii() and prefix.isdecimal() and int(prefix) <= bits)):
            raise ValueError(f'"{network}" is not a valid network')
        length = int(prefix) if slash else bits
        if at == 0 and bits == 128:
            if length < 96:
                # As it is written it lies in the mapped range, but it is wider than that.
                at, high, low = 1, 0, 0xFFFF00000000 | high >> 32
            else:
                length -= 96
        high &= mask(length)
        low &= mask(length - 64)
        while True:
            node = &self.nodes[at]
            if node.length == length:
                node.mark = mark
                return 0
            side = bit_at(high, low, node.length)
            below = node.child[side]
            if below == 0:
                made = self.new_node(high, low, length, mark)
                self.nodes[at].child[side] = made
                return 0
            shared = min(common_bits(high, low, &self.nodes[below]), self.nodes[below].length, length)
            if shared == self.nodes[below].length:
                at = below
                continue
            made = self.new_node(
                high & mask(shared), low & mask(shared - 64), shared, mark if shared == length else NOWHERE
            )
            self.nodes[at].child[side] = made
            self.nodes[made].child[bit_at(self.nodes[below].high, self.nodes[below].low, shared)] = below
            if shared == length:
                return 0
            at = made

    cdef int find(self, const char* address) noexcept:
        """The mark of the longest network with that address in it; NOWHERE, also for what is no address."""
        cdef uint64_t high = 0
        cdef uint64_t low = 0
        cdef int mark = NOWHERE
        cdef int at = parse(address, &high, &low)
        cdef int bits
        cdef Node* node
        if at < 0:
            return NOWHERE
        bits = 32 if at == 0 else 128
        node = &self.nodes[at]
        while common_bits(high, low, node) >= node.length:
            if node.mark != NOWHERE:
                mark = node.mark
            if node.length == bits:
                break
            at = node.child[bit_at(high, low, node.length)]
            if at == 0:
                break
            node = &self.nodes[at]
        return mark

    def get(self, str address not None):
        """The mark of the most specific network with that address in it; None where there is none."""
        cdef bytes text = address.encode("utf-8", "surrogatepass")
        cdef int mark = self.find(PyBytes_AS_STRING(text)) if b"\0" not in text else NOWHERE
        return None if mark == NOWHERE else mark

    def __contains__(self, address):
        return isinstance(address, str) and self.get(address) is not None

    def __bool__(self):
        return self.count > 2 or self.nodes[0].mark != NOWHERE or self.nodes[1].mark != NOWHERE
