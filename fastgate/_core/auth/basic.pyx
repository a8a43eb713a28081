"""Names and passwords (RFC 7617): who was verified lately is known at once, for everybody else a hash is worked out.

The cache holds no password: its keys are HMACs, under a secret that only this process has, over name, password and
stored hash. So a password that was changed is unknown at once. A name that is none is verified too, against a hash of
the users' cost that no password has: what is told, and when, is the same as for a wrong password.

What is no credential of RFC 7617 (not strict base64, no colon, control characters, not UTF-8), or is longer than bcrypt
reads, is refused without a hash: nothing in it depends on the users.
"""

from binascii import Error, a2b_base64, b2a_base64
from hmac import digest

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.auth.gate cimport ABSENT, REFUSED, WAITING, Later, Method, inquiry_of
from fastgate._core.exchange.identity cimport Identity
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.head cimport AUTHORIZATION, DROPPED, Field, Head, same
from fastgate._core.exchange.timers cimport clock_us

cdef enum:
    MAX_TOKEN = 1024           # characters of a credential
    MAX_PASSWORD = 72          # bytes: bcrypt does not see more
    NONE = -1
    SEVERAL = -3

cdef bytes _CONTROLS = bytes([*range(32), 127])


cdef class BasicMethod(Method):
    def __init__(self, users, nobody, check, *, realm, secret, cache, ttl, hide):
        self.name = "basic"
        self.challenge = b'Basic realm="%b", charset="UTF-8"' % realm.encode("ascii")
        self.users = users
        self.nobody = (nobody, None)
        self.check = check
        self.secret = secret
        self.cache = cache
        self.ttl = ttl
        self.hide = hide

    cdef int verify(self, Exchange x) except -1:
        cdef int i = self.find(x)
        cdef bytes token, credential, name, password, key
        cdef Identity identity
        if i == NONE:
            return ABSENT
        if i == SEVERAL:
            return REFUSED
        token = x.request.value_of(i)[5:].lstrip(b" ")
        if PyBytes_GET_SIZE(token) > MAX_TOKEN:
            return REFUSED
        try:
            credential = a2b_base64(token)
            credential.decode()
        except (Error, UnicodeDecodeError):
            return REFUSED
        # The module is lenient; what it would have written is the one spelling that is valid.
        if b2a_base64(credential, newline=False) != token or b":" not in credential \
                or len(credential.translate(None, _CONTROLS)) != PyBytes_GET_SIZE(credential):
            return REFUSED
        name, _, password = credential.partition(b":")
        if PyBytes_GET_SIZE(password) > MAX_PASSWORD:
            return REFUSED
        stored, identity = self.users.get(name, self.nobody)
        key = digest(self.secret, credential + b"\0" + stored, "sha256")
        found = self.cache.find(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), clock_us() / 1e6)
        if found is not None:
            return self.grant(x, <Identity>found)
        inquiry_of(x).pending = Later(self.wait, password, stored, key, identity)
        return WAITING

    async def wait(self, bytes password, bytes stored, bytes key, identity):
        """What becomes of a credential that is not in the cache."""
        valid = await self.check(password, stored, key)
        if not valid or identity is None:
            return None
        if self.ttl > 0:
            self.cache.keep(key, <Identity>identity, clock_us() / 1e6 + self.ttl)
        return identity

    cdef int grant(self, Exchange x, Identity identity) except -1:
        cdef int i
        if self.hide:
            i = self.find(x)
            if i >= 0:
                x.request.fields[i].flags |= DROPPED
        return Method.grant(self, x, identity)

    cdef int find(self, Exchange x) except -2:
        """The field with the credential. NONE; SEVERAL: it cannot be said which one counts."""
        cdef Head head = x.request
        cdef Field* field
        cdef const unsigned char* value
        cdef int found = NONE
        cdef int several = 0
        cdef int i
        for i in range(head.count):
            field = &head.fields[i]
            if field.id != AUTHORIZATION or field.flags & DROPPED:
                continue
            several += 1
            value = head.p + field.value
            if field.value_length >= 5 and same(value, 5, "basic", 5) \
                    and (field.value_length == 5 or value[5] == b" "):
                found = i
        return SEVERAL if found >= 0 and several > 1 else found
