"""A plain reading of message heads (RFC 9112 sections 2 to 5, the gateway's stricter rules) to test the real one by."""

import re
from typing import Any

TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
REQUEST_LINE = re.compile(rb"(%b{1,64}) ([\x21\x22\x24-\x5b\x5d-\x7e]{1,8192}) HTTP/1\.([0-9])" % TCHAR)
OTHER_VERSION = re.compile(rb"%b{1,64} [\x21\x22\x24-\x5b\x5d-\x7e]{1,8192} %b+/[0-9]\.[0-9]" % (TCHAR, TCHAR))
STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-5][0-9]{2})(?: (.*))?", re.DOTALL)
FIELD = re.compile(rb"(%b+):[ \t]*(.*?)[ \t]*" % TCHAR, re.DOTALL)

DROPPED = {
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
    b"http2-settings", b"upgrade", b"expect", b"transfer-encoding", b"proxy",
}
RULED = {b"host", b"content-length"}
NEVER_NOMINATED = {
    b"host", b"content-length", b"authorization", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host",
    b"x-forwarded-port",
}
KNOWN = DROPPED | RULED | NEVER_NOMINATED | {
    b"x-real-ip", b"forwarded", b"via", b"accept", b"date", b"server", b"cookie", b"user-agent", b"referer",
    b"content-type", b"x-request-id",
}
FORWARDED = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"forwarded"}


class Refused(Exception):
    """The cause."""


def lines_of(data: bytes, request: bool) -> tuple[dict[str, Any], list[bytes], int] | None:
    """The start line, the other lines and the length of the head; None when its end has not come."""
    lines: list[bytes] = []
    head: dict[str, Any] = {}
    at = 0
    while True:
        end = at
        tab = -1 if request and not lines else 9
        while end < len(data) and (data[end] >= 0x20 or data[end] == tab) and data[end] != 0x7F:
            end += 1
        if end == len(data) or data[end:] == b"\r":
            if request and not lines:
                unfinished(data[:end])
            return None
        if data[end : end + 2] != b"\r\n":
            if request and not lines:
                unfinished(data[:end])
            raise Refused({10: "bare_lf", 13: "bare_cr"}.get(data[end], "bad_character"))
        if end == at:
            if not lines:
                raise Refused("bad_start_line")
            return head, lines[1:], end + 2
        if not lines:
            head = start_line(data[:end], request)
        lines.append(data[at:end])
        at = end + 2


def read(data: bytes, *, request: bool, field_names: str = "drop") -> dict[str, Any] | str | None:
    """What a head says, why it is refused, or None when it is not complete. Sizes are not looked at."""
    try:
        found = lines_of(data, request)
        if found is None:
            return None
        head, lines, length = found
        head["length"] = length
        head.update(what_they_say(lines, request, head["minor"], field_names))
    except Refused as refused:
        return str(refused)
    return head


def unfinished(line: bytes) -> None:
    """A request line whose end has not come must begin with what can be a method."""
    if line and re.match(rb"%b{1,64}( |\Z)" % TCHAR, line) is None:
        raise Refused("bad_method")


def what_is_wrong(line: bytes) -> str:
    """The first rule that a request line breaks, from the left."""
    if OTHER_VERSION.fullmatch(line):
        return "bad_version"
    if re.match(rb"%b{1,64}(?: |\Z)" % TCHAR, line) is None:
        return "bad_method"
    target = line.partition(b" ")[2]
    if re.fullmatch(rb"[\x21\x22\x24-\x5b\x5d-\x7e]*(?: .*)?", target, re.DOTALL) is None:
        return "bad_target_character"
    return "bad_start_line"


def start_line(line: bytes, request: bool) -> dict[str, Any]:
    if request:
        match = REQUEST_LINE.fullmatch(line)
        if match is None:
            raise Refused(what_is_wrong(line))
        minor = int(match[3])
        return {"method": match[1], "target": match[2], "minor": min(minor, 1), "minor_sent": minor}
    match = STATUS_LINE.fullmatch(line)
    if match is None:
        raise Refused("bad_start_line")
    minor = int(match[1])
    reason = match[3] or b""
    if any(not 0x20 <= byte <= 0x7E for byte in reason):
        reason = b""
    return {"status": int(match[2]), "reason": reason, "minor": min(minor, 1), "minor_sent": minor}


