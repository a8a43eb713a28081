"""What a policy sees: lazy views over the heads of an exchange, and answers of its own.

A view copies nothing. It reads the spans of the head when it is asked and records edits as flags on fields and as
pairs that are appended when the head is written. Views are valid until their exchange ends; afterwards every use
raises `RuntimeError`.
"""

from urllib.parse import parse_qsl, unquote

import msgspec

from fastgate._core.exchange.exchange cimport Answer, Exchange
from fastgate._core.exchange.head cimport (
    DROPPED,
    PROXY_AUTHENTICATE,
    UPGRADE,
    Field,
    Head,
    folded_name,
    is_token,
    name_flags_of,
    name_id,
    same_variable,
)
from fastgate._core.exchange.route cimport own_field, own_variable

from fastgate._core.exchange.exchange import use_views


cdef bytes field_name(object name):
    """A field name as bytes. Raises ValueError when it is none."""
    cdef bytes text
    if not isinstance(name, str):
        raise TypeError(f"a header name must be a str, not {type(name).__name__}")
    text = (<str>name).encode("latin-1", "replace")
    if not is_token(<const unsigned char*>text, len(text)):
        raise ValueError(f"{name!r} is not a valid header name")
    return text


cdef bytes editable(object name, bint of_answer):
    """A field name that policies may change: framing and hop-by-hop fields belong to the gateway.

    An answer of their own may say what to upgrade to (426), and how to authenticate to a proxy (407).
    """
    cdef bytes text = field_name(name)
    cdef int number = name_id(<const unsigned char*>text, len(text))
    if name_flags_of(number) and not (of_answer and (number == UPGRADE or number == PROXY_AUTHENTICATE)):
        raise ValueError(f"the gateway controls the header {name!r}; policies cannot change it")
    return text


cdef bytes field_value(object value):
    """A field value as bytes. Raises ValueError for characters that cannot stand in one (RFC 9110 section 5.5)."""
    cdef bytes text
    cdef unsigned char c
    if not isinstance(value, str):
        value = str(value)
    try:
        text = (<str>value).encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("a header value must be latin-1") from None
    for c in text:
        if (c < 0x20 and c != 9) or c == 0x7F:
            raise ValueError("a header value must not contain control characters")
    return text.strip(b" \t")


cdef int final_status(object status) except -1:
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"{status!r} is not a valid final status (200 to 599)")
    return status


