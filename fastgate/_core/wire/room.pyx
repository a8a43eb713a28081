"""Room for connections of clients: how many there may be in this worker, whose they are, and which give way.

Theory of operation
-------------------
A connection counts from the moment it was accepted, also while its TLS handshake or its PROXY protocol header is
awaited (``Engine.arrivals``). When as many are open as may be, some that nothing is under way on are closed for the new
one. There are three kinds of these: idle ones (between requests, or answered and lingering), arrivals, and those whose
request head is not complete. Of the largest kind the ones that have waited longest give way, so that normally it is
idle keep-alive connections, and in a flood of connections that send nothing the flood itself.

Nothing of this is kept up to date while requests pass: deadlines say since when a connection waits, and all connections
are looked at when room is needed. Then a part of all gives way at once, so that one look pays for several.
"""

import socket

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastgate._core.exchange.exchange cimport WAITS_FOR_HEAD, WAITS_FOR_REQUEST, ClientSide
from fastgate._core.exchange.worker cimport Engine
from fastgate._core.routing.networks cimport normal_address

cdef enum:
    GIVE_AT_ONCE = 32          # connections that give way at once, at most; and a 32nd of all that may be
    FULL_FOR = 50              # milliseconds before others are asked again, when none could give way


cdef bint has_room(Engine engine) except -1:
    """Whether one more connection may be open. False: it must be closed, because no other gives way."""
    if engine.max_connections == 0 or len(engine.connections) + len(engine.arrivals) < engine.max_connections:
        return True
    if make_room(engine):
        return True
    engine.turned_away("full", f"{engine.max_connections} are open and busy")
    return False


cdef bint admitted(Engine engine, object share) except -1:
    """Counts a connection among those of its client, and finds room for it. False: it has to be closed now."""
    # In this order: who has his share already makes nobody give way.
    if not takes_share(engine, share):
        return False
    if has_room(engine):
        return True
    leave_share(engine, share)
    return False


cdef class Places:
    """Counts connections before more is known of them than that they are there."""
    cdef Engine engine

    def __cinit__(self, Engine engine not None):
        self.engine = engine

    def arrived(self, connection):
        """Counts a connection whose first bytes are awaited; False: it has to be closed now."""
        if not has_room(self.engine):
            return False
        self.engine.arrivals[connection] = self.engine.wheel.now
        return True

    def handed_on(self, connection, protocol):
        """``protocol`` is the next of a connection that had arrived: its time began when that was accepted."""
        protocol.accepted_at = self.engine.arrivals.get(connection, 0)

    def left(self, connection):
        """A connection that had arrived is closed, or counted as another from now on."""
        self.engine.arrivals.pop(connection, None)


cdef bint make_room(Engine engine) except -1:
    cdef ClientSide connection
    cdef Py_ssize_t idle = 0
    cdef Py_ssize_t asking = 0
    cdef Py_ssize_t closed = 0
    cdef int most = max(1, min(<int>GIVE_AT_ONCE, engine.max_connections // 32))
    cdef int waiting
    if engine.wheel.now < engine.full_until:
        return False
    for connection in engine.connections:
        waiting = connection.waits_for()
        if waiting == WAITS_FOR_REQUEST:
            idle += 1
        elif waiting == WAITS_FOR_HEAD:
            asking += 1
    for _, kind in sorted(((-idle, 0), (-len(engine.arrivals), 1), (-asking, 2))):
        closed = end_arrivals(engine, most) if kind == 1 \
            else end_longest(engine, WAITS_FOR_REQUEST if kind == 0 else WAITS_FOR_HEAD, most)
        if closed:
            engine.slab.given_up += closed
            most = engine.max_connections
            engine.say_full("given up", f"{most} connections are open: closing the longest idle ones for new ones")
            return True
        if kind:
            # The flood has only just come: idle connections do not pay for it.
            break
    engine.full_until = engine.wheel.now + FULL_FOR
    return False


cdef Py_ssize_t end_arrivals(Engine engine, int most) except -1:
    cdef list chosen = []
    cdef Py_ssize_t closed = 0
    for connection, since in engine.arrivals.items():
        if len(chosen) == most or <uint64_t>since + YOUNG > engine.wheel.now:
            break
        chosen.append(connection)
    for connection in chosen:
        del engine.arrivals[connection]
        connection.abort()
        closed += 1
    return closed


cdef Py_ssize_t end_longest(Engine engine, int waiting, int most) except -1:
    """Of the connections that wait for the same, the ones that have waited longest."""
    cdef PyObject* longest[GIVE_AT_ONCE]
    cdef uint64_t times[GIVE_AT_ONCE]
    cdef ClientSide connection
    cdef uint64_t since
    cdef int count = 0
    cdef int place
    cdef Py_ssize_t closed = 0
    for connection in engine.connections:
        if connection.waits_for() != waiting:
            continue
        since = connection.waits_since()
        if since == 0 or (count == most and since >= times[count - 1]):
            continue
        place = count if count < most else count - 1
        while place > 0 and times[place - 1] > since:
            times[place] = times[place - 1]
            longest[place] = longest[place - 1]
            place -= 1
        times[place] = since
        longest[place] = <PyObject*>connection
        if count < most:
            count += 1
    # The set holds them until here.
    for each in [<object>longest[place] for place in range(count)]:
        connection = <ClientSide>each
        if connection.give_way():
            engine.connections.discard(connection)
            closed += 1
    return closed


# -- shares by address

cdef object share_of(Engine engine, object transport, object peer):
    """The client whose connections this one counts among: an address, or a network of 64 bits. None: nobody's.

    Trusted proxies bring connections of many clients, and Unix sockets have no address.
    """
    cdef object address
    cdef bytes normal
    cdef str host
    if engine.max_per_client == 0:
        return None
    address = peer if peer is not None else transport.get_extra_info("peername")
    normal = normal_address(address[0].encode("utf-8", "surrogateescape")) if isinstance(address, tuple) else None
    if normal is None:
        return None
    host = normal.decode("ascii")
    if engine.runtime.trusted is not None and engine.runtime.trusted(host):
        return None
    return socket.inet_pton(socket.AF_INET6, host)[:8] if ":" in host else host


cdef bint takes_share(Engine engine, object share) except -1:
    """Counts one more connection of a client. False: it has as many as it may."""
    cdef Py_ssize_t count
    if share is None:
        return True
    count = engine.shares.get(share, 0)
    if count >= engine.max_per_client:
        name = share if isinstance(share, str) else f"{socket.inet_ntop(socket.AF_INET6, share + bytes(8))}/64"
        engine.turned_away("share", f"{name} has {count} (max_connections_per_client)")
        return False
    engine.shares[share] = count + 1
    return True


cdef int leave_share(Engine engine, object share) except -1:
    cdef Py_ssize_t count
    if share is not None:
        count = engine.shares.get(share, 0)
        if count > 1:
            engine.shares[share] = count - 1
        else:
            engine.shares.pop(share, None)
    return 0
