"""A service says who may come in: what it is asked, and by what its decisions are kept.

The service gets a GET whose X-Forwarded-* fields describe the request. They tell the path as routes see it, normalised,
so that the service decides about what is then done; and of the client's own fields only those that it is to see.

A decision is kept by the SHA-256 of those parts of a request that the configuration names, each with its length, every
field and every cookie of a name. So no credential is kept, and none can be spelled like two others. A request that has
none of the credentials named is asked about each time.
"""

from hashlib import sha256

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.auth.gate cimport WAITING, Later, Method, comparable, take_away, inquiry_of
from fastgate._core.exchange.identity cimport Identity
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.head cimport COOKIE, DROPPED, Head, normal_host
from fastgate._core.exchange.hops cimport Hops
from fastgate._core.exchange.timers cimport clock_us


cdef class ForwardMethod(Method):
    def __init__(self, ask, end, *, target, authority, send, by, cache, owned, replaced):
        self.name = "forward"
        self.ask = ask
        self.end = end
        self.line = b"GET %b HTTP/1.1\r\nHost: %b\r\n" % (target.encode("ascii"), authority.encode("ascii"))
        self.send = tuple(name.encode("ascii") for name in send)
        self.by = tuple((part, name.encode("ascii")) for part, name in by)
        self.by_credential = any(part in ("header", "cookie") for part, _ in by)
        self.cache = cache
        self.owned = tuple(name.encode("ascii") for name in owned)
        self.replaced = tuple(name.encode("ascii") for name in replaced)
        self.replaced_names = comparable(self.replaced)

    cdef int verify(self, Exchange x) except -1:
        cdef bytes key = self.key(x) if self.by else None
        cdef Identity identity = None
        if key is not None:
            identity = self.cache.find(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), clock_us() / 1e6)
        if identity is not None:
            return self.grant(x, identity)
        inquiry_of(x).pending = Later(self.ask, key, self.request(x))
        return WAITING

    cdef int grant(self, Exchange x, Identity identity) except -1:
        if self.replaced:
            take_away(x, self.replaced_names)
        if identity.client_fields:
            if x.carried is None:
                x.carried = []
            x.carried.extend(identity.client_fields)
        return Method.grant(self, x, identity)

    def close(self):
        self.end()

    cdef bytes key(self, Exchange x):
        """By what the decision is kept; None: by nothing."""
        cdef list parts = []
        cdef list found
        cdef bint credential = not self.by_credential
        cdef bytes name, each
        for part, name in self.by:
            if part == "header" or part == "cookie":
                found = values_of(x, name) if part == "header" else cookies_of(x, name)
                credential = credential or bool(found)
            elif part == "client_ip":
                if not x.client_ip:
                    # Who is not known is nobody else.
                    return None
                found = [x.client_ip]
            elif part == "method":
                found = [x.request.p[x.request.method.start:x.request.method.start + x.request.method.length]]
            elif part == "host":
                found = [normal_host(x.host, x.host_length, x.client.peer.scheme)]
            elif part == "path":
                found = [x.path[:x.path_length]]
            else:
                found = [x.query[:x.query_length]] if x.has_query else []
            parts.append(b"%d:" % len(found))
            for each in found:
                parts.append(b"%d:" % PyBytes_GET_SIZE(each))
                parts.append(each)
        return sha256(b"".join(parts)).digest() if credential else None

    cdef bytes request(self, Exchange x):
        """The head of the request that the service gets."""
        cdef Head head = x.request
        cdef bytes method = head.p[head.method.start:head.method.start + head.method.length]
        cdef bytes host = x.host[:x.host_length]
        cdef bytes uri = x.path[:x.path_length]
        cdef bytes proto = x.client.peer.scheme
        cdef bytes name, value
        cdef list parts
        if x.has_query:
            uri += b"?" + x.query[:x.query_length]
        if x.hops is not None and (<Hops>x.hops).scheme is not None:
            proto = (<Hops>x.hops).scheme
        parts = [
            self.line,
            b"X-Forwarded-Method: ", method,
            b"\r\nX-Forwarded-Proto: ", proto,
            b"\r\nX-Forwarded-Host: ", host,
            b"\r\nX-Forwarded-Uri: ", uri,
            b"\r\nX-Original-Method: ", method,
            b"\r\nX-Original-URL: ", proto, b"://", host, uri, b"\r\n",
        ]
        if x.client_ip and x.client_ip != b"unix:":
            parts += [b"X-Forwarded-For: ", x.client_ip, b"\r\n"]
        if x.runtime.request_id is not None and x.id_length:
            parts += [x.runtime.request_id, b": ", x.id[:x.id_length], b"\r\n"]
        for name in self.send:
            for value in values_of(x, name):
                parts += [name, b": ", value, b"\r\n"]
        parts.append(b"\r\n")
        return b"".join(parts)


cdef list values_of(Exchange x, bytes name):
    """Every field of a name, in the order of the wire."""
    cdef Head head = x.request
    cdef list found = []
    cdef int i = head.find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), 0)
    while i >= 0:
        found.append(head.value_of(i))
        i = head.find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), i + 1)
    return found


cdef list cookies_of(Exchange x, bytes name):
    """Every cookie of a name, as it was sent."""
    cdef Head head = x.request
    cdef list found = []
    cdef int i
    for i in range(head.count):
        if head.fields[i].id == COOKIE and not head.fields[i].flags & DROPPED:
            for pair in head.value_of(i).split(b";"):
                key, _, value = pair.partition(b"=")
                if key.strip(b" \t") == name:
                    found.append(value)
    return found
