"""Edits of a route: what its configuration adds to heads, replaces and takes away."""

from fastgate._core.exchange.causes cimport BAD_VALUE
from fastgate._core.exchange.exchange cimport ENDED, PASSED, Answer, AnswerEdits, Exchange, Gate
from fastgate._core.exchange.field_values cimport edited_host, with_values
from fastgate._core.exchange.head cimport DROPPED, RULED, Field, Head, folded_name, same, same_variable
from fastgate._core.exchange.route cimport OWN_HOST, own_field, own_variable


cdef class Edits:
    """What is done to the fields of a head: ``removed`` names go, ``added`` pairs are appended, in this order.

    From a request a name goes in every spelling that servers take for the same variable.
    """

    def __cinit__(self, *, removed=(), added=(), request_id=""):
        cdef bytes id_name = request_id.lower().encode("ascii") if request_id else None
        cdef bytes id_variable = folded_name(id_name) if request_id else None
        self.removed = tuple(name.lower().encode("ascii") for name in removed)
        self.removed_variables = tuple(folded_name(name) for name in self.removed)
        self.added = tuple((name.encode("ascii"), value) for name, value in added)
        own = {name for name in self.removed if own_field(name, id_name)}
        for name in self.removed:
            self.own |= own_field(name, id_name)
        for name in self.removed_variables:
            self.own_of_requests |= own_variable(name, id_variable)
        if own == {*self.removed, *(name.lower() for name, _ in self.added)}:
            self.own_only = self if own else None
        elif own:
            self.own_only = Edits(
                removed=sorted(name.decode() for name in own),
                added=[(name.decode(), value) for name, value in self.added if name.lower() in own],
                request_id=request_id,
            )

    cdef bint removes(self, const unsigned char* name, Py_ssize_t length, bint of_request) noexcept:
        cdef bytes removed
        if of_request:
            for removed in self.removed_variables:
                if same_variable(name, length, removed, len(removed)):
                    return True
            return False
        for removed in self.removed:
            if same(name, length, removed, len(removed)):
                return True
        return False


cdef class RequestEdits(Gate):
    """The step that edits the head of a request."""

    def __init__(self, Edits edits):
        self.edits = edits

    cdef int enter(self, Exchange x) except -1:
        x.request_withheld |= self.edits.own_of_requests
        x.request_extra = edit(x, self.edits, x.request, x.request_extra)
        if x.request_extra is None or (x.request_withheld & OWN_HOST and edited_host(x) is None):
            x.refuse(BAD_VALUE)
            return ENDED
        return PASSED

    cdef bint owns(self, bytes folded) except -1:
        return folded in self.edits.removed_variables


cdef class ResponseEdits(AnswerEdits):
    """What a route does to the heads of answers."""

    def __init__(self, Edits edits):
        self.edits = edits

    cdef int interim(self, Exchange x) except -1:
        return take_out(x.response, self.edits, False)

    cdef bint arrived(self, Exchange x) except -1:
        x.response_withheld |= self.edits.own
        x.response_extra = edit(x, self.edits, x.response, x.response_extra)
        return x.response_extra is not None

    cdef Answer own(self, Exchange x, Answer answer, bint given):
        # Of an answer that no route and no policy gave, edits concern the gateway's own fields alone: what else is said
        # of an application's answers would be wrong of an error.
        cdef Edits edits = self.edits if given else self.edits.own_only
        cdef list fields
        if edits is not None:
            x.response_withheld |= edits.own
            fields = edit(x, edits, None, answer.fields)
            if fields is None and given:
                return None
            answer.fields = fields or []
        return answer

    cdef bint owns(self, bytes folded) except -1:
        return folded in self.edits.removed_variables


cdef list edit(Exchange x, Edits change, Head head, list extra):
    """Applies a route's edits: flags what goes, returns what is added, beside what was.

    None: a value that the client chose cannot stand in a field, and the request has to be refused.
    """
    cdef bint of_request = head is x.request
    if head is not None:
        take_out(head, change, of_request)
    if extra is not None and change.removed:
        extra = [pair for pair in extra if not change.removes(pair[0], len(<bytes>pair[0]), of_request)]
    if extra is None:
        extra = []
    return with_values(x, change.added, extra, False)


cdef int take_out(Head head, Edits change, bint of_request) except -1:
    """Flags the fields of a head that go."""
    cdef Field* field
    cdef int i
    if change.removed:
        for i in range(head.count):
            field = &head.fields[i]
            if not field.flags & RULED and change.removes(
                head.p + field.name, field.name_length, of_request
            ):
                field.flags |= DROPPED
    return 0
