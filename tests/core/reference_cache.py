"""What HTTP says of a cache, in plain Python from the texts of RFC 9110, 9111, 9213 and 9651: the oracle of the tests.

Written for reading, not for speed, and without a look at the compiled modules: texts are cut with regular expressions,
dates are counted with `datetime`.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

Fields = Sequence[tuple[bytes, bytes]]

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
MONTHS = [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"]
MOST = 2**31

# -- dates (RFC 9110 section 5.6.7) -----------------------------------------------------------------------------------

_MONTH = rb"(?P<month>" + b"|".join(MONTHS) + rb")"
_CLOCK = rb"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DAY = rb"(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG_DAY = rb"(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)"
IMF = re.compile(_DAY + rb", (?P<day>[0-9]{2}) " + _MONTH + rb" (?P<year>[0-9]{4}) " + _CLOCK + rb" gmt")
RFC850 = re.compile(_LONG_DAY + rb", (?P<day>[0-9]{2})-" + _MONTH + rb"-(?P<year>[0-9]{2}) " + _CLOCK + rb" gmt")
ASCTIME = re.compile(_DAY + rb" " + _MONTH + rb" (?P<day>[0-9]{2}| [0-9]) " + _CLOCK + rb" (?P<year>[0-9]{4})")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(year: int, found: re.Match[bytes]) -> datetime | None:
    second = int(found["second"])
    if second > 60:
        return None
    # Python has no year 0; the calendar repeats every 400 years.
    try:
        return datetime(
            year or 400,
            MONTHS.index(found["month"]) + 1,
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            min(second, 59),
            tzinfo=UTC,
        )
    except ValueError:
        return None


def _seconds(moment: datetime, year: int) -> int:
    return round((moment - EPOCH) / timedelta(seconds=1)) - (0 if year else 146097 * 86400)


def date(text: bytes, now: int) -> int | None:
    """Seconds since 1970; None: not an HTTP date."""
    text = text.lower()
    if found := IMF.fullmatch(text) or ASCTIME.fullmatch(text):
        moment = _moment(year := int(found["year"]), found)
        return None if moment is None else _seconds(moment, year)
    if found := RFC850.fullmatch(text):
        present = EPOCH + timedelta(seconds=now)
        years = range(present.year + 51, present.year - 500, -1)
        for year in (year for year in years if year % 100 == int(found["year"])):
            moment = _moment(year, found)
            if moment is not None and moment <= _half_a_century_after(present):
                return _seconds(moment, year)
    return None


def _half_a_century_after(moment: datetime) -> datetime:
    try:
        return moment.replace(year=moment.year + 50)
    except ValueError:  # 29 February
        return moment.replace(year=moment.year + 50, month=3, day=1)


# -- Cache-Control (RFC 9111 section 5.2) -----------------------------------------------------------------------------

NUMBERS = {"max-age", "s-maxage", "min-fresh", "max-stale", "stale-while-revalidate", "stale-if-error"}
QUALIFIED = {"no-cache", "private"}
RESTRICT = {"no-store", "must-revalidate", "proxy-revalidate", "no-transform", "only-if-cached"}
ALLOW = {"public", "must-understand", "immutable"}

QUOTED = rb'"(?:[^"\\]|\\[\s\S])*"'
MEMBER = re.compile(
    rb"(?P<name>" + TOKEN + rb")(?:(?P<equal>=)(?:(?P<quoted>" + QUOTED + rb")|(?P<token>" + TOKEN + rb")))?"
)
PART = re.compile(rb"(?:" + QUOTED + rb"|[^,])+")
BROKEN = object()

Said = dict[str, int]
Member = tuple[str, object]
"""A name in lower case and its argument: None, the text of a token or quoted-string, or BROKEN."""


def members(line: bytes) -> list[Member]:
    """The members of a line of a list, outside of quotes that are closed."""
    found: list[Member] = []
    at = 0
    while part := PART.search(line, at):
        at = part.end()
        text = part[0].strip(b" \t")
        if not text:
            continue
        if whole := MEMBER.fullmatch(text):
            argument: object = None
            if whole["quoted"] is not None:
                argument = re.sub(rb"\\([\s\S])", rb"\1", whole["quoted"][1:-1])
            elif whole["token"] is not None:
                argument = whole["token"]
            found.append((whole["name"].lower().decode(), argument))
        elif begin := re.match(TOKEN, text):
            found.append((begin[0].lower().decode(), BROKEN))
    return found


def delta_seconds(argument: object) -> int | None:
    if isinstance(argument, bytes) and re.fullmatch(rb"[0-9]+", argument):
        return min(int(argument), MOST)
    return None


def field_names(argument: object) -> set[bytes]:
    """The names of a list; none of them where it is empty or malformed."""
    if not isinstance(argument, bytes):
        return set()
    names = {name for part in argument.split(b",") if (name := part.strip(b" \t"))}
    return {name.lower() for name in names} if all(re.fullmatch(TOKEN, name) for name in names) else set()


def said_by(found: Iterable[Member]) -> Said:
    """What members of Cache-Control say together. A name with "=" is one that has an argument."""
    said: Said = {}
    for name, argument in found:
        if name == "max-stale" and argument is None:
            said["max-stale"] = True
        elif name in NUMBERS:
            key = "max-stale=" if name == "max-stale" else name
            number = delta_seconds(argument) or 0
            choose = max if name == "min-fresh" else min
            said[key] = choose(said.get(key, number), number)
        elif name in QUALIFIED:
            said[name + ("=" if field_names(argument) else "")] = True
        elif name in RESTRICT or (name in ALLOW and argument is None):
            said[name] = True
    return said


# -- dictionaries of Structured Fields (RFC 9651 section 4.2), by the grammar of section 3 ----------------------------

_KEY = rb"[a-z*][a-z0-9_\-.*]*"
_INTEGER = rb"-?[0-9]{1,15}"
_DECIMAL = rb"-?[0-9]{1,12}\.[0-9]{1,3}"
_STRING = rb'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'
_SF_TOKEN = rb"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*"
_BYTES = rb":[A-Za-z0-9+/=]*:"
_DATE = rb"@-?[0-9]{1,15}"
_DISPLAY = rb'%"(?:[\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*"'
_ITEM = rb"(?:" + b"|".join([_DECIMAL, _INTEGER, _STRING, _SF_TOKEN, _BYTES, _DATE, _DISPLAY, rb"\?[01]"]) + rb")"
_PARAMETERS = rb"(?:; *" + _KEY + rb"(?:=" + _ITEM + rb")?)*"
_INNER = rb"\( *(?:" + _ITEM + _PARAMETERS + rb"(?: +" + _ITEM + _PARAMETERS + rb")*)? *\)"
SF_MEMBER = re.compile(
    rb"(?P<key>" + _KEY + rb")(?:=(?:(?P<inner>" + _INNER + rb")|(?P<item>" + _ITEM + rb")))?(?P<rest>" + _PARAMETERS
    + rb")"
)  # fmt: skip

SF_STRING_MEMBER = rb"(?P<string>" + _STRING + rb")" + _PARAMETERS
"""A member of a list that is a string."""


def dictionary(line: bytes) -> dict[str, object] | None:
    """Name → True, False, an int, BROKEN for what cannot be a directive's argument, or the text in a string or token
    (with which of the two it was); None: an error.
    """
    found: dict[str, object] = {}
    at = 0
    while at < len(line):
        member = SF_MEMBER.match(line, at)
        if member is None or not all(_is_utf8(each) for each in re.findall(_DISPLAY, _without_strings(member[0]))):
            return None
        item = member["item"]
        key = member["key"].decode()
        if member["inner"] is not None:
            found[key] = BROKEN
        elif item is None or item == b"?1":
            found[key] = True
        elif item == b"?0":
            found[key] = False
        elif re.fullmatch(_INTEGER, item):
            found[key] = int(item)
        elif re.fullmatch(_STRING, item):
            found[key] = ("string", re.sub(rb"\\(.)", rb"\1", item[1:-1]))
        elif re.fullmatch(_SF_TOKEN, item):
            found[key] = ("token", item)
        else:
            found[key] = BROKEN
        at = member.end()
        if not (comma := re.compile(rb"[ \t]*(?:,[ \t]*(?=[\s\S])|\Z)").match(line, at)):
            return None
        at = comma.end()
    return found


def _without_strings(text: bytes) -> bytes:
    """Without what looks like a display string and lies in a string."""
    return re.sub(rb'(%?)("(?:[^"\\]|\\.)*")', lambda found: found[0] if found[1] else b"", text)


def _is_utf8(display: bytes) -> bool:
    raw = re.sub(rb"%([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), display[2:-1])
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def arguments(found: dict[str, object]) -> list[Member]:
    """The members of a dictionary as members of Cache-Control (RFC 9213 section 2.1)."""
    made: list[Member] = []
    for name, value in found.items():
        if value is False:
            continue
        argument: object = BROKEN
        if value is True:
            argument = None
        elif isinstance(value, tuple) and name in QUALIFIED:
            argument = value[1] if value[0] == "string" or re.fullmatch(TOKEN, value[1]) else BROKEN
        elif isinstance(value, int) and name not in QUALIFIED:
            argument = b"%d" % value
        made.append((name, argument))
    return made


# -- heads ------------------------------------------------------------------------------------------------------------


def values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for key, value in fields if key.lower() == name]


def targeted(fields: Fields, names: Sequence[bytes]) -> tuple[bytes, list[Member]] | None:
    """The first field of the list that is there, is valid and is not empty, with its members."""
    for name in names:
        lines = values(fields, name)
        if not lines or b"" in lines:
            continue
        read = [dictionary(line) for line in lines]
        if all(each is not None for each in read):
            merged: dict[str, object] = {}
            for each in read:
                merged.update(each or {})
            return name, arguments(merged)
    return None


def answer_members(fields: Fields, names: Sequence[bytes]) -> tuple[list[Member], bytes | str | None]:
    """What decides about an answer, and where it was read."""
    if found := targeted(fields, names):
        return found[1], found[0]
    lines = values(fields, b"cache-control")
    return [each for line in lines for each in members(line)], "cache-control" if lines else None


def listed(found: Iterable[Member]) -> set[bytes]:
    """Names of fields that a qualified ``private`` or ``no-cache`` excepts."""
    return {name for directive, argument in found if directive in QUALIFIED for name in field_names(argument)}


def request_said(fields: Fields) -> tuple[Said, str | None]:
    if lines := values(fields, b"cache-control"):
        said = said_by([each for line in lines for each in members(line)])
        if "no-cache=" in said:
            said["no-cache"] = True
        return said, "cache-control"
    if any(name == "no-cache" for line in values(fields, b"pragma") for name, _ in members(line)):
        return {"no-cache": True}, "pragma"
    return {}, None


def age(fields: Fields) -> int | None:
    lines = values(fields, b"age")
    return delta_seconds(lines[0].partition(b",")[0].strip(b" \t")) if lines else None
