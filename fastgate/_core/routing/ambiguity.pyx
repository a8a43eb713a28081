"""What else a path may be to the upstream that gets it, and whose rules would be passed by.

Theory of operation
-------------------
A path is matched and forwarded in one form (see `router`). Some things in it are read in different ways by servers,
all of which RFC 3986 allows: ``%2F``, which is part of a segment to some and a slash to those that decode a path
before they split it (WSGI, ASGI, CGI); ``%5C``, where a route lets it pass, which is a slash to servers of Windows;
and what follows a semicolon in a segment, which servers of Java take away. To these ``/admin%2Fkeys`` and
``/admin;x/keys`` are ``/admin/keys``, and a route for every path would let them in past the rules of ``/admin/*``.
Where ``merge_slashes`` is off, the same is true of ``//``.

So a path with one of these is also looked up as each of them would read it. When that leads to another route, which
comes first by its priority or has the more specific path, the request is refused. Where it is the same route, or a
wider one, nothing is passed by and the path goes on as it is: ``/projects/a%2Fb`` is for ``/projects/{id}`` also where
there is a route for the rest. Which of the two is stricter cannot be known; that the more specific one is the exception
is what routes are for.

Only a path with ``;``, ``%3B``, ``%2F``, ``%5C`` or, without ``merge_slashes``, ``//`` pays for this.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.routing.router cimport Entry, Found, Query, Router, normalize_path

cdef int REST = 0
cdef int PARAMETER = 1
cdef int LITERAL = 2


def readings(str path not None):
    """What else a path in normal form may be to an upstream; not in normal form themselves."""
    cdef str decoded = path.replace("%2F", "/")
    cdef str bare = without_parameters(path)
    cdef set found = {
        path.replace("//", "/"),                                 # nginx; the rest is done by the normal form
        bare,                                                    # Tomcat, Jetty
        decoded,                                                 # WSGI, ASGI
        without_parameters(decoded.replace("%3B", ";")),         # a proxy that decodes before one of the first
        without_parameters(bare.replace("%3B", ";").replace("%2F", "/")),
    }
    if "%5C" in path:
        found |= {each.replace("%5C", "/") for each in found}    # IIS
    return found - {path}


cdef str without_parameters(str path):
    return "/".join([segment.partition(";")[0] for segment in path.split("/")]) if ";" in path else path


cdef bint is_stricter_otherwise(Router router, const Query* query, Entry entry) except -1:
    """Whether the path of a request can be read so that a stricter route than this one is for it."""
    cdef Query other = query[0]
    cdef Found found
    cdef Entry meant
    cdef bytes text
    cdef str reading
    cdef bytearray room = bytearray(query.path_length)
    cdef Py_ssize_t size
    for reading in readings(query.path[:query.path_length].decode("ascii")):
        text = reading.encode("ascii")
        if normalize_path(
            <const unsigned char*>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), room, True, &size
        ) < 0:
            return True
        if size < PyBytes_GET_SIZE(text):
            text = bytes(room[:size])
        other.path = PyBytes_AS_STRING(text)
        other.path_length = size
        meant = router.find(&other, &found)
        if meant is not None and meant is not entry and goes_before(meant, entry):
            return True
    return False


cdef bint goes_before(Entry one, Entry other) except -1:
    """Whether a route has the higher priority or the more specific path; of regular expressions nobody knows."""
    if one.priority > other.priority or one.path.startswith("~") or other.path.startswith("~"):
        return True
    return kinds_of(one.path) > kinds_of(other.path)


cdef list kinds_of(str path):
    """Its segments, by what they are made of."""
    return [
        REST if segment == "*" or segment.endswith("*}") else PARAMETER if segment.startswith("{") else LITERAL
        for segment in path.split("/")[1:]
    ]