cdef class Headers:
    """Header fields: names without case, values as str (latin-1), iteration in wire order.

    Fields that frame the message or end at this hop cannot be changed; those that were removed are not seen.
    """

    def __init__(self):
        raise TypeError("only the gateway makes Headers")

    cdef list extra(self):
        if self.answer is not None:
            return self.answer.fields
        if self.of_request:
            return self.exchange.request_extra
        return self.exchange.response_extra

    cdef int check(self) except -1:
        if self.ended:
            raise RuntimeError("the exchange is over; headers can only be used until then")
        return 0

    def items(self):
        """(name, value) pairs in wire order, names as they were sent."""
        cdef list pairs = []
        cdef list extra
        cdef int i
        cdef Field* field
        cdef bytes name, value
        self.check()
        if self.head is not None:
            for i in range(self.head.count):
                field = &self.head.fields[i]
                if not field.flags & DROPPED:
                    pairs.append((self.head.p[field.name:field.name + field.name_length].decode("latin-1"),
                                  self.head.p[field.value:field.value + field.value_length].decode("latin-1")))
        extra = self.extra()
        if extra is not None:
            for name, value in extra:
                pairs.append((name.decode("latin-1"), value.decode("latin-1")))
        return pairs

    def __iter__(self):
        return iter([name for name, _ in self.items()])

    def __len__(self):
        return len(self.items())

    def get_all(self, name):
        """Every value of the field, in wire order."""
        cdef list values = []
        cdef list extra
        cdef bytes lower = field_name(name).lower()
        cdef bytes other, value
        cdef int i
        self.check()
        if self.head is not None:
            i = self.head.find(lower, len(lower), 0)
            while i >= 0:
                values.append(self.head.value_of(i).decode("latin-1"))
                i = self.head.find(lower, len(lower), i + 1)
        extra = self.extra()
        if extra is not None:
            for other, value in extra:
                if len(other) == len(lower) and other.lower() == lower:
                    values.append(value.decode("latin-1"))
        return values

    def get(self, name, default=None):
        """The first value of the field, or ``default``."""
        cdef list extra
        cdef bytes lower = field_name(name).lower()
        cdef bytes other, value
        cdef int i
        self.check()
        if self.head is not None:
            i = self.head.find(lower, len(lower), 0)
            if i >= 0:
                return self.head.value_of(i).decode("latin-1")
        extra = self.extra()
        if extra is not None:
            for other, value in extra:
                if len(other) == len(lower) and other.lower() == lower:
                    return value.decode("latin-1")
        return default

    def __getitem__(self, name):
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name):
        return isinstance(name, str) and self.get(name) is not None

    cdef int drop(self, bytes lower) except -1:
        """Takes every field of this name away, and what the gateway would send under it."""
        cdef Exchange x = self.exchange
        cdef list extra
        cdef int i
        if self.of_request:
            return self.drop_variable(folded_name(lower))
        if self.head is not None:
            i = self.head.find(lower, len(lower), 0)
            while i >= 0:
                self.head.fields[i].flags |= DROPPED
                i = self.head.find(lower, len(lower), i + 1)
        if self.answer is None:
            x.response_withheld |= own_field(lower, x.runtime.request_id_lower)
        else:
            if self.answer.removed is None:
                self.answer.removed = []
            self.answer.removed.append(lower)
        extra = self.extra()
        if extra:
            extra[:] = [pair for pair in extra if (<bytes>pair[0]).lower() != lower]
        return 0

    cdef int drop_variable(self, bytes folded) except -1:
        """The same for a request: also what the upstream may take for the same."""
        cdef Exchange x = self.exchange
        cdef Field* field
        cdef int i
        for i in range(self.head.count):
            field = &self.head.fields[i]
            if same_variable(self.head.p + field.name, field.name_length, folded, len(folded)):
                field.flags |= DROPPED
        x.request_withheld |= own_variable(folded, x.runtime.request_id_variable)
        if x.request_extra:
            x.request_extra[:] = [pair for pair in x.request_extra if folded_name(pair[0]) != folded]
        return 0

    def add(self, name, value):
        """Appends one more field of this name. Raises ValueError for what cannot be a name or a value."""
        cdef bytes text = editable(name, self.answer is not None)
        cdef bytes content = field_value(value)
        self.check()
        if self.answer is not None:
            self.answer.fields.append((text, content))
        elif self.of_request:
            if self.exchange.request_extra is None:
                self.exchange.request_extra = []
            self.exchange.request_extra.append((text, content))
        else:
            if self.exchange.response_extra is None:
                self.exchange.response_extra = []
            self.exchange.response_extra.append((text, content))

    def set(self, name, value):
        """Replaces every field of this name by one."""
        cdef bytes text = editable(name, self.answer is not None)
        field_value(value)
        self.check()
        self.drop(text.lower())
        self.add(name, value)

    def __setitem__(self, name, value):
        self.set(name, value)

    def remove(self, name):
        """Removes every field of this name; none is no error."""
        cdef bytes text = editable(name, self.answer is not None)
        self.check()
        self.drop(text.lower())

    def __delitem__(self, name):
        self.remove(name)

    def __repr__(self):
        return f"<Headers {'ended' if self.ended else dict(self.items())!r}>"


