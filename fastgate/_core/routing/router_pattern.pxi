# Patterns and conditions as they are written, checked and turned into what the trees hold.

cdef enum:
    MAX_CONDITIONS = 100
    MAX_LITERAL = 60000

cdef enum End:
    WHOLE        # the path ends where the pattern ends
    REST         # {name*}
    PREFIX       # /*

cdef object TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
cdef object PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\*?)\}")
cdef object ESCAPE = re.compile("%([0-9A-Fa-f]{2})?")
cdef object UNWRITABLE = re.compile(r"[^\x21-\x7e]")
cdef object HOST = re.compile(
    r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*|\[[0-9a-f:.]+\]"
)


def _expression(str source, **options):
    """A compiled `Expression`; on use, because a router without one loads nothing."""
    from fastgate._core.routing.expressions import compile_expression

    try:
        return compile_expression(source, **options)
    except ValueError as error:
        raise ValueError(f"bad regular expression: {error}") from None


def _percent_encoded(found) -> str:
    return "".join([f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass")])


cdef str escape_unwritable(str text):
    """Percent-encodes the characters that cannot stand in a request target: spaces, controls, non-ASCII."""
    return UNWRITABLE.sub(_percent_encoded, text)


cdef class _Pattern:
    """A pattern taken apart: literal and parameter pieces in turn (literal first), names, and how it ends."""

    cdef list literals
    cdef list names
    cdef End end
    cdef object regex            # an Expression; None: no regular expression
    cdef object captures         # the same, with the groups that have names; None: there are none

    @staticmethod
    cdef _Pattern parse(str path, bint merge_slashes):
        cdef _Pattern self = _Pattern()
        self.literals = []
        self.names = []
        self.end = WHOLE
        try:
            if path.startswith("~"):
                self.parse_regex(path[1:])
            else:
                self.parse_segments(path, merge_slashes)
            if len(self.names) > MAX_CAPTURES:
                raise ValueError(f"more than {MAX_CAPTURES} parameters")
        except ValueError as error:
            raise ValueError(f"path {path!r}: {error}") from None
        return self

    cdef int parse_regex(self, str source) except -1:
        self.regex = _expression(source, captures="none")
        self.names = list(self.regex.names)
        self.captures = _expression(source, captures="named") if self.names else None
        return 0

    cdef int parse_segments(self, str path, bint merge_slashes) except -1:
        cdef str literal = ""
        cdef list segments
        cdef Py_ssize_t i
        if not path.startswith("/"):
            raise ValueError('a pattern must begin with "/", or with "~" if it is a regular expression')
        for character in "?#\\":
            if character in path:
                raise ValueError(f"{character!r} cannot occur in a path" + (
                    "; conditions on the query belong in query" if character == "?" else ""
                ))
        segments = escape_unwritable(path).split("/")[1:]
        for i, segment in enumerate(segments):
            last = i == len(segments) - 1
            if "{" in segment or "}" in segment:
                self.literals.append(f"{literal}/")
                literal = ""
                self.add_parameter(segment, last)
            elif segment == "*" and last:
                self.literals.append(f"{literal}/")
                self.end = PREFIX
            elif "*" in segment:
                raise ValueError('"*" must be the whole last segment ("/api/*"); write the character itself as %2A')
            else:
                if not segment and not last and merge_slashes:
                    raise ValueError('"//" never matches: repeated slashes of a request are merged')
                literal += "/" + literal_segment(segment)
                if len(literal) > MAX_LITERAL:
                    raise ValueError(f"more than {MAX_LITERAL} bytes without a parameter")
        if self.end == WHOLE:
            self.literals.append(literal)
        return 0

    cdef int add_parameter(self, str segment, bint last) except -1:
        found = PARAMETER.fullmatch(segment)
        if found is None:
            if segment.count("{") != segment.count("}"):
                raise ValueError(f"unbalanced braces in {segment!r}")
            raise ValueError(
                f"{segment!r} is not a valid parameter: use a whole segment, {{name}} or, at the end, {{name*}}, "
                "with a name of letters, digits and underscores"
            )
        name, star = found.groups()
        if name in self.names:
            raise ValueError(f"parameter {name!r} occurs twice")
        if star:
            if not last:
                raise ValueError(f"{segment!r} matches the rest of the path and must be the last segment")
            self.end = REST
        self.names.append(name)
        return 0


def _literal_spelling(found) -> str:
    """One escape of a literal in the spelling in which literals are compared; see ``spelled``."""
    cdef int value
    if found[1] is None:
        raise ValueError("broken percent-encoding")
    value = int(found[1], 16)
    if value == 0 or value == c"\\":
        raise ValueError(f"{found[0]} is refused in every request")
    return chr(value) if 0x21 <= value <= 0x7E and value not in b"/%" else f"%{value:02X}"


cdef str literal_segment(str segment):
    cdef str literal = ESCAPE.sub(_literal_spelling, segment)
    cdef bytes encoded = literal.encode()
    if literal in (".", "..") or hides_dots(encoded, len(encoded)):
        raise ValueError(f"{segment!r} never matches: dot segments of a request are resolved or refused")
    return literal


cdef tuple strings(object given, str what):
    """A list of distinct strings as a tuple."""
    if isinstance(given, (str, bytes)):
        raise TypeError(f"{what} must be a list of strings, not one string")
    cdef tuple values = tuple(given)
    cdef set seen = set()
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{what}: {value!r} is not a string")
        if value in seen:
            raise ValueError(f"{what}: {value!r} occurs twice")
        seen.add(value)
    if not values:
        raise ValueError(f"{what} is empty; leave it out to accept any")
    return values


cdef tuple checked_methods(object methods):
    cdef tuple values = strings(methods, "methods")
    for method in values:
        if TOKEN.fullmatch(method) is None:
            raise ValueError(f"methods: {method!r} is not a method")
        if method.upper() in STANDARD_METHODS and method not in STANDARD_METHODS:
            raise ValueError(f"methods: {method!r} would never match, method names have case: write {method.upper()!r}")
    return values


cdef tuple checked_hosts(object hosts):
    cdef list values = []
    cdef char[HOST_ROOM] form
    cdef Py_ssize_t size
    cdef bytes encoded
    for host in strings(hosts, "hosts"):
        if not host.isascii():
            raise ValueError(f"hosts: {host!r}: write international names in their xn-- form")
        name = host.lower().removesuffix(".")
        if HOST.fullmatch(name) is None or len(name) > 255:
            raise ValueError(
                f'hosts: {host!r} is not a host name, "*." before a host name or an IPv6 address in brackets; no port'
            )
        if name.startswith("["):
            encoded = name.encode()
            size = write_host(encoded, len(encoded), form)
            if size < 0:
                raise ValueError(f"hosts: {host!r} is not an IPv6 address in brackets")
            name = form[:size].decode()
        values.append(name)
    return strings(values, "hosts")


cdef tuple checked_conditions(object given, str what, bint fold):
    """``[(name, value, fullmatch or None)]`` of a mapping; header names are folded to lower case."""
    cdef list items = []
    cdef set seen = set()
    cdef dict named = dict(given)
    if len(named) > MAX_CONDITIONS:
        raise ValueError(f"{what}: more than {MAX_CONDITIONS} conditions")
    for name, value in named.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"{what}: names and values must be strings, not {name!r}: {value!r}")
        if not name or (fold and TOKEN.fullmatch(name) is None):
            raise ValueError(f"{what}: {name!r} is not a field name")
        if fold:
            name = name.lower()
        if name in seen:
            raise ValueError(f"{what}: two conditions on {name!r}")
        seen.add(name)
        if fold and not value.isascii():
            raise ValueError(f"{what}: the value of {name!r} must be ASCII")
        fullmatch = None
        if value.startswith("~"):
            try:
                fullmatch = _expression(value[1:], captures="none", utf8=not fold).fullmatch
            except ValueError as error:
                raise ValueError(f"{what}: {name!r}: {error}") from None
        items.append((name, value, fullmatch))
    return tuple(items)
