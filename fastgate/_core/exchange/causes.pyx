"""Every way an exchange can end: cause → status, what it says about the target, and the word in the access log.

This is the one table of its kind. Connection code names causes, never statuses.
"""

from http import HTTPStatus

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject


cdef extern from "Python.h":
    PyObject* PyList_GET_ITEM(object, Py_ssize_t)


# What is wrong with a message: cause, status for a client, word in the log, the one rule that was broken. The word of
# its counterpart among the responses begins with "response_", but for the first.
_FAULTS = (
    (BAD_REQUEST, 400, "bad_request", "The message is not well-formed HTTP/1.1."),
    (BARE_LF, 400, "bare_lf", "A line of the head ends with LF alone, not with CR LF."),
    (BARE_CR, 400, "bare_cr", "A CR in the head is not followed by LF."),
    (BAD_CHARACTER, 400, "bad_character", "The head contains a control character."),
    (BAD_START_LINE, 400, "bad_start_line", "The first line is not three parts with one space between them."),
    (FOLDED_LINE, 400, "folded_line", "A line of the head begins with white space; folded fields are not accepted."),
    (SPACE_BEFORE_COLON, 400, "space_before_colon", "There is white space between the name of a field and its colon."),
    (BAD_FIELD_NAME, 400, "bad_field_name", "A line of the head does not begin with the name of a field and a colon."),
    (BAD_LENGTH, 400, "bad_length", "Content-Length is not a number of at most 18 digits."),
    (TWO_LENGTHS, 400, "two_lengths", "The message has more than one Content-Length."),
    (CODING_IN_1_0, 400, "coding_in_http_1_0", "An HTTP/1.0 message has a Transfer-Encoding."),
    (BAD_CODING, 400, "bad_coding", "Transfer-Encoding must be exactly one chunked."),
    (NOT_IMPLEMENTED, 501, "unknown_coding", "The gateway supports only the transfer coding chunked."),
    (LENGTH_AND_CODING, 400, "length_and_coding", "The message has both a Content-Length and a Transfer-Encoding."),
    (BAD_CONNECTION, 400, "bad_connection", "Connection names a field that must not be removed on the way."),
    (HEAD_TOO_LARGE, 431, "head_too_large", "The head is too large."),
    (TOO_MANY_FIELDS, 431, "too_many_fields", "There are too many header fields."),
    (BAD_CHUNK_SIZE, 400, "bad_chunk_size", "The size of a chunk is not a hexadecimal number of at most 63 bits."),
    (BAD_CHUNK_LINE, 400, "bad_chunk_line",
     "The line of a chunk's size is malformed, over 256 bytes, or does not end with CR LF."),
    (BAD_CHUNK_END, 400, "bad_chunk_end", "The data of a chunk is not followed by CR LF: it is longer than announced."),
    (BAD_TRAILER, 400, "bad_trailer", "A line after the last chunk is malformed."),
    (TRAILERS_TOO_LARGE, 400, "trailers_too_large", "The fields after the last chunk are too large."),
)
assert len(_FAULTS) == CAUSES - BAD_RESPONSE

_BAD_RESPONSE = "The upstream's answer is not well-formed."

