"""Values of fields that are worked out for each request: what edits and fixed answers say with variables."""

from urllib.parse import unquote_to_bytes

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.head cimport is_host
from fastgate._core.exchange.identity cimport Identity, claim_text
from fastgate._core.routing.router cimport ABSENT

cdef bytes _CONTROLS = bytes([*range(32), 127])


cdef class Template:
    """A field value with variables: literal bytes and (`Variable`, argument) pairs."""

    def __cinit__(self, parts):
        self.parts = tuple(parts)


VARIABLES = {
    "client_ip": CLIENT_IP,
    "request_id": REQUEST_ID,
    "host": REQUEST_HOST,
    "path": REQUEST_PATH,
    "param": PARAMETER,
    "claim": CLAIM,
    "key": KEY_ID,
}


cdef list with_values(Exchange x, tuple fields, list extra, bint in_url):
    """Appends fields with their values worked out. None: a value that the client chose cannot stand
    in a field."""
    cdef object value
    for name, value in fields:
        if isinstance(value, Template):
            parts = []
            for part in (<Template>value).parts:
                if not isinstance(part, bytes):
                    part = value_of(x, part[0], part[1], in_url)
                    if part is None:
                        return None
                parts.append(part)
            value = b"".join(parts)
        extra.append((name, value))
    return extra


cdef bytes edited_host(Exchange x):
    """The Host that edits have set; None: they have not, or it is none that can be sent."""
    cdef bytes name, value
    for name, value in x.request_extra:
        if len(name) == 4 and name.lower() == b"host":
            return value if is_host(<const unsigned char*>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)) else None
    return None


cdef bytes value_of(Exchange x, int variable, object argument, bint in_url):
    """The value of a variable in a field; None when it holds bytes that cannot stand in one.

    In a URL a parameter is what it was in the path: decoded, its ``%2F``, ``%3F`` and ``%23`` would be read as
    structure. A URL without a host is none: browsers take the first segment for it.
    """
    cdef bytes value = b""
    cdef int i
    if variable == CLIENT_IP:
        value = x.client_ip or b""
    elif variable == REQUEST_ID:
        value = x.id[:x.id_length]
    elif variable == REQUEST_HOST:
        value = x.host[:x.host_length]
        if in_url and not value:
            return None
    elif variable == REQUEST_PATH:
        value = x.path[:x.path_length]
    elif variable == CLAIM or variable == KEY_ID:
        if isinstance(x.identity, Identity):
            value = (<Identity>x.identity).id.encode("utf-8", "surrogatepass") if variable == KEY_ID \
                else claim_text((<Identity>x.identity).claims, argument) or b""
            if not in_url and len(value.translate(None, _CONTROLS)) != len(value):
                return None
    elif variable == PARAMETER and x.entry is not None and argument in x.entry.params:
        i = x.entry.params.index(argument)
        if x.found.capture[i].start != ABSENT:
            value = x.path[x.found.capture[i].start:x.found.capture[i].start + x.found.capture[i].length]
        if b"%" in value and not in_url:
            value = unquote_to_bytes(value)
            if len(value.translate(None, _CONTROLS)) != len(value):
                return None
    return value
