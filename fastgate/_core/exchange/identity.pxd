cdef class Identity:
    """Who asks, as an authentication method found out; immutable, and shared by the requests of one client."""
    cdef readonly str id
    cdef readonly str method
    cdef readonly object claims        # a mapping that nobody can change
    cdef readonly object source
    cdef bytes key                     # what limits count by
    cdef tuple fields                  # (name, value) for the upstream
    cdef tuple client_fields           # (name, value) for the client, with the one answer that this identity leads to
    cdef dict texts                    # claims that were asked for as text, by their paths

    cdef bytes claim(self, str path)


cdef bytes claim_text(object claims, str path)
