"""What is said of routes: their names, what they match, those that no request reaches."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from fastgate.config.check.findings import Finding, items
from fastgate.config.check.overlap import covers
from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.root import Root
from fastgate.config.schema.routes import Route
from fastgate.config.suggest import did_you_mean, nearest
from fastgate.config.syntax.templates import Variable, parse_template


def host_warnings(config: Root) -> Iterator[Finding]:
    """A Host that was meant to be a word."""
    for number, route in enumerate(config.routes):
        literal = route.host_header
        if literal not in ("upstream", "client") and "." not in literal and ":" not in literal:
            meant = nearest(literal, ("upstream", "client"))
            if meant:
                yield (
                    ("routes", number, "host_header"),
                    f'{quote(literal)} is sent as it is written; did you mean "{meant}"?',
                )


def unreachable_routes(routes: list[Route]) -> Iterator[Finding]:
    """Routes all of whose requests go to another one.

    A route that covers another is the less specific of the two, so it wins only by a higher priority, or, where the two
    say the same, by standing first in the file.
    """
    same: dict[Any, int] = {}
    by_priority: dict[int, list[int]] = defaultdict(list)
    for number, route in enumerate(routes):
        by_priority[route.priority].append(number)
    ladder = sorted(by_priority, reverse=True)
    for number, route in enumerate(routes):
        first = same.setdefault(criteria(route), number)
        winner: int | None = first if first != number else None
        for priority in ladder:
            if priority <= route.priority or winner is not None:
                break
            winner = next((other for other in by_priority[priority] if covers(routes[other], route)), None)
        if winner is not None:
            by = routes[winner]
            why = f"priority {by.priority}" if by.priority != route.priority else "the same conditions, and comes first"
            yield ("routes", number), f"no request reaches this route: routes[{winner}] {quote(by.name)} has {why}"


def criteria(route: Route) -> Any:
    """What decides which requests match; equal for routes that match the same ones with the same rank."""
    path = route.path
    if not path.startswith("~"):
        path = "/".join(
            segment if not segment.startswith("{") else "{*}" if segment.endswith("*}") else "{}"
            for segment in path.split("/")
        )
    return (
        route.priority,
        path,
        frozenset(route.methods),
        frozenset(route.hosts),
        frozenset(route.headers.items()),
        frozenset(route.query.items()),
    )


def name_faults(entries: object, table: str) -> Iterator[Finding]:
    """No two tables of a list have one name."""
    first: dict[str, int] = {}
    for number, entry in enumerate(items(entries)):
        name = getattr(entry, "name", None)
        if isinstance(name, str) and first.setdefault(name, number) != number:
            yield (table, number, "name"), f"{quote(name)} is already the name of {table}[{first[name]}]"


def parameters_of(text: str) -> Iterable[str]:
    """The names of the parameters of a path that a text uses."""
    return [part.argument for part in parse_template(text) if isinstance(part, Variable) and part.name == "param"]


def parameter_faults(
    written: str, name: str, known: tuple[str, ...], route: Any, place: PathKeys, inherited: bool
) -> Iterator[Finding]:
    """A parameter that is used is one of the path of the route."""
    if name not in known:
        hint = did_you_mean(name, known) or ("" if known else ", which has none")
        whose = f"the path of route {quote(route.name)}" if inherited else f"the path {quote(route.path)}"
        yield place, f"{written} is not a parameter of {whose}{hint}"


def slash_faults(route: Any, keys: PathKeys, config: Any) -> Iterator[Finding]:
    """No path has what is read in another way before it is matched."""
    path = route.path
    if isinstance(path, str) and path.startswith("/") and "//" in path and config.gateway.merge_slashes is True:
        yield (
            (*keys, "path"),
            'the gateway reads "//" as "/" before it matches routes (merge_slashes), so this path would never match',
        )
