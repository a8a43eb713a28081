"""Whether one route matches everything that another matches."""

from fastgate.config.schema.routes import Route


def covers(wide: Route, narrow: Route) -> bool:
    """True when every request that ``narrow`` matches is matched by ``wide``; False also when that cannot be told."""
    return (
        _covers_path(wide.path, narrow.path)
        and _covers_methods(wide.methods, narrow.methods)
        and _covers_hosts(wide.hosts, narrow.hosts)
        and covers_conditions(wide.headers, narrow.headers)
        and covers_conditions(wide.query, narrow.query)
    )


def _covers_path(wide: str, narrow: str) -> bool:
    if wide.startswith("~") or narrow.startswith("~"):
        return wide == narrow
    outer, inner = wide[1:].split("/"), narrow[1:].split("/")
    for number, segment in enumerate(outer):
        if segment == "*":
            # "/api/*" matches "/api" too
            return True
        if segment.endswith("*}"):
            return number < len(inner)
        if number >= len(inner) or _is_rest(inner[number]):
            return False
        if segment.startswith("{"):
            if inner[number] == "":
                return False
        elif segment != inner[number]:
            return False
    return len(outer) == len(inner)


def _is_rest(segment: str) -> bool:
    return segment == "*" or segment.endswith("*}")


def _covers_methods(wide: list[str], narrow: list[str]) -> bool:
    if not wide:
        return True
    allowed = {*wide, "HEAD"} if "GET" in wide else set(wide)
    return bool(narrow) and allowed.issuperset(narrow)


def _covers_hosts(wide: list[str], narrow: list[str]) -> bool:
    if not wide:
        return True
    return bool(narrow) and all(any(_covers_host(outer, inner) for outer in wide) for inner in narrow)


def _covers_host(wide: str, narrow: str) -> bool:
    if wide == narrow:
        return True
    return wide.startswith("*.") and narrow.removeprefix("*").endswith(wide[1:])


def covers_conditions(wide: dict[str, str], narrow: dict[str, str]) -> bool:
    """Each condition of the wide route must be one of the narrow route's, or ask for no more than presence."""
    return all(name in narrow and value in ("*", narrow[name]) for name, value in wide.items())
