"""A router and a path normalisation that are slow and obvious: what the compiled ones are compared with."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def normalize(path: str, merge_slashes: bool = True) -> str | None:
    """The normal form of a path; None when it is refused."""
    if not path.startswith("/") or re.search(r"[^\x21-\x7e]|[\\?#]|%(?![0-9A-Fa-f]{2})", path):
        return None
    if re.search("%00|%5c", path, re.IGNORECASE):
        return None

    def escape(found: re.Match[str]) -> str:
        character = chr(int(found[1], 16))
        return character if character in UNRESERVED else found[0].upper()

    segments = re.sub("%(..)", escape, path).split("/")[1:]
    out: list[str] = []
    for i, segment in enumerate(segments):
        last = i == len(segments) - 1
        if segment == "..":
            if not out:
                return None
            out.pop()
        elif segment == "" and not last:
            if not merge_slashes:
                out.append("")
        elif segment not in ("", "."):
            for piece in segment.split("%2F"):
                if re.split(";|%3B", piece)[0] in (".", "..") and (piece not in (".", "..") or "%2F" in segment):
                    return None
            out.append(segment)
        if last and segment in ("", ".", ".."):
            out.append("")
    return "/" + "/".join(out)


def spelled(segment: str) -> str:
    """The spelling in which literals are compared: every visible character but / and % stands for itself."""

    def decode(found: re.Match[str]) -> str:
        value = int(found[1], 16)
        return chr(value) if 0x21 <= value <= 0x7E and chr(value) not in "/%" else found[0].upper()

    return re.sub("%(..)", decode, segment)


@dataclass
class Route:
    path: str
    value: object
    methods: list[str] | None = None
    hosts: list[str] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    priority: int = 0

    def host_rank(self, host: str | None) -> int | None:
        """How specific the best host pattern that fits is; None when none fits."""
        if self.hosts is None:
            return 0
        if host is None:
            return None
        name = re.sub(r":\d*$", "", host).lower().removesuffix(".")
        ranks = [1000 for wanted in self.hosts if wanted == name]
        ranks += [
            len(wanted)
            for wanted in self.hosts
            if wanted.startswith("*.") and name.endswith(wanted[1:]) and len(name) > len(wanted) - 1
        ]
        return max(ranks, default=None)

    def take(self, path: str) -> tuple[list[int], dict[str, str]] | None:
        """A list that sorts by specificity (smaller is more specific) and the parameters; None when it does not fit."""
        if self.path.startswith("~"):
            found = re.fullmatch(self.path[1:], spelled(path))
            if found is None:
                return None
            groups = {name: text for name, text in found.groupdict().items() if text is not None}
            return [9], {name: unquote(text, errors="replace") for name, text in groups.items()}
        segments = path.split("/")[1:]
        wanted = self.path.split("/")[1:]
        key: list[int] = []
        params: dict[str, str] = {}
        for i, part in enumerate(wanted):
            if part == "*" and i == len(wanted) - 1:
                return [*key, 2], params  # the segments before the "*" fitted: the border is theirs
            if i >= len(segments):
                return None
            if part.endswith("*}"):
                params[part[1:-2]] = unquote("/".join(segments[i:]), errors="replace")
                return [*key, 2], params
            if part.startswith("{"):
                if not segments[i]:
                    return None
                params[part[1:-1]] = unquote(segments[i], errors="replace")
                key.append(1)
            else:
                if spelled(part) != spelled(segments[i]):
                    return None
                key.append(0)
        return (key, params) if len(segments) == len(wanted) else None

    def conditions_hold(self, headers: list[tuple[str, str]], query: str) -> bool:
        folded = [(name.lower(), value) for name, value in headers]
        pairs = parse_qsl(query, keep_blank_values=True, separator="&")
        return all(
            any(name == wanted.lower() and satisfies(value, condition) for name, value in folded)
            for wanted, condition in self.headers.items()
        ) and all(
            any(name == wanted and satisfies(value, condition) for name, value in pairs)
            for wanted, condition in self.query.items()
        )

    def accepts(self, method: str) -> bool:
        return self.methods is None or method in self.methods or (method == "HEAD" and "GET" in self.methods)


def satisfies(value: str, condition: str) -> bool:
    if condition == "*":
        return True
    if condition.startswith("~"):
        return re.fullmatch(condition[1:], value) is not None
    return value == condition


class NaiveRouter:
    """Looks at every route and sorts those that hold."""

    def __init__(self, merge_slashes: bool = True) -> None:
        self.merge_slashes = merge_slashes
        self.routes: list[Route] = []

    def candidates(
        self, path: str, host: str | None, headers: list[tuple[str, str]], query: str
    ) -> list[tuple[Route, dict[str, str]]]:
        """All routes that hold but for the method, best first."""
        normal = normalize(path, self.merge_slashes)
        if normal is None:
            return []
        found = []
        for order, route in enumerate(self.routes):
            rank = route.host_rank(host)
            taken = route.take(normal)
            if rank is None or taken is None or not route.conditions_hold(headers, query):
                continue
            detail = (route.methods is None, -len(route.headers), -len(route.query), order)
            found.append(((-route.priority, -rank, taken[0], *detail), route, taken[1]))
        found.sort(key=lambda item: item[0])
        return [(route, params) for _, route, params in found]

    def match(
        self, method: str, path: str, host: str | None, headers: list[tuple[str, str]], query: str
    ) -> tuple[object, dict[str, str]] | None:
        for route, params in self.candidates(path, host, headers, query):
            if route.accepts(method):
                return route.value, params
        return None

    def allowed(self, path: str, host: str | None, headers: list[tuple[str, str]], query: str) -> set[str]:
        names: set[str] = set()
        for route, _ in self.candidates(path, host, headers, query):
            methods = route.methods
            names.update(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") if methods is None else methods)
            if methods is not None and "GET" in methods:
                names.add("HEAD")
        return names
