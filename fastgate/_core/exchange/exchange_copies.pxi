"""Exchanges without a client: copies of a request, and answers that go on without the client that asked for them.

Declared in exchange.pxd, part of exchange.pyx. Such an exchange has its own delivery and response, shares nothing that
changes with its original, owes nothing of what that owes, runs no policies, and is neither counted as a request nor
logged. So it can fail, stall or outlive its original in every way without touching it.
"""

cdef class NoClient(ClientSide):
    cdef int settled(self, Exchange x) except -1:
        self.exchange = None
        return 0


cdef Exchange copy_of(Exchange x, NoClient client):
    """The same request once more, nothing sent yet: all facts, no duty. Whoever makes it gives it a delivery."""
    cdef Exchange copy = take_exchange(x.engine)
    cdef Facts facts = x.facts
    client.engine = x.engine
    client.exchange = copy
    client.peer = x.client.peer
    copy.is_copy = True
    copy.client = client
    copy.runtime = x.runtime
    copy.route = x.route
    copy.request.copy(x.request)
    copy.entry = x.entry
    copy.found = x.found
    copy.host = x.host
    copy.host_length = x.host_length
    copy.path = x.path
    copy.path_length = x.path_length
    copy.path_owner = x.path_owner
    copy.forward_path = x.forward_path
    copy.query = x.query
    copy.query_owner = x.query_owner
    copy.query_length = x.query_length
    copy.has_query = x.has_query
    copy.client_ip = x.client_ip
    copy.hops = x.hops
    copy.identity = x.identity
    memcpy(copy.id, x.id, x.id_length)
    copy.id_length = x.id_length
    copy.is_head = x.is_head
    copy.is_get = x.is_get
    copy.idempotent = x.idempotent
    copy.request_complete = x.request_complete
    copy.buffering = x.buffering
    copy.body = list(x.body) if x.body is not None else None
    copy.body_kept = x.body_kept
    copy.body_lost = x.body_lost
    copy.body_bytes = x.body_bytes
    copy.request_extra = list(x.request_extra) if x.request_extra is not None else None
    copy.request_withheld = x.request_withheld
    copy.tries = x.tries
    copy.target_name = x.target_name
    copy.head_at = x.head_at
    copy.forwarded_at = x.forwarded_at
    while facts is not None:
        facts.copy_to(copy)
        facts = facts.others
    x.engine.copies.add(copy)
    return copy


cdef Exchange detach(Exchange x, NoClient client):
    """What answers ``x`` goes on without it, in a copy: the connection, what has come of the answer and what is to.

    ``x`` has no delivery any more; it may be answered otherwise, or ended.
    """
    cdef Exchange copy = copy_of(x, client)
    cdef Head head = copy.response
    copy.response = x.response
    x.response = head
    copy.phase = x.phase
    copy.status = x.status
    copy.response_started = x.response_started
    copy.response_at = x.response_at
    copy.connected_at = x.connected_at
    copy.total_due = x.total_due
    copy.delivery = x.delivery
    copy.source = x.source
    copy.body_flows = x.body_flows
    x.delivery = None
    x.source = None
    x.body_flows = False
    copy.delivery.move(x, copy)
    copy.wait(0)
    return copy
