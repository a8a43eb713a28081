"""The fields of a request as the upstream gets them, whatever its wire: the client's spans without what ends here, and
what the gateway says.

They are put as lines, each ``name: value`` with CRLF, without method, target and host, and without what a wire says of
its own: how the body ends, and what is about the connection.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t

from fastgate._core.memory.buffer cimport Buffer, put, put_bytes, put_number
from fastgate._core.exchange.exchange cimport Exchange, Peer
from fastgate._core.exchange.head cimport (
    DROPPED,
    FORWARDED,
    RULED,
    X_FORWARDED_FOR,
    X_FORWARDED_PORT,
    X_REAL_IP,
    Field,
    Head,
    put_via,
    same_variable,
)
from fastgate._core.exchange.hops cimport Hops
from fastgate._core.exchange.route cimport (
    OWN_FORWARDED,
    OWN_FORWARDED_FOR,
    OWN_FORWARDED_HOST,
    OWN_FORWARDED_PORT,
    OWN_FORWARDED_PROTO,
    OWN_HOST,
    OWN_REQUEST_ID,
    OWN_VIA,
    Runtime,
)


cdef int put_request_fields(Exchange x, Buffer* buffer) except -1:
    cdef Head head = x.request
    cdef Peer peer = x.client.peer
    cdef Runtime runtime = x.runtime
    cdef Field* field
    cdef Py_ssize_t begin = -1
    cdef bint trusted = peer.trusted
    cdef Hops hops = <Hops>x.hops
    cdef bytes name, value
    cdef bytes id_name = runtime.request_id_variable
    cdef uint32_t withheld = x.request_withheld
    cdef int i
    cdef bint skip
    cdef bint tells_real_ip = False
    # neighbours in one go
    for i in range(head.count):
        field = &head.fields[i]
        skip = field.flags & (DROPPED | RULED)
        if not skip and X_FORWARDED_FOR <= field.id <= FORWARDED:
            skip = not trusted or field.id <= X_FORWARDED_PORT or (
                field.id == FORWARDED and (hops is None or not hops.keeps_forwarded)
            )
            if trusted and field.id == X_REAL_IP and hops is not None and hops.nodes is not None:
                # Another form of the same, of which not every proxy knows whether to believe it.
                skip = tells_real_ip = True
        elif not skip and runtime.request_id is not None and field.name_length == PyBytes_GET_SIZE(id_name):
            skip = same_variable(
                head.p + field.name, field.name_length, PyBytes_AS_STRING(id_name), field.name_length
            )
        if skip:
            if begin >= 0:
                put(buffer, head.p + begin, field.name - begin)
                begin = -1
        elif begin < 0:
            begin = field.name
    if begin >= 0:
        put(buffer, head.p + begin, head.length - 2 - begin)
    # where the request comes from
    if hops is not None:
        put_hops(x, hops, buffer)
        if tells_real_ip and x.client_ip:
            put(buffer, b"X-Real-IP: ", 11)
            put_bytes(buffer, x.client_ip)
            put(buffer, b"\r\n", 2)
    else:
        if not withheld & OWN_FORWARDED_FOR and is_address(peer.address):
            put(buffer, b"X-Forwarded-For: ", 17)
            put_bytes(buffer, peer.address)
            put(buffer, b"\r\n", 2)
        if not withheld & OWN_FORWARDED_PROTO:
            put(buffer, b"X-Forwarded-Proto: ", 19)
            put_bytes(buffer, peer.scheme)
            put(buffer, b"\r\n", 2)
        if x.host_length and not withheld & OWN_FORWARDED_HOST:
            put(buffer, b"X-Forwarded-Host: ", 18)
            put(buffer, x.host, x.host_length)
            put(buffer, b"\r\n", 2)
        if peer.local_port and not withheld & OWN_FORWARDED_PORT:
            put(buffer, b"X-Forwarded-Port: ", 18)
            put_number(buffer, peer.local_port)
            put(buffer, b"\r\n", 2)
        if runtime.forwarded and not withheld & OWN_FORWARDED:
            put_bytes(buffer, b"Forwarded: %b\r\n" % element_of(
                peer.address, x.host[:x.host_length], peer.scheme
            ))
    if runtime.via and not withheld & OWN_VIA:
        put_via(buffer, head)
    if runtime.request_id is not None and not withheld & OWN_REQUEST_ID:
        put_bytes(buffer, runtime.request_id)
        put(buffer, b": ", 2)
        put(buffer, x.id, x.id_length)
        put(buffer, b"\r\n", 2)
    if x.request_extra is not None:
        for name, value in x.request_extra:
            if withheld & OWN_HOST and len(name) == 4 and name.lower() == b"host":
                continue
            put_bytes(buffer, name)
            put(buffer, b": ", 2)
            put_bytes(buffer, value)
            put(buffer, b"\r\n", 2)
    return 0


cdef inline bint is_address(bytes peer) noexcept:
    """Whether the peer has one: behind a Unix socket it has none."""
    return PyBytes_AS_STRING(peer)[0] != c"u"


cdef int put_hops(Exchange x, Hops hops, Buffer* buffer) except -1:
    """What a trusted peer told, and that peer: the same in X-Forwarded-* and in Forwarded."""
    cdef Peer peer = x.client.peer
    cdef bytes scheme = hops.scheme if hops.scheme is not None else peer.scheme
    cdef bytes host = hops.host if hops.host is not None else x.host[:x.host_length]
    cdef bytes node
    cdef list nodes = [node if node is not None else b"unknown" for node in hops.nodes or ()]
    cdef list lines = []
    cdef uint32_t withheld = x.request_withheld
    if is_address(peer.address):
        nodes.append(peer.address)
    if nodes and not withheld & OWN_FORWARDED_FOR:
        lines.append(b"X-Forwarded-For: %b\r\n" % b", ".join(nodes))
    if not withheld & OWN_FORWARDED_PROTO:
        lines.append(b"X-Forwarded-Proto: %b\r\n" % scheme)
    if host and not withheld & OWN_FORWARDED_HOST:
        lines.append(b"X-Forwarded-Host: %b\r\n" % host)
    if not withheld & OWN_FORWARDED_PORT:
        if hops.port is not None:
            lines.append(b"X-Forwarded-Port: %b\r\n" % hops.port)
        elif hops.scheme is not None or hops.host is not None:
            lines.append(b"X-Forwarded-Port: %b\r\n" % port_of(host, scheme))
        elif peer.local_port:
            lines.append(b"X-Forwarded-Port: %d\r\n" % peer.local_port)
    if withheld & OWN_FORWARDED:
        pass
    elif not hops.keeps_forwarded:
        # One that came says something else, if any: it is written anew, in all of its elements.
        if x.runtime.forwarded:
            nodes = nodes or [peer.address]
            lines.append(b"Forwarded: %b\r\n" % b", ".join([element_of(node, host, scheme) for node in nodes]))
    elif is_address(peer.address):
        lines.append(b"Forwarded: %b\r\n" % element_of(peer.address, host, scheme))
    return put_bytes(buffer, b"".join(lines))


cdef bytes port_of(bytes host, bytes scheme):
    """The port that a client asked for, told by host and scheme."""
    cdef bytes port = host.rpartition(b":")[2] if b":" in host and not host.endswith(b"]") else b""
    return port or (b"443" if scheme == b"https" or scheme == b"wss" else b"80")


cdef bytes element_of(bytes node, bytes host, bytes scheme):
    """One element of RFC 7239."""
    if node == b"unix:":
        node = b"_unix"
    elif b":" in node:
        node = b'"[%b]"' % node
    return b'for=%b;host="%b";proto=%b' % (node, host, scheme) if host else b"for=%b;proto=%b" % (node, scheme)
