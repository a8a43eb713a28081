from libc.stdint cimport int64_t, uint32_t

from fastgate._core.router cimport Router


cdef class Edits:
    cdef readonly tuple removed        # lower-case names
    cdef readonly tuple added          # (name, value) or (name, Template)

    cdef bint removes(self, const unsigned char* name, Py_ssize_t length) noexcept


cdef class Template:
    cdef readonly tuple parts          # bytes, or (variable, argument)


cdef class Route:
    cdef readonly str name
    cdef readonly object upstream      # Upstream
    cdef readonly tuple on_request     # None where no policy has the hook
    cdef readonly tuple on_response
    cdef readonly tuple on_error
    cdef bint buffer_request           # the whole body before the upstream is asked
    cdef bint read_request             # a policy reads the request body
    cdef bint buffer_response
    cdef object rewrite                # callable: normalised path → path to forward, None = refuse
    cdef Edits request_edits
    cdef Edits response_edits
    cdef int host_mode                 # HostMode
    cdef bytes host
    cdef bint names_trace
    cdef tuple upgrades                # lower-case
    cdef int64_t max_body              # bytes; 0 = no limit
    cdef uint32_t connect_timeout      # milliseconds; 0 = none
    cdef uint32_t read_timeout
    cdef uint32_t write_timeout
    cdef uint32_t idle_timeout
    cdef uint32_t total_timeout


cdef enum HostMode:
    HOST_UPSTREAM = 0
    HOST_CLIENT = 1
    HOST_LITERAL = 2


cdef enum Variable:
    CLIENT_IP = 0
    REQUEST_ID = 1
    REQUEST_HOST = 2
    REQUEST_PATH = 3
    PARAMETER = 4


cdef class Runtime:
    cdef readonly Router router
    cdef bytes methods                 # what OPTIONS * answers
    cdef bint merge_slashes
    cdef int underscores
    cdef int max_headers
    cdef Py_ssize_t max_header_bytes
    cdef uint32_t keepalive            # milliseconds
    cdef uint32_t header_timeout
    cdef uint32_t body_timeout
    cdef bint forwarded
    cdef bint via
    cdef bytes request_id              # the field's name as it is sent; None = off
    cdef bytes request_id_lower
    cdef bint html_errors
    cdef bytes server_line             # b"Server: …\r\n" or b""
    cdef bytes health_path             # None: no such path
    cdef object trusted                # callable address → bool, None = nobody
    cdef bint check_server_name        # a Host that is not the SNI name is misdirected
