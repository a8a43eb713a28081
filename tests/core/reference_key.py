"""What makes two requests the same for a cache, in plain Python: the oracle of the tests of keys.

Nothing here makes bytes. A request is turned into a value that can be compared, and two requests may have the same key
only where these values are equal.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from urllib.parse import unquote_to_bytes

from core import reference_cache as reference
from core.reference_cache import Fields

CODING = re.compile(
    rb"(" + reference.TOKEN + rb")(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?", re.DOTALL
)


def codings(lines: Sequence[bytes]) -> frozenset[bytes] | None:
    """Who is answered alike, as a set that no other such set equals; None: it cannot be read."""
    weights: dict[bytes, bool] = {}
    for part in (part.strip(b" \t") for line in lines for part in line.split(b",")):
        if not part:
            continue
        found = CODING.fullmatch(part)
        if found is None:
            return None
        name = {b"x-gzip": b"gzip", b"x-compress": b"compress"}.get(found[1].lower(), found[1].lower())
        accepted = found[2] is None or float(found[2]) > 0
        if weights.setdefault(name, accepted) != accepted:
            return None
    if len(weights) > 32:
        return None
    star = weights.pop(b"*", None)
    plain = weights.pop(b"identity", star is not False)
    said = {b"no coding"} if plain else set()
    if star:
        return frozenset(said | {b"all"} | {b"not " + name for name, accepted in weights.items() if not accepted})
    return frozenset(said | {name for name, accepted in weights.items() if accepted})


def plain(lines: Sequence[bytes], fold: bool) -> bytes:
    """Lines as one list, without white space around commas outside quotes."""
    text = b",".join(lines)
    made = b""
    for piece in re.findall(rb'"(?:[^"\\]|\\.?)*(?:"|\Z)|[^"]+', text, re.DOTALL):
        if not piece.startswith(b'"'):
            piece = re.sub(rb"[ \t]*,[ \t]*", b",", piece.lower() if fold else piece)
        made += piece
    return made


def selecting_value(fields: Fields, name: bytes) -> object:
    """What of a field is compared."""
    lines = [value for key, value in fields if key.lower() == name]
    if not lines:
        return None
    if name == b"accept-encoding":
        found = codings(lines)
        return (plain(lines, False),) if found is None else found
    if name in (b"cookie", b"authorization"):
        return tuple(lines)
    return plain(lines, name in (b"accept-language", b"content-language"))


def cookies(fields: Fields, name: bytes) -> object:
    pairs = [pair.strip(b" \t") for line in reference.values(fields, b"cookie") for pair in line.split(b";")]
    parts = [pair.partition(b"=") for pair in pairs]
    return [value for key, equal, value in parts if equal and key.rstrip(b" \t") == name] or None


def query(
    text: bytes, *, only: Sequence[str] | None = None, without: Sequence[str] | None = None, sort: bool
) -> bytes | None:
    """A query as it is forwarded; None: nothing is left of it."""

    def name_of(parameter: bytes) -> bytes:
        return unquote_to_bytes(parameter.partition(b"=")[0].replace(b"+", b" "))

    def hit(parameter: bytes, patterns: Sequence[str]) -> bool:
        name = name_of(parameter).decode("latin-1")
        return any(fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]")) for pattern in patterns)

    parameters = text.split(b"&")
    kept = parameters
    if only is not None:
        kept = [each for each in parameters if hit(each, only)]
    elif without is not None:
        kept = [each for each in parameters if not hit(each, without)]
    if sort and len(parameters) <= 64:
        kept = sorted(kept, key=name_of)
    left = b"&".join(kept)
    return None if not left and len(kept) < len(parameters) else left


# -- tags


def listed_strings(line: bytes) -> list[bytes] | None:
    """The strings of a list of Structured Fields; None: an error, or a member that is not a string."""
    found = []
    at = 0
    member = re.compile(reference.SF_STRING_MEMBER + rb"[ \t]*(?:,[ \t]*(?=[\s\S])|\Z)")
    while at < len(line):
        part = member.match(line, at)
        if part is None:
            return None
        found.append(re.sub(rb"\\(.)", rb"\1", part["string"][1:-1]))
        at = part.end()
    return found


def groups(fields: Fields, name: bytes) -> list[bytes]:
    lines = [listed_strings(line) for line in reference.values(fields, name)]
    return [] if None in lines else [each for line in lines for each in line or ()]


def tags(fields: Fields) -> list[tuple[bytes, bool]] | None:
    """The tags of an answer and whether each is a group; None: more than 64."""
    commas = [part.strip(b" \t") for line in reference.values(fields, b"cache-tag") for part in line.split(b",")]
    spaces = [part for line in reference.values(fields, b"surrogate-key") for part in re.split(rb"[ \t]", line)]
    found = [(tag, False) for tag in commas + spaces if tag]
    found += [(group, True) for group in groups(fields, b"cache-groups")]
    return found if len(found) <= 64 else None
