"""Who asks, as a fact of a request: what authentication finds out, and keys, edits, logs and policies read.

Theory of operation. An identity is made once for a client and shared by its requests, so nothing of it changes; claims
that are asked for as text are worked out once.
"""

from types import MappingProxyType


cdef class Identity:
    def __init__(self, str id, str method, *, claims=None, source=None, fields=(), client_fields=()):
        self.id = id
        self.method = method
        self.claims = MappingProxyType(dict(claims) if claims is not None else {})
        self.source = source
        self.key = f"{method}\0{id}".encode("utf-8", "surrogatepass")
        self.fields = tuple((name.encode("ascii"), value.encode()) for name, value in fields)
        self.client_fields = tuple((name.encode("ascii"), value.encode("latin-1")) for name, value in client_fields)
        self.texts = {}

    cdef bytes claim(self, str path):
        """`claim_text` of its claims, worked out once."""
        cdef object text = self.texts.get(path)
        if text is None and path not in self.texts:
            text = self.texts[path] = claim_text(self.claims, path)
        return <bytes>text

    def with_others(self, Identity other):
        """This one, with the claims and fields of another method that was needed too."""
        cdef Identity both = Identity(self.id, self.method, claims={**other.claims, **self.claims}, source=self.source)
        both.fields = self.fields + other.fields
        return both

    def __repr__(self):
        return f"<Identity {self.id!r} by {self.method}>"


cdef bytes claim_text(object claims, str path):
    """A claim as text in UTF-8; None where there is none, or where it is no text, number or truth value.

    ``address.country`` is a member of a member, unless there is a claim of just that name.
    """
    cdef object value = claims.get(path)
    if value is None and "." in path:
        first, *others = path.split(".")
        value = claims.get(first)
        for name in others:
            value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, (int, float)):
        value = str(value)
    return (<str>value).encode("utf-8", "surrogatepass") if isinstance(value, str) else None
