"""Storability, lifetimes, ages and who may see what, in plain Python from RFC 9111 and the table of the gateway's own
rules: the oracle of the tests. Times are milliseconds, dates seconds.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core import reference_cache as reference
from core.reference_cache import Fields

UNDERSTOOD = (
    {200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308, 421, 422, 426}
    | set(range(400, 418))
    | set(range(500, 506))
)
"""RFC 9110 section 15, without 1xx, 206 and 304."""
UNSTORABLE = {206, 304} | {428, 429, 431, 511}  # RFC 6585
BY_DEFAULT = {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}
"""Heuristically cacheable (RFC 9110 section 15.1), without 206."""
ONE_TTL = {200, 203, 204, 300, 301, 308, 410}
DAY = 86_400


@dataclass
class Rules:
    """What a route says."""

    methods: Sequence[str] = ("GET", "HEAD")
    key: Sequence[str] = ()
    vary: Sequence[str] = ()
    vary_except: Sequence[str] = ()
    targeted: Sequence[str] = ("fastgate-cache-control",)
    ttl: Any = None
    heuristic: float = 0
    honor: Any = True
    private: bool = False
    shared: bool = False
    set_cookie: str = "bypass"
    bypass: Sequence[str] = ()
    max_object: int = 1048576
    stale_while_revalidate: float = 0
    stale_if_error: float = 0

    def ttl_of(self, status: int) -> int | None:
        if isinstance(self.ttl, dict):
            found = self.ttl.get(str(status), self.ttl.get(f"{status // 100}xx"))
        else:
            found = self.ttl if status in ONE_TTL else None
        return None if found is None or status in UNSTORABLE else int(found * 1000)


@dataclass
class Asked:
    """A request."""

    fields: Fields = ()
    method: str = "GET"
    identity: bool = False
    forwarded: bool = False
    """The upstream sees a credential."""

    def cookies(self) -> set[bytes]:
        lines = b";".join(reference.values(self.fields, b"cookie"))
        pairs = [pair.strip(b" \t") for pair in lines.split(b";")]
        return {pair.partition(b"=")[0].rstrip(b" \t") for pair in pairs if b"=" in pair}

    def has(self, part: str) -> bool:
        kind, _, name = part.partition(":")
        if kind == "header":
            return bool(reference.values(self.fields, name.lower().encode()))
        return kind == "cookie" and name.encode() in self.cookies()

    @property
    def said(self) -> reference.Said:
        return reference.request_said(self.fields)[0]


@dataclass
class Answered:
    """An answer."""

    status: int
    fields: Fields
    chunked: bool = False
    wall: int = 0
    asked: int = 0
    received: int = 0


@dataclass
class Judged:
    obstacle: str | None
    audience: str | None
    rule: str | None
    lifetime: int
    born: int
    fresh_until: int
    swr_until: int
    sie_until: int
    flags: set[str] = field(default_factory=set)


def first_date(answer: Answered, name: bytes) -> int | None:
    lines = reference.values(answer.fields, name)
    return reference.date(lines[0], answer.wall) if len(lines) == 1 else None


def date_value(answer: Answered) -> int:
    found = first_date(answer, b"date")
    return answer.wall if found is None else found


def milliseconds(seconds: int) -> int:
    return max(0, min(seconds, 2**31)) * 1000


def in_key(rules: Rules, asked: Asked) -> bool:
    """Whether the identity of the request is in its key."""
    return (rules.private or "identity" in rules.key) and asked.identity


def cookie_in_key(rules: Rules, asked: Asked) -> bool:
    parts = [part for part in rules.key if part.startswith("cookie:") or part.lower() == "header:cookie"]
    return any(asked.has(part) for part in parts)


def carries_authorization(rules: Rules, asked: Asked) -> bool:
    carries = asked.identity or bool(reference.values(asked.fields, b"authorization"))
    if rules.shared:
        return carries and asked.forwarded
    return carries


def lifetime(
    rules: Rules, asked: Asked, answer: Answered, said: reference.Said, targeted: bool
) -> tuple[str | None, int]:
    """RFC 9111 section 4.2.1, then the route's own, then section 4.2.2."""
    if rules.honor is not False:
        for name in ("s-maxage", "max-age"):
            if name in said:
                return name, milliseconds(said[name])
        expires = reference.values(answer.fields, b"expires")
        if expires and not targeted:
            dates = [reference.date(each, answer.wall) for each in expires]
            read = [each for each in dates if each is not None]
            return "expires", milliseconds(min(read) - date_value(answer)) if len(read) == len(dates) else 0
    if "public" not in said:
        if reference.values(asked.fields, b"cookie") and not cookie_in_key(rules, asked):
            return None, 0
        if carries_authorization(rules, asked) and not in_key(rules, asked):
            return None, 0
    if (ttl := rules.ttl_of(answer.status)) is not None:
        return "ttl", ttl
    modified = first_date(answer, b"last-modified")
    suits = "public" in said or answer.status in BY_DEFAULT
    if rules.honor is not False and rules.heuristic and modified is not None and suits:
        share = max(0, date_value(answer) - modified) * rules.heuristic
        return "heuristic", min(int(share), DAY) * 1000
    return None, 0


def initial_age(answer: Answered) -> int:
    """corrected_initial_age of section 4.2.3."""
    apparent_age = max(0, answer.wall - date_value(answer)) * 1000
    response_delay = max(0, answer.received - answer.asked)
    corrected_age_value = (reference.age(answer.fields) or 0) * 1000 + response_delay
    return max(apparent_age, corrected_age_value)


