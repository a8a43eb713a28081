"""Conditions, ranges and the merge of a 304, in plain Python from RFC 9110 sections 8.8, 13 and 14 and RFC 9111: the
oracle of the tests.
"""

import re
from collections.abc import Sequence

from core import reference_cache as reference
from core.reference_cache import Fields

TAG = rb'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
Part = tuple[int, int, int]


def tag_of(fields: Fields) -> tuple[bool, bytes] | None:
    """(weak, opaque) of the one ETag."""
    lines = reference.values(fields, b"etag")
    found = re.fullmatch(TAG, lines[0]) if len(lines) == 1 else None
    return (found[1] is not None, found[2]) if found else None


def tags_in(line: bytes) -> list[bytes]:
    """Opaque parts of a list of entity tags, up to where it cannot be read."""
    found = []
    at = re.compile(rb"[ \t,]*").match(line, 0).end()  # type: ignore[union-attr]
    element = re.compile(TAG + rb"[ \t]*(?:,[ \t,]*|\Z)")
    while member := element.match(line, at):
        found.append(member[2])
        at = member.end()
        if at == len(line):
            break
    return found


def one_date(fields: Fields, name: bytes, now: int) -> int | None:
    lines = reference.values(fields, name)
    return reference.date(lines[0], now) if len(lines) == 1 else None


def select(
    method: bytes, asked: Fields, status: int, stored: Fields, length: int, received: int, now: int
) -> int | Part | None:
    """What a client gets: 200, 304, 206 with its bytes, 416, or None for what only the origin may evaluate."""
    names = {name.lower() for name, _ in asked}
    if {b"if-match", b"if-unmodified-since"} & names:
        return None
    if method not in (b"GET", b"HEAD", b"QUERY"):
        return None if {b"if-none-match", b"if-modified-since"} & names else 200
    if status != 200:
        return 200
    if b"if-none-match" in names:
        lines = reference.values(asked, b"if-none-match")
        own = tag_of(stored)
        if lines == [b"*"] or (own and any(own[1] in tags_in(line) for line in lines)):
            return 304
    elif b"if-modified-since" in names:
        since = one_date(asked, b"if-modified-since", now)
        moments = [one_date(stored, b"last-modified", now), one_date(stored, b"date", now), received]
        changed = next(moment for moment in moments if moment is not None)
        if since is not None and changed <= since:
            return 304
    lines = reference.values(asked, b"range")
    if method != b"GET" or len(lines) != 1 or not means_this(asked, stored, now):
        return 200
    return part(lines[0], length)


def means_this(asked: Fields, stored: Fields, now: int) -> bool:
    """If-Range."""
    lines = reference.values(asked, b"if-range")
    if not lines:
        return True
    if len(lines) > 1:
        return False
    if found := re.fullmatch(TAG, lines[0]):
        return tag_of(stored) == (False, found[2]) and not found[1]
    modified, date = one_date(stored, b"last-modified", now), one_date(stored, b"date", now)
    same = reference.values(stored, b"last-modified") == lines
    return same and modified is not None and date is not None and date >= modified + 1


def part(text: bytes, length: int) -> int | Part:
    """RFC 9110 section 14.1.2, of one range; several, and what cannot be read, get the whole."""
    found = re.fullmatch(rb"(?i:bytes)=((?![ \t]).*)", text, re.DOTALL)
    if found is None:
        return 200
    specs = [spec.strip(b" \t") for spec in found[1].split(b",")]
    ranges = [re.fullmatch(rb"([0-9]*)-([0-9]*)", spec) for spec in specs if spec]
    if len(ranges) != 1 or ranges[0] is None:
        return 200
    first, last = (int(each) if each else None for each in ranges[0].groups())
    if first is None:
        if last is None or (last and not length):
            return 200
        return 416 if last == 0 else (206, max(0, length - last), length - 1)
    if last is not None and last < first:
        return 200
    if first >= length:
        return 416
    return (206, first, length - 1 if last is None else min(last, length - 1))


# -- what is stored of a head, and the merge of a 304 (RFC 9111 sections 3.1, 3.2, 4.3.4) ----------------------------

OF_THE_HOP = {
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info", b"http2-settings",
}  # fmt: skip


def storable(fields: Fields, names: Sequence[bytes], excepted: set[bytes]) -> Fields:
    """The fields that may be stored; ``names`` are what the gateway keeps elsewhere or leaves out."""
    named = {
        each.strip(b" \t").lower() for line in reference.values(fields, b"connection") for each in line.split(b",")
    }
    gone = OF_THE_HOP | named | excepted | set(names) | {b"age", b"content-length"}
    return [(name, value) for name, value in fields if name.lower() not in gone]


def excepted_by(fields: Fields, targeted: Sequence[bytes]) -> tuple[set[bytes], bool]:
    """Names that directives except, and whether there are any directives."""
    found, source = reference.answer_members(fields, targeted)
    return reference.listed(found), source is not None


def represents(stored: Fields, update: Fields) -> bool:
    own, tag = tag_of(stored), tag_of(update)
    if tag is not None:
        return own is not None and own[1] == tag[1] and (tag[0] or not own[0])
    modified = reference.values(update, b"last-modified")
    return len(modified) != 1 or reference.values(stored, b"last-modified") == modified


def head_agrees(stored: Fields, answer: Fields, length: int) -> bool:
    """RFC 9111 section 4.3.5."""
    for name in (b"etag", b"last-modified"):
        received, own = reference.values(answer, name), reference.values(stored, name)
        if received and (len(received) != 1 or received != own):
            return False
    return all(int(value) == length for value in reference.values(answer, b"content-length"))


def merged(stored: Fields, update: Fields, targeted: Sequence[bytes], names: Sequence[bytes]) -> Fields | None:
    if not represents(stored, update):
        return None
    excepted, said = excepted_by(update, targeted)
    if not said:
        excepted, _ = excepted_by(stored, targeted)
    body = {b"content-encoding", b"content-range"}
    new = [field for field in storable(update, names, excepted) if field[0].lower() not in body]
    replaced = {name.lower() for name, _ in new}
    old = [field for field in storable(stored, names, excepted) if field[0].lower() not in replaced]
    return [*old, *new]