cdef class Request:
    """The request of an exchange, as policies see it. Made by the gateway only."""

    def __cinit__(self, Exchange exchange):
        self.exchange = exchange

    cdef Exchange live(self):
        if self.exchange is None:
            raise RuntimeError("the exchange is over; a request can only be used until then")
        return self.exchange

    def end(self):
        """The exchange is over."""
        self.exchange = None
        if self.fields is not None:
            self.fields.ended = True
            self.fields.exchange = None
            self.fields.head = None

    @property
    def method(self):
        """As the client sent it."""
        cdef Head head = self.live().request
        return head.p[:head.method.length].decode("ascii")

    @property
    def scheme(self):
        """"http" or "https": how the client reached the gateway."""
        return self.live().client.peer.scheme.decode("ascii")

    @property
    def host(self):
        """Host and port that were asked for; "" when an HTTP/1.0 client named none."""
        cdef Exchange x = self.live()
        return x.host[:x.host_length].decode("latin-1") if x.host_length else ""

    @property
    def path(self):
        """The normalised path, percent-decoded. For comparisons use `raw_path`: this one cannot tell "/" from "%2F"."""
        return unquote(self.raw_path)

    @property
    def raw_path(self):
        """The normalised path, percent-encoded: what was matched and will be forwarded."""
        cdef Exchange x = self.live()
        return x.path[:x.path_length].decode("ascii")

    @property
    def query_string(self):
        """The query as it was sent, without "?"."""
        cdef Exchange x = self.live()
        return x.query[:x.query_length].decode("ascii") if x.query_length else ""

    @property
    def query(self):
        """Query parameters, decoded: name → list of values."""
        cdef dict parameters
        if self.parsed_query is None:
            parameters = {}
            for name, value in parse_qsl(self.query_string, keep_blank_values=True):
                parameters.setdefault(name, []).append(value)
            self.parsed_query = parameters
        return self.parsed_query

    @property
    def headers(self):
        """`Headers` of the request; what is changed here is what the upstream gets."""
        cdef Exchange x = self.live()
        if self.fields is None:
            self.fields = Headers.__new__(Headers)
            self.fields.exchange = x
            self.fields.head = x.request
            self.fields.of_request = True
        return self.fields

    @property
    def cookies(self):
        """Cookies: name → value. Malformed ones are left out."""
        if self.parsed_cookies is None:
            jar = {}
            for line in self.headers.get_all("cookie"):
                for part in line.split(";"):
                    name, found, value = part.strip().partition("=")
                    if found and name:
                        jar[name] = value.strip('"')
            self.parsed_cookies = jar
        return self.parsed_cookies

    @property
    def params(self):
        """Parameters of the route's path, percent-decoded: name → value."""
        cdef Exchange x = self.live()
        return x.entry.parameters(<const char*>x.path, &x.found) if x.entry is not None else {}

    @property
    def client_ip(self):
        """Address of the client: the last one that no trusted proxy vouches for; "" when it is not known."""
        cdef Exchange x = self.live()
        return x.client_ip.decode("ascii") if x.client_ip is not None else ""

    @property
    def id(self):
        """The request id."""
        cdef Exchange x = self.live()
        return x.id[:x.id_length].decode("ascii")

    @property
    def route(self):
        """Name of the route."""
        cdef Exchange x = self.live()
        return x.route.name if x.route is not None else ""

    @property
    def identity(self):
        """Who asks, as an authentication policy found out; None when nobody looked."""
        return self.live().identity

    @identity.setter
    def identity(self, value):
        self.live().identity = value

    @property
    def state(self):
        """A dict for plugins, the same one for the whole exchange."""
        cdef Exchange x = self.live()
        if x.state is None:
            x.state = {}
        return x.state

    @property
    def deadline(self):
        """When the exchange must be over, in seconds on the monotonic clock; None without ``timeouts.total``."""
        cdef Exchange x = self.live()
        return x.total_due / 1000.0 if x.total_due else None

    def body(self):
        """Awaitable: the request body. With ``body = "peek"`` its first 16 KB.

        Raises RuntimeError when the policy did not declare that it reads bodies.
        """
        cdef Exchange x = self.live()
        if not x.route.read_request and not x.route.buffer_request:
            raise RuntimeError('no policy of this route declares body = "peek" or "full"')
        return x.read_body(x.route.buffer_request)

    def __repr__(self):
        if self.exchange is None:
            return "<Request: over>"
        return f"<Request {self.method} {self.raw_path} route={self.route!r}>"