def obstacle(rules: Rules, asked: Asked, answer: Answered, said: reference.Said, rule: str | None) -> str | None:
    """Why it is not stored; the first of many."""
    names = {name.lower() for name, _ in answer.fields}
    if any(asked.has(part) for part in rules.bypass):
        return "bypass"
    if asked.method == "HEAD" or asked.method not in rules.methods:
        return "method"
    if answer.status < 200 or answer.status in UNSTORABLE:
        return "status"
    if "must-understand" in said and answer.status not in UNDERSTOOD:
        return "status"
    kinds = [
        value.partition(b";")[0].strip(b" \t").lower() for value in reference.values(answer.fields, b"content-type")
    ]
    if {b"text/event-stream", b"multipart/x-mixed-replace"} & set(kinds):
        return "type"
    if "no-store" in said and "must-understand" not in said:
        return "no-store"
    if rules.honor is True and "no-store" in asked.said:
        return "request"
    if "private" in said and not (rules.private and asked.identity):
        return "private"
    if b"set-cookie" in names and rules.set_cookie == "bypass":
        return "set-cookie"
    if selecting(rules, answer.fields) is None:
        return "vary"
    length = [int(value) for value in reference.values(answer.fields, b"content-length")]
    if not length and not answer.chunked and answer.status != 204:
        return "end"
    if length and length[0] > rules.max_object:
        return "length"
    allows = rule is not None or (
        rules.honor is not False and ("public" in said or "private" in said or answer.status in BY_DEFAULT)
    )
    if not allows:
        return "lifetime"
    opened = bool({"public", "s-maxage", "must-revalidate"} & set(said))
    if carries_authorization(rules, asked) and not in_key(rules, asked) and not opened:  # section 3.5
        return "credential"
    has_cookie = b"cookie" in {name.lower() for name, _ in asked.fields}
    given = rule in ("s-maxage", "max-age", "expires") or "public" in said
    if has_cookie and not cookie_in_key(rules, asked) and not given:
        return "cookie"
    return None


def selecting(rules: Rules, fields: Fields) -> list[bytes] | None:
    """The names that select an answer, in order; None: it fits no other request."""
    said = [part.strip(b" \t").lower() for line in reference.values(fields, b"vary") for part in line.split(b",")]
    said = [name for name in said if name]
    if b"*" in said or not all(re.fullmatch(reference.TOKEN, name) for name in said):
        return None
    names = {name for name in said if name.decode() not in {each.lower() for each in rules.vary_except}}
    names |= {name.lower().encode() for name in rules.vary}
    return sorted(names) if len(names) <= 16 else None


def judge(rules: Rules, asked: Asked, answer: Answered) -> Judged:
    members, source = reference.answer_members(answer.fields, [name.lower().encode() for name in rules.targeted])
    said = reference.said_by(members)
    rule, lasts = lifetime(rules, asked, answer, said, isinstance(source, bytes))
    why = obstacle(rules, asked, answer, said, rule)
    born = answer.received - initial_age(answer)
    flags = set()
    if {"no-cache", "must-revalidate", "proxy-revalidate"} & set(said):
        flags |= {"never-stale", "no-max-stale"}
    if "s-maxage" in said:
        flags.add("no-max-stale")
    if "no-cache" in said and rules.honor is not False:
        flags.add("validate")
    until = []
    for name, default in (
        ("stale-while-revalidate", rules.stale_while_revalidate),
        ("stale-if-error", rules.stale_if_error),
    ):
        if "never-stale" in flags:
            extra = 0
        elif name in said and rules.honor is not False:
            extra = milliseconds(said[name])
        else:
            extra = 0 if "no-max-stale" in flags else int(default * 1000)
        until.append(born + lasts + extra)
    audience = None
    if why is None:
        audience = "identity" if in_key(rules, asked) else "all"
    return Judged(why, audience, rule, lasts, born, born + lasts, until[0], until[1], flags)


def use(rules: Rules, stored: Judged, said: reference.Said, now: int) -> str:
    """RFC 9111 section 4 and 5.2.1: how a stored answer may be used for a request."""
    if "validate" in stored.flags:
        return "validate: no-cache"
    if rules.honor is not True:
        said = {}
    current_age, fresh_for = now - stored.born, stored.fresh_until - now
    fresh = fresh_for > 0
    if "no-cache" in said or current_age > said.get("max-age", 10**12) * 1000:
        return "validate: request"
    if fresh_for < said.get("min-fresh", 0) * 1000 and "min-fresh" in said:
        return "validate: request" if fresh else "validate: stale"
    if fresh:
        return "fresh"
    limit = said["max-stale="] * 1000 if "max-stale=" in said else 10**15 if "max-stale" in said else -1
    if -fresh_for <= limit and "no-max-stale" not in stored.flags:
        return "stale"
    content = -fresh_for <= limit or not {"max-age", "max-stale="} & set(said)
    if now < stored.swr_until and content:
        return "while revalidating"
    return "validate: stale"


def after_failure(rules: Rules, stored: Judged, said: reference.Said, now: int) -> bool:
    """RFC 5861 section 4, and the directives that forbid it."""
    if rules.honor is not True:
        said = {}
    if {"validate", "never-stale"} & stored.flags or "no-cache" in said:
        return False
    by_request = "stale-if-error" in said and "no-max-stale" not in stored.flags
    return now < stored.sie_until or (by_request and now < stored.fresh_until + said["stale-if-error"] * 1000)
