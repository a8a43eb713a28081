"""Where a request comes from, as trusted peers tell it: X-Forwarded-For, -Proto and -Host, and Forwarded (RFC 7239).

Theory of operation. Each of the three facts (addresses, scheme, host) is taken from its X-Forwarded field, and from
Forwarded where that is not there. The addresses are walked from the last one on, which the peer itself has seen, over
those that are trusted too: the first other one is the client. One that cannot be read (``unknown``, an obfuscated name,
anything else that is no address) ends the walk, and the client is not known: nobody can say whether what stands before
it is true.

Of Forwarded the scheme and the host are those of the client's element, or of the nearest after it that has them.

What the upstream gets is written from what is told here, so that both kinds of field say the same. A Forwarded that
says something else than X-Forwarded-* do, or cannot be read, is not passed on.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.exchange.head cimport (
    DROPPED,
    FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PORT,
    X_FORWARDED_PROTO,
    Field,
    Head,
    is_host,
    is_token,
    normal_host,
)
from fastgate._core.routing.networks cimport normal_address

cdef tuple _SCHEMES = (b"http", b"https", b"ws", b"wss")


cdef Hops read_hops(Head head, object trusted):
    """What the fields of a request say; ``trusted`` says of an address whether it is believed."""
    cdef Hops hops = Hops.__new__(Hops)
    cdef Field* field
    cdef bytes value, scheme = None, host = None
    cdef list nodes = None, elements = None, told = None
    cdef Element element
    cdef Py_ssize_t client
    cdef bint whole = True
    cdef bint one_way
    cdef int i
    for i in range(head.count):
        field = &head.fields[i]
        if field.flags & DROPPED or not X_FORWARDED_FOR <= field.id <= FORWARDED:
            continue
        value = head.value_of(i)
        if field.id == X_FORWARDED_FOR:
            # A field without any says nothing.
            nodes = (nodes or []) + [address_of(hop) for hop in value.split(b",") if hop.strip(b" \t")] or None
        elif field.id == X_FORWARDED_PROTO and scheme is None:
            # Of several the first is the client's own.
            scheme = scheme_of(value.partition(b",")[0])
        elif field.id == X_FORWARDED_HOST and host is None:
            host = host_of(value.partition(b",")[0])
        elif field.id == X_FORWARDED_PORT and hops.port is None:
            hops.port = port_in(value.partition(b",")[0])
        elif field.id == FORWARDED:
            if elements is None:
                elements = []
            whole = read_elements(value, elements) and whole
    hops.nodes = nodes
    hops.scheme = scheme
    hops.host = host
    if elements is None:
        return hops
    # Without any "for" nothing is said of addresses.
    if any([(<Element>each).has_node for each in elements]):
        told = [(<Element>each).node for each in elements]
    if nodes is None:
        hops.nodes = told
    one_way = whole and (nodes is None or nodes == told)
    if one_way:
        client = 0 if told is not None else len(elements) - 1
        if told is not None:
            client = place_of_client(told, trusted)
        for element in elements[max(client, 0):]:
            if element.proto is not None:
                if hops.scheme is None:
                    hops.scheme = element.proto
                one_way = one_way and hops.scheme == element.proto
                break
        for element in elements[max(client, 0):]:
            if element.host is not None:
                if hops.host is None:
                    hops.host = element.host
                one_way = one_way and same_host(hops.host, element.host, hops.scheme)
                break
    hops.keeps_forwarded = one_way
    return hops


cdef Py_ssize_t place_of_client(list nodes, object trusted) except -2:
    """Which of the nodes is the client: the last one that is not trusted. -1: there is none at all."""
    cdef Py_ssize_t i = len(nodes)
    cdef bytes node
    while i > 0:
        i -= 1
        node = nodes[i]
        if node is None or not trusted(node.decode("ascii")):
            return i
    return 0 if nodes else -1


cdef bytes client_of(Hops hops, bytes peer, object trusted):
    """The address of the client; empty: it is not known."""
    cdef Py_ssize_t i
    if hops.nodes is None:
        return peer
    i = place_of_client(hops.nodes, trusted)
    return (hops.nodes[i] if i >= 0 else None) or b""


cdef bytes port_in(bytes text):
    """The port that this is; None: it is none."""
    text = text.strip(b" \t")
    return b"%d" % int(text) if text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536 else None


cdef bytes address_of(bytes hop):
    """The address in an element of X-Forwarded-For or a node of Forwarded, without port, brackets and zone, in its
    normal form.

    None where there is none.
    """
    cdef bytes port = None
    hop = hop.strip(b" \t")
    if hop.startswith(b"["):
        hop, bracket, port = hop[1:].partition(b"]")
        if not bracket or b":" not in hop or (port and not port.startswith(b":")):
            return None
        port = port[1:] if port else None
    elif hop.count(b":") == 1:
        hop, _, port = hop.partition(b":")
    if port is not None and not (port.isdigit() and len(port) <= 5):
        return None
    return normal_address(hop)


cdef bytes scheme_of(bytes text):
    text = text.strip(b" \t").lower()
    return text if text in _SCHEMES else None


cdef bytes host_of(bytes text):
    text = text.strip(b" \t")
    return text if is_host(<const unsigned char*>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)) else None


cdef bint same_host(bytes one, bytes other, bytes scheme) except -1:
    return normal_host(<const unsigned char*>PyBytes_AS_STRING(one), PyBytes_GET_SIZE(one), scheme) == \
        normal_host(<const unsigned char*>PyBytes_AS_STRING(other), PyBytes_GET_SIZE(other), scheme)


cdef bint read_elements(bytes value, list elements) except -1:
    """Adds the elements of a Forwarded field. False: it is malformed, and stands for one hop that is not known."""
    cdef list found = []
    cdef Element element = Element.__new__(Element)
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t length = len(value)
    cdef bytes name, text
    cdef bint right = True
    cdef bint filled = False
    while right:
        while at < length and value[at] in b" \t":
            at += 1
        if at == length or value[at] in b",;":
            # Empty elements of a list are passed over (RFC 9110 section 5.6.1.2).
            if filled and (at == length or value[at] == 44):
                found.append(element)
                element = Element.__new__(Element)
                filled = False
            if at == length:
                break
            at += 1
            continue
        name, at = token_at(value, at)
        if not name or at == length or value[at] != 61:
            right = False
            break
        text, at = value_at(value, at + 1)
        if text is None:
            right = False
            break
        while at < length and value[at] in b" \t":
            at += 1
        right = (at == length or value[at] in b",;") and put_pair(element, name.lower(), text)
        filled = True
    if not right:
        element = Element.__new__(Element)
        element.has_node = True
        found = [element]
    elements += found
    return right


cdef bint put_pair(Element element, bytes name, bytes text) except -1:
    """One parameter of an element. False: it is there twice, or has no value that it can have."""
    if name == b"for":
        if element.has_node:
            return False
        element.has_node = True
        # An address of IPv6 stands in brackets (RFC 7239 section 6).
        element.node = address_of(text) if text.startswith(b"[") or text.count(b":") < 2 else None
    elif name == b"proto":
        if element.proto is not None:
            return False
        element.proto = scheme_of(text)
        return element.proto is not None
    elif name == b"host":
        if element.host is not None:
            return False
        element.host = host_of(text)
        return element.host is not None
    return True


cdef tuple token_at(bytes value, Py_ssize_t at):
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(value)
    cdef Py_ssize_t end = at
    while end < PyBytes_GET_SIZE(value) and is_token(p + end, 1):
        end += 1
    return value[at:end], end


cdef tuple value_at(bytes value, Py_ssize_t at):
    """A token or a quoted string, and what stands behind it. None: neither.

    In a token ":", "[" and "]" are let through, as many proxies leave the quotes out.
    """
    cdef Py_ssize_t length = len(value)
    cdef Py_ssize_t end = at
    cdef list parts = []
    if at < length and value[at] == 34:
        end += 1
        while end < length and value[end] != 34:
            if value[end] == 92:
                end += 1
            if end < length:
                parts.append(value[end:end + 1])
            end += 1
        return (b"".join(parts), end + 1) if end < length else (None, end)
    while end < length and (value[end] in b":[]" or token_at(value, end)[0]):
        end += 1 if value[end] in b":[]" else len(token_at(value, end)[0])
    return value[at:end] if end > at else None, end
