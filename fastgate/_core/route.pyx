"""Routes and the runtime they belong to, compiled: what a request needs is bound here, nothing is looked up on the way.

These objects are immutable once built. They know bytes, numbers and callables; `fastgate.gateway.runtime` makes them
from a configuration.
"""

from fastgate._core.head cimport same


cdef class Edits:
    """What is done to the fields of a head: ``removed`` names go, ``added`` pairs are appended, in this order."""

    def __cinit__(self, *, removed=(), added=()):
        self.removed = tuple(name.lower().encode("ascii") for name in removed)
        self.added = tuple((name.encode("ascii"), value) for name, value in added)

    cdef bint removes(self, const unsigned char* name, Py_ssize_t length) noexcept:
        cdef bytes removed
        for removed in self.removed:
            if same(name, length, removed, len(removed)):
                return True
        return False


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
}


cdef class Route:
    """One route. Timeouts are seconds; 0 = none. ``host_header`` is "upstream", "client" or the value to send."""

    def __init__(
        self, *, name, upstream, on_request=(), on_response=(), on_error=(), buffer_request=False, read_request=False,
        buffer_response=False, rewrite=None, request_edits=None, response_edits=None, host_header="upstream",
        names_trace=False, upgrades=("websocket",), max_body=0, connect_timeout=2.0, read_timeout=60.0,
        write_timeout=60.0, idle_timeout=300.0, total_timeout=0.0
    ):
        self.name = name
        self.upstream = upstream
        self.on_request = tuple(on_request) or None
        self.on_response = tuple(on_response) or None
        self.on_error = tuple(on_error) or None
        self.buffer_request = buffer_request
        self.read_request = read_request
        self.buffer_response = buffer_response
        self.rewrite = rewrite
        self.request_edits = request_edits
        self.response_edits = response_edits
        self.host_mode = {"upstream": HOST_UPSTREAM, "client": HOST_CLIENT}.get(host_header, HOST_LITERAL)
        self.host = host_header.encode("ascii") if self.host_mode == HOST_LITERAL else None
        self.names_trace = names_trace
        self.upgrades = tuple(upgrade.lower().encode("ascii") for upgrade in upgrades)
        self.max_body = max_body
        self.connect_timeout = milliseconds(connect_timeout)
        self.read_timeout = milliseconds(read_timeout)
        self.write_timeout = milliseconds(write_timeout)
        self.idle_timeout = milliseconds(idle_timeout)
        self.total_timeout = milliseconds(total_timeout)

    def __repr__(self):
        return f"<Route {self.name!r}>"


def milliseconds(seconds):
    """Whole milliseconds; anything above zero is at least one."""
    return max(1, round(seconds * 1000)) if seconds > 0 else 0


cdef class Runtime:
    """A compiled configuration: the router and what holds for every route. Times are seconds."""

    def __init__(
        self, *, router, methods=(), merge_slashes=True, underscore_headers="drop", max_headers=100,
        max_header_bytes=32768, keepalive=75.0, header_timeout=10.0, body_timeout=30.0, forwarded=False, via=False,
        request_id="x-request-id", error_format="problem", server_header="fastgate", health_path="", trusted=None,
        check_server_name=False
    ):
        self.router = router
        self.methods = ", ".join(methods).encode("ascii")
        self.merge_slashes = merge_slashes
        self.underscores = {"drop": 0, "pass": 1, "reject": 2}[underscore_headers]
        self.max_headers = max_headers
        self.max_header_bytes = max_header_bytes
        self.keepalive = milliseconds(keepalive)
        self.header_timeout = milliseconds(header_timeout)
        self.body_timeout = milliseconds(body_timeout)
        self.forwarded = forwarded
        self.via = via
        self.request_id = request_id.encode("ascii") if request_id else None
        self.request_id_lower = self.request_id.lower() if request_id else None
        self.html_errors = error_format == "html"
        self.server_line = b"Server: " + server_header.encode("latin-1") + b"\r\n" if server_header else b""
        self.health_path = health_path.encode("ascii") if health_path else None
        self.trusted = trusted
        self.check_server_name = check_server_name
