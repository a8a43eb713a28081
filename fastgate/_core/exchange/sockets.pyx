"""What a transport does not tell: questions to the socket itself."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, errno

import socket
import struct

from uvloop.loop import TCPTransport, UnixTransport

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    int getsockopt(int fd, int level, int option, void* value, socklen_t* length)
    Py_ssize_t recv(int fd, void* buffer, size_t length, int flags)
    Py_ssize_t c_send "send"(int fd, const void* data, size_t length, int flags)
    enum: MSG_PEEK
    enum: MSG_DONTWAIT
    enum: MSG_NOSIGNAL

cdef extern from *:
    """
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #ifdef __linux__
    static int tcp_state(int fd) {
        struct tcp_info info;
        socklen_t length = sizeof(info);
        return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 ? info.tcpi_state : -1;
    }
    static int tcp_is_closing(int state) {
        return state == TCP_CLOSE || state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK;
    }
    static int tcp_is_reset(int state) { return state == TCP_CLOSE; }
    #else
    static int tcp_state(int fd) { return -1; }
    static int tcp_is_closing(int state) { return 0; }
    static int tcp_is_reset(int state) { return 0; }
    #endif
    #include <sys/ioctl.h>
    static long output_queue(int fd) {
        int size = 0;
    #ifdef TIOCOUTQ
        if (ioctl(fd, TIOCOUTQ, &size) < 0)
            size = 0;
    #endif
        return size;
    }
    static ssize_t send_two(int fd, const char *first, size_t first_length, const char *second, size_t second_length) {
        struct iovec parts[2] = {{(void *)first, first_length}, {(void *)second, second_length}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    """
    int tcp_state(int fd) nogil
    int tcp_is_closing(int state) nogil
    int tcp_is_reset(int state) nogil
    long output_queue(int fd) nogil
    Py_ssize_t send_two(
        int fd, const char* first, size_t first_length, const char* second, size_t second_length
    ) nogil

cdef bytes _NO_LINGER = struct.pack("ii", 1, 0)


cdef bint is_plain(object transport) noexcept:
    """Whether what is written to this transport is what its socket is given, byte by byte."""
    return type(transport) is TCPTransport or type(transport) is UnixTransport


cdef bint is_closing(int fd) noexcept:
    """Whether the peer has closed or reset the connection. Unread bytes do not hide it, as they do from `recv`."""
    return tcp_is_closing(tcp_state(fd))


cdef bint is_reset(int fd) noexcept:
    """Whether the connection is no more, in either direction."""
    return tcp_is_reset(tcp_state(fd))


cdef long unacknowledged(int fd) noexcept:
    """Bytes that were written to the socket and that the peer has not acknowledged."""
    return output_queue(fd)


cdef Py_ssize_t send_now(
    int fd, const char* head, Py_ssize_t head_length, const char* body, Py_ssize_t length
) noexcept:
    """How many bytes of the two the kernel takes at once. 0 for an error too: the transport's next write meets it."""
    cdef Py_ssize_t sent = send_two(fd, head, head_length, body, length)
    return sent if sent > 0 else 0


cdef Py_ssize_t send_one(int fd, const char* data, Py_ssize_t length) noexcept:
    """As `send_now`, for one piece."""
    cdef Py_ssize_t sent = c_send(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL)
    return sent if sent > 0 else 0


cdef bint is_quiet(int fd) noexcept:
    """Whether a connection is open with nothing to read."""
    cdef char byte
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 and errno == EAGAIN


cdef bytes read_waiting(int fd):
    """What lies unread in a socket, up to 64 KB; None: nothing does. Also after a reset: what came before it stays."""
    cdef bytes data = PyBytes_FromStringAndSize(NULL, 65536)
    cdef Py_ssize_t size = recv(fd, PyBytes_AS_STRING(data), 65536, MSG_DONTWAIT)
    return data[:size] if size > 0 else None


cdef int reset_on_close(object transport) except -1:
    """Closing sends RST from now on; `abort` alone sends a clean FIN."""
    handle = transport.get_extra_info("socket")
    if handle is not None and handle.family != socket.AF_UNIX:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    return 0
