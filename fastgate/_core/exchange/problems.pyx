"""The bodies of the gateway's own errors: RFC 9457, and a small page for browsers.

Nothing in them tells about what lies behind the gateway.
"""

from http import HTTPStatus

import msgspec

from fastgate._core.exchange.exchange cimport Answer, Exchange, answer_of, refusal_sentence
from fastgate._core.exchange.head cimport ACCEPT, Head

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{status} {title}</title></head>
<body><h1>{status} {title}</h1><p>{detail}</p><p><small>Request {request_id}</small></p></body></html>
"""


cdef class ProblemDetails(Problems):
    """JSON, as RFC 9457 has it, for every client."""

    cdef Answer answer(self, Exchange x, int cause, int status):
        members = {
            "type": "about:blank",
            "title": title_of(status),
            "status": status,
            "detail": refusal_sentence(x, cause),
            # The path that was asked for, "" where it could not be read.
            "instance": x.path[:x.path_length].decode("ascii", "replace") if x.path_length else "",
            "request_id": request_id_of(x),
        }
        # Whatever type it ends up with, a browser finds no markup in it.
        body = msgspec.json.encode(members)
        body = body.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
        return uncached(status, b"application/problem+json", body)


cdef class HtmlPages(Problems):
    """A page for clients whose Accept asks for HTML, and nothing for others."""

    cdef Answer answer(self, Exchange x, int cause, int status):
        if not wants_html(x.request):
            return None
        import html  # on use: workers start without it

        texts = {"title": title_of(status), "detail": refusal_sentence(x, cause), "request_id": request_id_of(x)}
        page = _PAGE.format(status=status, **{name: html.escape(text) for name, text in texts.items()})
        return uncached(status, b"text/html; charset=utf-8", page.encode())


cdef Answer uncached(int status, bytes kind, bytes content):
    return answer_of(status, [(b"Content-Type", kind), (b"Cache-Control", b"no-store")], content)


cdef bint wants_html(Head head):
    cdef int i
    for i in range(head.count):
        if head.fields[i].id == ACCEPT and b"text/html" in head.value_of(i):
            return True
    return False


cdef str title_of(int status):
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


cdef str request_id_of(Exchange x):
    return x.id[:x.id_length].decode("ascii") if x.id_length else ""
