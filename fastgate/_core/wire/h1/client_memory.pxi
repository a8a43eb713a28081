"""Bodies that lie in memory, on their way to a client over HTTP/1.1: part of client.pyx.

Theory of operation. What a transport has been given cannot be had back before it is sent, so memory that is given to
it would be tied up for as long as a slow client likes. So the socket itself is asked, straight from that memory, while
nothing is before it in the transport. Of what the kernel does not take a small part is copied into the transport: then
that has something to wait for, and says when the client takes more. For that its limits are set to nothing meanwhile;
otherwise it would say so only when much was in it. TLS has to copy anyway: it gets slices. And what is small is copied
too: that costs less than it saves when the bytes of many sides go out together (exchange_outbox.pxi).
"""

cdef enum:
    COPIED = 16384             # bytes of what the kernel does not take now


cdef int draw_on(ClientConnection c, Exchange x) except -1:
    """More of what ``x.source`` has in memory, behind the head."""
    if not c.connected or c.bodiless or c.chunked:
        return ClientSide.draw(c, x)
    c.engine.buffer.length = 0
    return draw_behind(c, x)


cdef bytes behind_each_other(const Buffer* first, const char* second, Py_ssize_t size):
    cdef bytes both = PyBytes_FromStringAndSize(NULL, first.length + size)
    memcpy(PyBytes_AS_STRING(both), first.data, first.length)
    memcpy(PyBytes_AS_STRING(both) + first.length, second, size)
    return both


cdef int draw_behind(ClientConnection c, Exchange x) except -1:
    """What ``x.source`` has in memory goes out behind what was assembled, as far as the client takes it."""
    cdef Buffer* buffer = &c.engine.buffer
    cdef const char* at
    cdef Py_ssize_t size = x.source.ready(&at)
    cdef Py_ssize_t head = buffer.length
    cdef Py_ssize_t sent = 0
    cdef bint plain = c.listener.scheme == "http"
    if not c.eager and c.outbox_takes(head + size):
        c.write(behind_each_other(buffer, at, size))
        sent = head + size
    else:
        c.send_unsent()
        if plain and c.transport.get_write_buffer_size() == 0:
            sent = send_now(c.descriptor(), buffer.data, head, at, size)
            c.written += sent
    c.engine.slab.bytes_out += head
    if sent < head + size:
        if plain and not c.eager:
            c.eager = True
            c.transport.set_write_buffer_limits(0)
        if sent < head:
            c.written += head - sent
            c.hand_over(PyBytes_FromStringAndSize(buffer.data + sent, head - sent))
            sent = 0
        else:
            sent -= head
        head = min(size - sent, <Py_ssize_t>(COPIED if plain else SLICE))
        c.written += head
        c.hand_over(PyBytes_FromStringAndSize(at + sent, head))
        sent += head
    else:
        sent = size
    if sent == size and c.eager:
        c.eager = False
        c.transport.set_write_buffer_limits()
    x.bytes_out += sent
    c.engine.slab.bytes_out += sent
    x.source.took(sent)
    if not c.write_paused:
        c.rearm()
    return 0
