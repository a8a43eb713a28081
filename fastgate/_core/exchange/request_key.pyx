"""Whom a request belongs to: the key of limits, hashing balancers and sticky splits, as 64 bits.

Theory of operation
-------------------
The parts of a `RequestKey` are written one behind the other, each with its length in front, and hashed with SipHash.
For limits the secret is the limit's own, which its store has made of its secret and the limit's name: every worker gets
the same number, and nobody outside can find two clients that share one. For balancers and splits it is none, and their
name stands in front, so that a client stays where it is over restarts and on every host. A part that the request does
not have counts as empty: requests without the field share one key, so that leaving a field away is no way around a
limit. Balancers and splits draw by chance for a request that has no part of the key: they would send all of these to
one target.

An IPv6 client is known by its first 64 bits, which is what a network gives to one customer.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memset

from fastgate._core.exchange.identity cimport Identity
from fastgate._core.memory.buffer cimport Buffer, put, put_bytes
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.memory.hashing cimport siphash
from fastgate._core.exchange.head cimport COOKIE, DROPPED, Head
from fastgate._core.routing.router cimport ABSENT

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET6
    int inet_pton(int family, const char* text, void* address)


_KEY_PARTS = {
    "global": KEY_NOTHING, "route": KEY_NOTHING, "client_ip": KEY_CLIENT_IP, "header": KEY_HEADER, "cookie": KEY_COOKIE,
    "param": KEY_PARAMETER, "key": KEY_IDENTITY, "claim": KEY_CLAIM,
}


cdef class RequestKey:
    """What tells requests apart: "client_ip", "route", "global", "header:NAME", "cookie:NAME", "param:NAME",
    "key" (who was authenticated), "claim:NAME", or several of them together.
    """

    def __init__(self, words):
        parts = []
        for word in (words,) if isinstance(words, str) else words:
            kind, _, name = word.partition(":")
            kind = _KEY_PARTS[kind]
            if kind == KEY_HEADER:
                name = name.lower()
            parts.append((kind, name if kind in (KEY_PARAMETER, KEY_CLAIM) else name.encode("latin-1")))
        self.parts = tuple(parts)
        self.kind = self.parts[0][0] if len(self.parts) == 1 else KEY_SEVERAL
        self.name = self.parts[0][1] if len(self.parts) == 1 else None


cdef unsigned char[16] NO_SECRET
memset(NO_SECRET, 0, 16)


cdef bint find_key(Exchange x, RequestKey key, const unsigned char* secret, uint64_t* found) except -1:
    """The key of a request under a limit, which has a secret of its own. False: the request has nothing of what the key
    is made of.
    """
    return hash_key(x, key, None, secret, found)


cdef bint find_steady_key(Exchange x, RequestKey key, bytes identity, uint64_t* found) except -1:
    """The same for a choice that has to be the same tomorrow and on another host."""
    return hash_key(x, key, identity, NO_SECRET, found)


cdef bint hash_key(
    Exchange x, RequestKey key, bytes identity, const unsigned char* secret, uint64_t* found
) except -1:
    cdef Buffer* buffer = &x.engine.buffer
    cdef bint present = False
    buffer.length = 0
    if identity is not None:
        put_bytes(buffer, identity)
    if key.kind != KEY_SEVERAL:
        present = put_part(x, key.kind, key.name, buffer)
    else:
        for kind, name in key.parts:
            if put_part(x, kind, name, buffer):
                present = True
    found[0] = siphash(secret, buffer.data, buffer.length)
    return present


cdef bint put_part(Exchange x, int kind, object name, Buffer* buffer) except -1:
    cdef Head head = x.request
    cdef const unsigned char* value = NULL
    cdef Py_ssize_t length = 0
    cdef uint64_t[2] address
    cdef uint32_t size
    cdef bytes owner
    cdef int i
    if kind == KEY_NOTHING:
        return True
    if kind == KEY_CLIENT_IP:
        # Clients that are not known count together, as the peer that they come from.
        owner = x.client_ip if x.client_ip else x.client.peer.address
        value = <const unsigned char*>PyBytes_AS_STRING(owner)
        length = PyBytes_GET_SIZE(owner)
        if memchr(value, b":", length) != NULL and inet_pton(AF_INET6, <const char*>value, &address) == 1:
            value = <const unsigned char*>&address
            length = 8
    elif kind == KEY_HEADER:
        i = head.find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), 0)
        if i >= 0:
            value = head.p + head.fields[i].value
            length = head.fields[i].value_length
    elif kind == KEY_COOKIE:
        value = find_cookie(head, name, 0, &length)
    elif kind == KEY_PARAMETER:
        if x.entry is not None and name in x.entry.params:
            i = x.entry.params.index(name)
            if x.found.capture[i].start != ABSENT:
                value = x.path + x.found.capture[i].start
                length = x.found.capture[i].length
    elif isinstance(x.identity, Identity):
        owner = (<Identity>x.identity).key if kind == KEY_IDENTITY else (<Identity>x.identity).claim(name)
        if owner is not None:
            value = <const unsigned char*>PyBytes_AS_STRING(owner)
            length = PyBytes_GET_SIZE(owner)
    size = <uint32_t>length
    put(buffer, &size, sizeof(size))
    if value == NULL:
        return False
    put(buffer, value, length)
    return True


cdef const unsigned char* find_cookie(Head head, bytes name, int skip, Py_ssize_t* length) noexcept:
    """The value of a cookie (RFC 6265 section 4.2.1), as it was sent; the one behind so many of its name.

    White space around a name is passed over, as most servers do: a second one must not be hidden by it.
    """
    cdef Py_ssize_t wanted = PyBytes_GET_SIZE(name)
    cdef const unsigned char* p
    cdef const unsigned char* end
    cdef const unsigned char* stop
    cdef int i
    for i in range(head.count):
        if head.fields[i].id != COOKIE or head.fields[i].flags & DROPPED:
            continue
        p = head.p + head.fields[i].value
        end = p + head.fields[i].value_length
        while p < end:
            while p < end and (p[0] == b" " or p[0] == b"\t" or p[0] == b";"):
                p += 1
            stop = <const unsigned char*>memchr(p, b";", end - p) if p < end else NULL
            if stop == NULL:
                stop = end
            if stop - p > wanted and memcmp(p, PyBytes_AS_STRING(name), wanted) == 0:
                p += wanted
                while p < stop and (p[0] == b" " or p[0] == b"\t"):
                    p += 1
                if p < stop and p[0] == b"=":
                    if skip == 0:
                        length[0] = stop - p - 1
                        return p + 1
                    skip -= 1
            p = stop
    return NULL