cdef class Response(Answer):
    """An answer that a policy gives: ``Response(403, "no", headers={"x-why": "…"})``.

    ``body`` is bytes or str (sent as UTF-8); ``json`` any value that msgspec encodes. Content-Length is written by
    the gateway.
    """

    def __init__(self, status=200, body=b"", *, headers=None, json=None):
        self.code = final_status(status)
        kind = None
        if json is not None:
            self.content = msgspec.json.encode(json)
            kind = "application/json"
        elif isinstance(body, str):
            self.content = (<str>body).encode()
            kind = "text/plain; charset=utf-8"
        elif isinstance(body, (bytes, bytearray, memoryview)):
            self.content = bytes(body)
        else:
            raise TypeError(f"a body must be bytes or str, not {type(body).__name__}")
        self.view = Headers.__new__(Headers)
        self.view.answer = self
        if headers is not None:
            for name, value in headers.items() if hasattr(headers, "items") else headers:
                self.view.add(name, value)
        if kind is not None and "content-type" not in self.view:
            self.view.add("Content-Type", kind)

    @property
    def status(self):
        """The status code."""
        return self.code

    @status.setter
    def status(self, value):
        self.code = final_status(value)

    @property
    def headers(self):
        """`Headers` of the answer."""
        return self.view

    def body(self):
        """The body as bytes."""
        return self.content

    def end(self):
        """The exchange is over. An answer of one's own stays what it is."""

    def __repr__(self):
        return f"<Response {self.status}>"


cdef class UpstreamResponse(Response):
    """The upstream's response. ``headers`` and ``status`` can be changed; the body can be read where a policy
    declared ``body = "full"``.
    """

    def __init__(self, Exchange exchange):
        self.exchange = exchange
        self.view = Headers.__new__(Headers)
        self.view.exchange = exchange
        self.view.head = exchange.response

    @property
    def status(self):
        """The status code."""
        if self.exchange is None:
            raise RuntimeError("the exchange is over; a response can only be used until then")
        return self.exchange.status

    @status.setter
    def status(self, value):
        if self.exchange is None:
            raise RuntimeError("the exchange is over; a response can only be used until then")
        final_status(value)
        if self.exchange.response_started:
            raise RuntimeError("the response has been sent")
        self.exchange.status_changed = True
        self.exchange.status = value

    def body(self):
        """The body as bytes. Raises RuntimeError when no policy of the route declares ``body = "full"``."""
        if self.exchange is None:
            raise RuntimeError("the exchange is over; a response can only be used until then")
        if not self.exchange.route.buffer_response:
            raise RuntimeError('no policy of this route declares body = "full"')
        return b"".join(self.exchange.response_body) if self.exchange.response_body is not None else b""

    def end(self):
        self.exchange = None
        self.view.ended = True
        self.view.exchange = None
        self.view.head = None

    def __repr__(self):
        return "<Response: over>" if self.exchange is None else f"<Response {self.status} from upstream>"


class ExchangeError(Exception):
    """Why an exchange failed, for ``on_error``: ``cause`` (the word in the access log), ``status``, ``detail``.

    ``__cause__`` is the exception of a policy that raised.
    """

    cause = ""
    status = 0
    detail = ""

    def __init__(self, cause, status, detail, exception=None):
        super().__init__(detail)
        self.cause = cause
        self.status = status
        self.detail = detail
        self.__cause__ = exception


use_views(Request, Response, UpstreamResponse, ExchangeError)