# cause, status, failure, close, Retry-After, word in the log, sentence for the client
_TABLE = (
    (OK, 0, NO_FAILURE, False, 0, "ok", ""),
    *((cause, status, NO_FAILURE, True, 0, word, said) for cause, status, word, said in _FAULTS),
    (BAD_RESPONSE, 502, FAILED_PROTOCOL, False, 0, "bad_response", _BAD_RESPONSE),
    *((in_response(cause), 502, FAILED_PROTOCOL, False, 0, "response_" + word, _BAD_RESPONSE)
      for cause, _, word, _ in _FAULTS[1:]),
    (RESPONSE_BAD_SWITCH, 502, FAILED_PROTOCOL, False, 0, "response_bad_switch", _BAD_RESPONSE),
    (TLS_NOT_SPOKEN, 400, NO_FAILURE, True, 0, "tls_not_spoken", "This port does not speak TLS."),
    (PROXY_NOT_SPOKEN, 400, NO_FAILURE, True, 0, "proxy_not_spoken", "This port does not accept the PROXY protocol."),
    (BAD_METHOD, 400, NO_FAILURE, True, 0, "bad_method", "The method is not a name of 1 to 64 characters."),
    (BAD_TARGET_CHARACTER, 400, NO_FAILURE, True, 0, "bad_target_character",
     "The request target contains a character that must be percent-encoded: a backslash, #, a control or non-ASCII."),
    (BAD_TARGET, 400, NO_FAILURE, True, 0, "bad_target",
     "The request target is not a path, an http or https URL, or, for OPTIONS, an asterisk."),
    (REJECTED_FIELD_NAME, 400, NO_FAILURE, True, 0, "rejected_field_name",
     "A header field name has characters other than letters, digits and hyphens."),
    (NO_HOST, 400, NO_FAILURE, True, 0, "no_host", "The request has no Host field."),
    (TWO_HOSTS, 400, NO_FAILURE, True, 0, "two_hosts", "The request has more than one Host field."),
    (BAD_HOST, 400, NO_FAILURE, True, 0, "bad_host", "The host is not a valid name or address."),
    (BAD_ESCAPE, 400, NO_FAILURE, True, 0, "bad_escape", "A % in the path is not followed by two hexadecimal digits."),
    (ENCODED_NUL, 400, NO_FAILURE, True, 0, "encoded_nul", "The path has an encoded NUL (%00)."),
    (ENCODED_BACKSLASH, 400, NO_FAILURE, True, 0, "encoded_backslash",
     "The path has an encoded backslash (%5C), which is not accepted here."),
    (ABOVE_ROOT, 400, NO_FAILURE, True, 0, "above_root", "The path leads above the root."),
    (HIDDEN_DOTS, 400, NO_FAILURE, True, 0, "hidden_dots",
     "The path has a segment that an upstream could read as a dot segment, such as ..;x or ..%2F."),
    (BAD_VALUE, 400, NO_FAILURE, True, 0, "bad_value", "A part of the request is not valid in a header field."),
    (BAD_REWRITE, 400, NO_FAILURE, True, 0, "bad_rewrite",
     "The path, as this route changes it, would have to be normalised again."),
    (NO_ROUTE, 404, NO_FAILURE, False, 0, "no_route", "No route matches this request."),
    (NO_METHOD, 405, NO_FAILURE, False, 0, "no_method", "This method is not allowed here."),
    (HEAD_TIMEOUT, 408, NO_FAILURE, True, 0, "header_timeout", "The request head did not arrive in time."),
    (TURNED_AWAY, 408, NO_FAILURE, True, 0, "turned_away", "The gateway needed this connection for others."),
    (BODY_TIMEOUT, 408, NO_FAILURE, True, 0, "body_timeout", "The request body did not arrive in time."),
    (BODY_TOO_SLOW, 408, NO_FAILURE, True, 0, "body_too_slow", "The request body arrived too slowly."),
    (BODY_TOO_LARGE, 413, NO_FAILURE, False, 0, "body_too_large", "The request body is larger than this route allows."),
    (TARGET_TOO_LONG, 414, NO_FAILURE, True, 0, "target_too_long", "The request target is too long."),
    (BAD_EXPECTATION, 417, NO_FAILURE, False, 0, "bad_expectation", "The only supported expectation is 100-continue."),
    (MISDIRECTED, 421, NO_FAILURE, False, 0, "misdirected", "This connection was opened for another host."),
    (CERTIFICATE_WITHDRAWN, 421, NO_FAILURE, True, 0, "certificate_withdrawn",
     "The authority of this connection's client certificate is no longer accepted; connect again."),
    (BAD_VERSION, 505, NO_FAILURE, True, 0, "bad_version", "The gateway supports only HTTP/1.x."),
    (CLIENT_GONE, 499, NO_FAILURE, True, 0, "client_gone", ""),
    (CLIENT_STALLED, 499, NO_FAILURE, True, 0, "client_stalled", ""),
    (CLIENT_TOO_SLOW, 499, NO_FAILURE, True, 0, "client_too_slow", ""),
    (CONNECTION_CUT, 499, NO_FAILURE, True, 0, "client_cut", ""),
    (POLICY_FAILED, 500, NO_FAILURE, False, 0, "policy_failed", "A policy of this route failed."),
    (POLICY_ANSWERED, 0, NO_FAILURE, False, 0, "policy", ""),
    (GATEWAY_ANSWERED, 0, NO_FAILURE, False, 0, "gateway", ""),
    (ROUTE_ANSWERED, 0, NO_FAILURE, False, 0, "route", ""),
    (CACHE_ANSWERED, 0, NO_FAILURE, False, 0, "cache", ""),
    (NOT_CACHED, 504, NO_FAILURE, False, 0, "not_cached",
     "The client accepts only a stored answer (only-if-cached), and the cache has none that can be used."),
    (MAINTENANCE, 503, NO_FAILURE, False, 60, "maintenance", "This service is under maintenance."),
    (FAULT_INJECTED, 503, NO_FAILURE, False, 0, "fault_injected", "This error was injected."),
    (IP_DENIED, 403, NO_FAILURE, False, 0, "ip_denied", "This client may not use this service."),
    (UNAUTHENTICATED, 401, NO_FAILURE, False, 0, "unauthenticated", "Valid credentials are required."),
    (FORBIDDEN, 403, NO_FAILURE, False, 0, "forbidden", "These credentials do not allow this request."),
    (AUTH_UNAVAILABLE, 503, NO_FAILURE, False, 1, "auth_unavailable", "The gateway cannot check credentials now."),
    (BAD_CONTENT_TYPE, 415, NO_FAILURE, False, 0, "bad_content_type", "This media type is not accepted here."),
    (BAD_CONTENT, 422, NO_FAILURE, False, 0, "bad_content", "The request body is not accepted here."),
    (BAD_JSON, 400, NO_FAILURE, False, 0, "bad_json", "The request body is not JSON."),
    (AMBIGUOUS_PATH, 400, NO_FAILURE, False, 0, "ambiguous_path", "This path can be read in more than one way."),
    (RATE_LIMITED, 429, NO_FAILURE, False, 1, "rate_limited", "Too many requests."),
    (LIMITS_UNAVAILABLE, 503, NO_FAILURE, False, 1, "limits_unavailable", "Limits cannot be checked right now."),
    (CONCURRENCY_FULL, 503, NO_FAILURE, False, 1, "concurrency_full", "Too many requests are under way."),
    (QUEUE_TIMEOUT, 503, NO_FAILURE, False, 1, "queue_timeout", "Too many requests are under way."),
    (NO_TARGET, 503, NO_FAILURE, False, 1, "no_target", "No upstream is available for this request."),
    (BREAKER_OPEN, 503, NO_FAILURE, False, 1, "breaker_open", "No upstream is available for this request."),
    (POOL_FULL, 503, NO_FAILURE, False, 1, "pool_full", "The upstream is busy."),
    (POOL_TIMEOUT, 503, NO_FAILURE, False, 1, "pool_timeout", "The upstream is busy."),
    (NAME_UNRESOLVED, 503, FAILED_CONNECT, False, 5, "name_unresolved", "No upstream is available for this request."),
    (CONNECT_FAILED, 502, FAILED_CONNECT, False, 0, "connect_failed", "The upstream could not be reached."),
    (NO_SOCKET, 503, NO_FAILURE, False, 1, "no_socket", "The gateway is busy."),
    (CONNECT_TIMEOUT, 502, FAILED_CONNECT, False, 0, "connect_timeout", "The upstream could not be reached."),
    (TLS_FAILED, 502, FAILED_CONNECT, False, 0, "tls_failed", "The upstream could not be reached securely."),
    (UPSTREAM_RESET, 502, FAILED_RESET, False, 0, "upstream_reset", "The upstream disconnected before it answered."),
    (UPSTREAM_STALE, 502, FAILED_RESET, False, 0, "upstream_stale", "The upstream disconnected before it answered."),
    (NOT_PROCESSED, 503, NO_FAILURE, False, 1, "not_processed", "The upstream did not process the request."),
    (RESPONSE_TOO_LARGE, 502, NO_FAILURE, False, 0, "response_too_large", "The upstream's answer is too large."),
    (READ_TIMEOUT, 504, FAILED_TIMEOUT, False, 0, "read_timeout", "The upstream did not answer in time."),
    (TRY_TIMEOUT, 504, FAILED_TIMEOUT, False, 0, "try_timeout", "The upstream did not answer in time."),
    (WRITE_TIMEOUT, 504, FAILED_TIMEOUT, False, 0, "write_timeout", "The upstream did not accept the request in time."),
    (IDLE_TIMEOUT, 504, FAILED_TIMEOUT, True, 0, "idle_timeout", "The upstream stopped in the middle of its answer."),
    (TOTAL_TIMEOUT, 504, NO_FAILURE, False, 0, "total_timeout", "The request took longer than this route allows."),
    (RESPONSE_CUT, 502, FAILED_RESET, True, 0, "response_cut", "The upstream's answer ended too early."),
    (STOPPED, 503, NO_FAILURE, True, 1, "stopped", "The gateway is stopping."),
)

