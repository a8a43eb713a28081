"""Routes and the runtime they belong to, compiled: what a request needs is bound here, nothing is looked up on the way.

These objects are immutable once they are used; only a runtime that is no longer in use gives its routes away, to be
freed. They know bytes, numbers and callables; `fastgate.gateway.runtime` makes them from a configuration.
"""

from fastgate._core.exchange.head cimport NAMES_DROP, NAMES_PASS, NAMES_REJECT, X_REQUEST_ID, folded_name
from fastgate._core.exchange.timers import milliseconds


cdef dict _OWN = {
    b"host": OWN_HOST, b"x-forwarded-for": OWN_FORWARDED_FOR, b"x-forwarded-proto": OWN_FORWARDED_PROTO,
    b"x-forwarded-host": OWN_FORWARDED_HOST, b"x-forwarded-port": OWN_FORWARDED_PORT, b"forwarded": OWN_FORWARDED,
    b"via": OWN_VIA, b"date": OWN_DATE, b"server": OWN_SERVER, b"content-type": OWN_CONTENT_TYPE,
    b"ratelimit-policy": OWN_QUOTA_POLICY, b"ratelimit": OWN_QUOTA, b"x-ratelimit-limit": OWN_QUOTA_LIMIT,
    b"x-ratelimit-remaining": OWN_QUOTA_REMAINING, b"x-ratelimit-reset": OWN_QUOTA_RESET,
}


cdef uint32_t own_field(bytes lower, bytes request_id) except? 0:
    """The bit of a field that the gateway sends itself; ``request_id`` is what that field is called, None = off."""
    cdef uint32_t bit = _OWN.get(lower, 0)
    return bit | OWN_REQUEST_ID if lower == request_id else bit


cdef dict _OWN_VARIABLES = {folded_name(_name): _bit for _name, _bit in _OWN.items()}


cdef uint32_t own_variable(bytes folded, bytes request_id) except? 0:
    """The same for a request, whose fields go in every spelling that servers take for the same variable.

    Both names as `folded_name` gives them.
    """
    cdef uint32_t bit = _OWN_VARIABLES.get(folded, 0)
    return bit | OWN_REQUEST_ID if folded == request_id else bit


cdef class Route:
    """One route. Timeouts are seconds; 0 = none. ``host_header`` is "upstream", "client" or the value to send."""

    def __init__(
        self, *, name, delivery, stamps=(), on_request=(), on_response=(), on_error=(), buffer_request=False,
        read_request=False, buffer_response=False, request_filters=(), response_filters=(), edits=None,
        answers_preflights=False, host_header="upstream", names_trace=False, encoded_backslash="refuse",
        upgrades=("websocket",), half_close="cancel", trailers=False, min_rate=0, max_body=0, read_timeout=60.0,
        write_timeout=60.0, idle_timeout=300.0, total_timeout=0.0, problems=None
    ):
        self.name = name
        self.delivery = delivery
        self.stamps = tuple(stamps) or None
        self.stamped = 0
        for stamp in stamps:
            self.stamped |= stamp.own
        self.on_request = tuple(on_request) or None
        self.on_response = tuple(on_response) or None
        self.on_error = tuple(on_error) or None
        self.problems = problems
        self.buffer_request = buffer_request
        self.read_request = read_request
        self.buffer_response = buffer_response
        self.request_filters = tuple(request_filters) or None
        self.response_filters = tuple(response_filters) or None
        self.edits = edits
        self.alters_response = buffer_response or any(
            each is not None for each in (self.on_response, edits, self.response_filters)
        )
        self.answers_preflights = answers_preflights
        self.host_mode = {"upstream": HOST_UPSTREAM, "client": HOST_CLIENT}.get(host_header, HOST_LITERAL)
        self.host = host_header.encode("ascii") if self.host_mode == HOST_LITERAL else None
        self.names_trace = names_trace
        self.keeps_backslash = encoded_backslash == "keep"
        self.serves_half_closed = half_close == "serve"
        self.trailers = trailers
        self.min_rate = min_rate
        self.upgrades = tuple(upgrade.lower().encode("ascii") for upgrade in upgrades)
        self.max_body = max_body
        self.read_timeout = milliseconds(read_timeout)
        self.write_timeout = milliseconds(write_timeout)
        self.idle_timeout = milliseconds(idle_timeout)
        self.total_timeout = milliseconds(total_timeout)

    def __repr__(self):
        return f"<Route {self.name!r}>"


cdef class Runtime:
    """A compiled configuration: the router and what holds for every route. Times are seconds."""

    def __init__(
        self, *, router, methods=(), merge_slashes=True, field_names="drop", max_headers=100,
        max_header_bytes=32768, keepalive=75.0, header_timeout=10.0, body_timeout=30.0, min_rate=0, forwarded=False,
        via=False, request_id="x-request-id", server_header="fastgate", health_path="", trusted=None,
        check_server_name=False, unlogged=(), observers=(), problems=(), problems_below=()
    ):
        self.router = router
        self.methods = ", ".join(methods).encode("ascii")
        self.merge_slashes = merge_slashes
        self.field_names = {"drop": NAMES_DROP, "pass": NAMES_PASS, "reject": NAMES_REJECT}[field_names]
        self.max_headers = max_headers
        self.max_header_bytes = max_header_bytes
        self.keepalive = milliseconds(keepalive)
        self.header_timeout = milliseconds(header_timeout)
        self.body_timeout = milliseconds(body_timeout)
        self.min_rate = min_rate
        self.forwarded = forwarded
        self.via = via
        self.request_id = request_id.encode("ascii") if request_id else None
        self.request_id_lower = self.request_id.lower() if request_id else None
        self.request_id_bit = 1 << X_REQUEST_ID if self.request_id_lower == b"x-request-id" else 0
        self.request_id_variable = folded_name(self.request_id) if request_id else None
        self.observers = observers
        self.problems = tuple(problems)
        below = [(prefix.rstrip("/").encode("ascii"), shape) for prefix, shape in problems_below]
        self.problems_below = tuple(sorted(below, key=lambda pair: -len(pair[0]))) or None
        self.server_line = b"Server: " + server_header.encode("latin-1") + b"\r\n" if server_header else b""
        self.health_path = health_path.encode("ascii") if health_path else None
        self.trusted = trusted
        self.check_server_name = check_server_name
        self.unlogged = tuple(name.encode() for name in unlogged) or None

    @property
    def observers(self):
        return self.told or ()

    @observers.setter
    def observers(self, observers):
        self.told = tuple(observers) or None

    def dissolve(self):
        entries = self.router.routes()
        self.router = None
        return entries
