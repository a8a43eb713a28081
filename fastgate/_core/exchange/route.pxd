from libc.stdint cimport int64_t, uint32_t

from fastgate._core.routing.router cimport Router


cdef enum OwnField:
    """Fields that the gateway sends itself: a bit is set for one that an edit has removed or replaced."""
    OWN_HOST = 1
    OWN_FORWARDED_FOR = 2
    OWN_FORWARDED_PROTO = 4
    OWN_FORWARDED_HOST = 8
    OWN_FORWARDED_PORT = 16
    OWN_FORWARDED = 32
    OWN_VIA = 64
    OWN_REQUEST_ID = 128
    OWN_DATE = 256
    OWN_SERVER = 512
    OWN_CONTENT_TYPE = 1024            # of answers of its own, where it is one field among others
    OWN_QUOTA_POLICY = 2048
    OWN_QUOTA = 4096
    OWN_QUOTA_LIMIT = 8192
    OWN_QUOTA_REMAINING = 16384
    OWN_QUOTA_RESET = 32768
    OWN_UPGRADE = 65536                # of answers of its own, with the Connection that goes with it


cdef uint32_t own_field(bytes lower, bytes request_id) except? 0
cdef uint32_t own_variable(bytes folded, bytes request_id) except? 0


cdef class Route:
    cdef readonly str name
    cdef readonly object delivery      # Delivery: who answers
    cdef readonly tuple stamps         # of Stamp; None where there are none
    cdef uint32_t stamped              # OwnField: what of the gateway's own fields they may put
    cdef readonly tuple on_request     # gates, hooks of plugins, edits; None where there are none
    cdef readonly tuple on_response
    cdef readonly tuple on_error
    cdef readonly object problems      # Problems; None: those of its path's prefix, or of the runtime
    cdef bint buffer_request           # the whole body before the upstream is asked
    cdef bint read_request             # a policy reads the request body
    cdef bint buffer_response
    cdef readonly tuple request_filters    # of BodyFilter, the same for every exchange; None where there are none
    cdef readonly tuple response_filters   # of BodyRule; None where there are none
    cdef bint alters_response          # there is something to do before the answer goes out
    cdef readonly object edits         # AnswerEdits: of the heads of answers; None where there are none
    cdef bint answers_preflights
    cdef int host_mode                 # HostMode
    cdef bytes host
    cdef bint names_trace
    cdef bint keeps_backslash          # a path may have an encoded one
    cdef bint trailers                 # fields behind a request's body go on
    cdef bint serves_half_closed       # a client that has shut its sending side gets its answer
    cdef int64_t min_rate              # bytes a second of a client that is waited for; 0 = none
    cdef tuple upgrades                # lower-case
    cdef int64_t max_body              # bytes; 0 = no limit
    cdef uint32_t read_timeout         # milliseconds; 0 = none
    cdef uint32_t write_timeout
    cdef uint32_t idle_timeout
    cdef uint32_t total_timeout


cdef enum HostMode:
    HOST_UPSTREAM = 0
    HOST_CLIENT = 1
    HOST_LITERAL = 2


cdef class Runtime:
    cdef object __weakref__
    cdef readonly Router router        # None once it was dissolved
    cdef bytes methods                 # what OPTIONS * answers
    cdef bint merge_slashes
    cdef int field_names               # FieldNames
    cdef int max_headers
    cdef Py_ssize_t max_header_bytes
    cdef uint32_t keepalive            # milliseconds
    cdef uint32_t header_timeout
    cdef uint32_t body_timeout
    cdef int64_t min_rate              # bytes a second, where no route says it
    cdef bint forwarded
    cdef bint via
    cdef bytes request_id              # the field's name as it is sent; None = off
    cdef bytes request_id_lower
    cdef uint32_t request_id_bit       # of that name in ``Head.seen``; 0: it is a name that a head does not know
    cdef bytes request_id_variable     # as `same_variable` compares
    cdef tuple unlogged                # parameters of queries that the access log leaves out; None = none
    cdef tuple told                    # the observers; None where there are none
    cdef readonly tuple problems       # of Problems, in the order in which they are asked
    cdef readonly tuple problems_below     # (prefix, Problems), the longest first; None where there are none
    cdef bytes server_line             # b"Server: …\r\n" or b""
    cdef bytes health_path             # None: no such path
    cdef object trusted                # callable address → bool, None = nobody
    cdef bint check_server_name        # a Host that is not the SNI name is misdirected