cdef list _reasons = [None] * CAUSES
cdef dict _said = {in_response(cause): said for cause, _, _, said in _FAULTS}
_said[RESPONSE_BAD_SWITCH] = "It switches to a protocol that the client did not request."
cdef list _details = [None] * CAUSES
cdef list _phrases = [b""] * 600

for _cause, _status, _failure, _close, _after, _reason, _detail in _TABLE:
    outcomes[_cause].status = _status
    outcomes[_cause].failure = _failure
    outcomes[_cause].arrived = _failure in (FAILED_RESET, FAILED_TIMEOUT)
    outcomes[_cause].close = _close
    outcomes[_cause].retry_after = _after
    _reasons[_cause] = _reason
    _details[_cause] = _detail

for _known in HTTPStatus:
    _phrases[_known.value] = _known.phrase.encode()
_phrases[499] = b"Client Closed Request"


SENTENCES = dict(zip(_reasons, _details))


cpdef str reason_of(int cause):
    """The word that the access log and the metrics use for this cause."""
    return _reasons[cause]


cpdef int cause_of(str reason) except -1:
    """The cause that the access log calls so. ValueError for no such word."""
    return _reasons.index(reason)


cpdef str detail_of(int cause):
    """The sentence that the client is told."""
    return _details[cause]


cdef str said_of(int cause):
    """The rule that a response broke, for the log: clients are not told what lies behind the gateway."""
    return _said[cause]


cdef const char* phrase_of(int status, Py_ssize_t* length) noexcept:
    """The reason phrase of a status; empty for one without a registered phrase."""
    cdef PyObject* phrase = PyList_GET_ITEM(_phrases, status if 0 <= status < 600 else 0)
    length[0] = PyBytes_GET_SIZE(<bytes>phrase)
    return PyBytes_AS_STRING(<bytes>phrase)