def split(line: bytes) -> tuple[bytes, bytes]:
    match = FIELD.fullmatch(line)
    if match is None:
        if line[:1] in (b" ", b"\t"):
            raise Refused("folded_line")
        spaced = re.match(rb"%b+[ \t]+:" % TCHAR, line)
        raise Refused("space_before_colon" if spaced else "bad_field_name")
    return match[1], match[2]


def members(value: bytes) -> list[bytes]:
    return [member for member in (part.strip(b" \t") for part in value.split(b",")) if member]


def coding(value: bytes) -> str | None:
    """Why a Transfer-Encoding cannot be taken."""
    if value.lower() == b"chunked":
        return None
    for member in members(value):
        name = re.match(rb"%b*" % TCHAR, member)
        assert name is not None
        if not name[0]:
            return "bad_coding"
        if name[0].lower() != b"chunked":
            return "unknown_coding"
        if name[0] != member:
            return "bad_coding"
    return "bad_coding"


def variable(name: bytes) -> bytes:
    """What a CGI program gets the field as."""
    return re.sub(rb"[^a-z0-9]", b"_", name.lower())


def what_they_say(
    lines: list[bytes], request: bool, minor: int, field_names: str
) -> dict[str, Any]:
    said: dict[str, Any] = {"content_length": None, "host": None, "upgrade": None, "upgrades": 0, "expect": None}
    said["has_forwarded"] = False
    fields: list[tuple[bytes, bytes]] = []
    known: list[tuple[bytes, bytes]] = []
    dropped: list[bool] = []
    codings = 0
    for line in lines:
        name, value = split(line)
        fields.append((name, value))
        lower = name.lower()
        odd = request and re.search(rb"[^A-Za-z0-9-]", name) is not None
        if odd and field_names == "reject":
            raise Refused("rejected_field_name")
        hidden = odd and (field_names == "drop" or variable(name) in {variable(each) for each in KNOWN})
        hidden = hidden or (odd and variable(name).startswith(b"x_forwarded_") and len(name) > 12)
        dropped.append(hidden or (lower in DROPPED and (request or lower not in (b"expect", b"proxy"))))
        known.append((b"" if odd else lower, value))
        lower = known[-1][0]
        if lower == b"host":
            if request and said["host"] is not None:
                raise Refused("two_hosts")
            said["host"] = value
        elif lower == b"content-length":
            if said["content_length"] is not None:
                raise Refused("two_lengths")
            if re.fullmatch(rb"[0-9]{1,18}", value) is None:
                raise Refused("bad_length")
            said["content_length"] = int(value)
        elif lower == b"transfer-encoding":
            codings += 1
            cause = "coding_in_http_1_0" if minor == 0 else coding(value)
            if cause is not None:
                raise Refused(cause)
        elif lower == b"upgrade":
            said["upgrades"] += 1
            said["upgrade"] = value if said["upgrades"] == 1 else None
        elif lower == b"expect":
            said["expect"] = value
        elif lower in FORWARDED or (lower.startswith(b"x-forwarded-") and len(lower) > 12):
            said["has_forwarded"] = True
    said["upgrades"] = min(said["upgrades"], 2)
    if codings > 1:
        raise Refused("bad_coding")
    if codings and said["content_length"] is not None:
        raise Refused("length_and_coding")
    said["chunked"] = codings == 1
    options = [option.lower() for name, value in known if name == b"connection" for option in members(value)]
    said["keep_alive"] = b"keep-alive" in options
    said["upgrade_named"] = b"upgrade" in options
    named = set(options) - {b"keep-alive", b"close", b"upgrade"}
    if named & NEVER_NOMINATED:
        raise Refused("bad_connection")
    said["close"] = b"close" in options or (minor == 0 and not said["keep_alive"])
    said["fields"] = [
        (name, value, gone or name.lower() in named, lower in RULED and (request or lower != b"host"))
        for (name, value), (lower, _), gone in zip(fields, known, dropped, strict=True)
    ]
    return said
