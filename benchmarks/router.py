"""The router beside the routers of Python frameworks: ``python -m benchmarks.router [--out FILE]``.

Called from Python, one process, one core. Each router is asked for the route and its parameters; every answer is
checked before the first measurement. Rounds are interleaved, each begins with another contender, and a second falcon
shows what this machine calls equal. Figures are nanoseconds of processor time a match, the loop over the requests
subtracted.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from time import process_time
from typing import Any

from benchmarks.arithmetic import ratios, spread
from benchmarks.machine import cores, facts

GITHUB = Path(__file__).with_name("github_routes.txt")
SIZES = (10, 100, 1_000, 10_000)
REQUESTS = 203
BASE = "falcon"
AGAIN = "falcon again"
WORDS = ("accounts", "billing", "catalog", "devices", "events", "files", "groups", "invoices", "jobs", "keys")


@dataclass(frozen=True)
class Request:
    """One request of a set and what it must be answered with: the route's pattern and the parameters."""

    method: str
    path: str
    pattern: str
    params: dict[str, str]


@dataclass(frozen=True)
class RouteSet:
    """Routes as ``(method, pattern)`` in falcon's form, and the requests that are sent to them."""

    name: str
    routes: list[tuple[str, str]]
    requests: list[Request]


@dataclass
class Contender:
    """A router filled with a set. ``run`` matches every request once and reads its parameters."""

    name: str
    run: Callable[[], None]
    answer: Callable[[int], tuple[str, dict[str, str]]]


def filled(method: str, pattern: str, serial: int) -> Request:
    """A request for a pattern, with its own parameter values."""
    params = {name: f"{name}-{serial}" for name in re.findall(r"{(\w+)}", pattern)}
    return Request(method, re.sub(r"{(\w+)}", lambda found: params[found[1]], pattern), pattern, params)


def github() -> RouteSet:
    """The 203 routes of the GitHub API, one request each."""
    lines = [line.split() for line in GITHUB.read_text().splitlines() if line and not line.startswith("#")]
    routes = [(method, pattern) for method, pattern in lines]
    return RouteSet("github", routes, [filled(method, pattern, i) for i, (method, pattern) in enumerate(routes)])


def generated(size: int) -> RouteSet:
    """Routes of three shapes (literal, one parameter, two parameters) under ten prefixes; always as many requests.

    The requests differ in their parameter values, so that a small set is not helped by fewer strings in the caches.
    """
    routes = []
    for i in range(size):
        word, other = WORDS[i % 10], WORDS[i // 10 % 10]
        shape = (
            f"/{word}/{other}-{i}",
            f"/{word}/{other}-{i}/{{id}}",
            f"/{word}/v{i % 3}/{other}-{i}/{{id}}/{word}/{{item}}",
        )[i % 3]
        routes.append(("GET", shape))
    chosen = [routes[i * size // REQUESTS % size] for i in range(REQUESTS)]
    random.Random(size).shuffle(chosen)
    return RouteSet(f"generated {size}", routes, [filled(*route, i) for i, route in enumerate(chosen)])


def fastgate(routes: RouteSet, *, read: bool = True) -> Contender:
    """Ours; without ``read`` the parameters are matched but not made into a dict."""
    from fastgate import Router

    router = Router()
    for method, pattern in routes.routes:
        router.add(pattern, pattern, methods=[method])
    match, wanted = router.match, [(request.method, request.path) for request in routes.requests]

    def run() -> None:
        for method, path in wanted:
            match(method, path).params  # noqa: B018  # type: ignore[union-attr]

    def run_unread() -> None:
        for method, path in wanted:
            match(method, path)

    def answer(i: int) -> tuple[str, dict[str, str]]:
        found = match(*wanted[i])
        assert found is not None
        return found.value, found.params

    return Contender("fastgate", run, answer) if read else Contender("fastgate, params unread", run_unread, answer)


def fastgate_unread(routes: RouteSet) -> Contender:
    return fastgate(routes, read=False)


def falcon(routes: RouteSet, name: str = BASE) -> Contender:
    from falcon.routing import CompiledRouter

    methods: dict[str, list[str]] = {}
    for method, pattern in routes.routes:
        methods.setdefault(pattern, []).append(method)
    router = CompiledRouter()
    for pattern, allowed in methods.items():
        responders = {f"on_{method.lower()}": lambda self, req, resp, **params: None for method in allowed}
        router.add_route(pattern, type("Resource", (), responders)())
    find, wanted = router.find, [(request.method, request.path) for request in routes.requests]
    find("/")  # compiles

    def run() -> None:
        for method, path in wanted:
            find(path)[1][method]

    def answer(i: int) -> tuple[str, dict[str, str]]:
        method, path = wanted[i]
        _, responders, params, pattern = find(path)
        assert responders[method].__name__ == "<lambda>"
        return pattern, params

    return Contender(name, run, answer)


def falcon_again(routes: RouteSet) -> Contender:
    return falcon(routes, AGAIN)


def starlette(routes: RouteSet) -> Contender:
    from starlette.routing import Match, Route, Router

    router = Router([Route(pattern, endpoint=print, methods=[method]) for method, pattern in routes.routes])
    full, listed = Match.FULL, router.routes
    scopes = [
        {"type": "http", "method": request.method, "path": request.path, "root_path": "", "headers": []}
        for request in routes.requests
    ]

    def match(scope: dict[str, Any]) -> tuple[Any, Any]:  # the loop of starlette's Router.app
        for route in listed:
            verdict, child = route.matches(scope)
            if verdict is full:
                return route, child["path_params"]
        raise LookupError(scope["path"])

    def run() -> None:
        for scope in scopes:
            match(scope)

    def answer(i: int) -> tuple[str, dict[str, str]]:
        route, params = match(scopes[i])
        return route.path, params

    return Contender("starlette", run, answer)


def aiohttp(routes: RouteSet) -> Contender:
    from aiohttp.test_utils import make_mocked_request
    from aiohttp.web import UrlDispatcher

    async def handler(request: object) -> None: ...

    router = UrlDispatcher()
    for method, pattern in routes.routes:
        router.add_route(method, pattern, handler)
    asked = [make_mocked_request(request.method, request.path) for request in routes.requests]
    resolve = router.resolve

    def match(request: Any) -> Any:
        try:
            resolve(request).send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("the router waits for nothing")

    def run() -> None:
        for request in asked:
            match(request)

    def answer(i: int) -> tuple[str, dict[str, str]]:
        info = match(asked[i])
        return info.route.resource.canonical, dict(info)

    return Contender("aiohttp", run, answer)


def werkzeug(routes: RouteSet) -> Contender:
    from werkzeug.routing import Map, Rule

    rules = [
        Rule(re.sub(r"{(\w+)}", r"<\1>", pattern), endpoint=pattern, methods=[method])
        for method, pattern in routes.routes
    ]
    match = Map(rules).bind("localhost").match
    wanted = [(request.path, request.method) for request in routes.requests]

    def run() -> None:
        for path, method in wanted:
            match(path, method)

    def answer(i: int) -> tuple[str, dict[str, str]]:
        pattern, params = match(*wanted[i])
        return pattern, dict(params)

    return Contender("werkzeug", run, answer)


FIELD: dict[str, Callable[[RouteSet], Contender]] = {
    BASE: falcon,
    AGAIN: falcon_again,
    "fastgate": fastgate,
    "fastgate, params unread": fastgate_unread,
    "starlette": starlette,
    "aiohttp": aiohttp,
    "werkzeug": werkzeug,
}


def check(contender: Contender, routes: RouteSet) -> int:
    """How many requests of the set are answered with another route or other parameters than they must be."""
    wrong = 0
    for i, request in enumerate(routes.requests):
        wrong += contender.answer(i) != (request.pattern, request.params)
    return wrong


def turn(run: Callable[[], None], times: int) -> float:
    """Seconds of one call."""
    began = process_time()
    for _ in range(times):
        run()
    return (process_time() - began) / times


def empty_loop(routes: RouteSet) -> Callable[[], None]:
    wanted = [(request.method, request.path) for request in routes.requests]

    def run() -> None:
        for _, _ in wanted:
            pass

    return run


def rotated(items: Sequence[Any], by: int) -> Iterator[Any]:
    by %= max(1, len(items))
    yield from items[by:]
    yield from items[:by]


def contest(routes: RouteSet, rounds: int, seconds: float) -> dict[str, Any]:
    """All contenders on one set: their figures, and who is absent and why."""
    contenders: list[Contender] = []
    skipped: dict[str, str] = {}
    wrong: dict[str, int] = {}
    for name, make in FIELD.items():
        try:
            contenders.append(make(routes))
        except (ImportError, RecursionError, MemoryError) as reason:
            skipped[name] = f"{type(reason).__name__}: {reason}"
            continue
        wrong[name] = check(contenders[-1], routes)
    loop = empty_loop(routes)
    times = {contender.name: max(1, int(seconds / turn(contender.run, 1))) for contender in contenders}
    taken: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            overhead = turn(loop, 200)
            for contender in rotated(contenders, number):
                spent = turn(contender.run, times[contender.name]) - overhead
                taken[contender.name].append(spent / len(routes.requests) * 1e9)
    finally:
        gc.enable()
    return {
        "set": routes.name,
        "routes": len(routes.routes),
        "requests": len(routes.requests),
        "skipped": skipped,
        "rows": [
            {
                "label": name,
                "ns": spread(values),
                "ratio": ratios(values, taken[BASE]) if BASE in taken else None,
                "speedup": ratios(taken[BASE], values) if BASE in taken else None,
                "wrong": wrong[name],
                "rounds": values,
            }
            for name, values in taken.items()
        ],
    }


def growth(sets: list[dict[str, Any]], label: str) -> dict[str, float] | None:
    """How much longer a match takes with the most generated routes than with the fewest, round by round."""
    ends = [
        next((row["rounds"] for row in result["rows"] if row["label"] == label), None) for result in (sets[0], sets[-1])
    ]
    return ratios(ends[1], ends[0]) if ends[0] is not None and ends[1] is not None else None


def table(results: list[dict[str, Any]]) -> str:
    """The figures as a Markdown table: median nanoseconds a match, smallest and largest in brackets."""
    labels = [row["label"] for row in results[0]["rows"]]
    lines = [f"| ns/match | {' | '.join(result['set'] for result in results)} |", "|---" * (len(results) + 1) + "|"]
    for label in labels:
        cells = []
        for result in results:
            row = next((row for row in result["rows"] if row["label"] == label), None)
            cells.append("skipped" if row is None else "{median:,.0f} ({min:,.0f}–{max:,.0f})".format(**row["ns"]))
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def versions() -> dict[str, str]:
    found = {}
    for name in ("falcon", "starlette", "aiohttp", "werkzeug"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def main(arguments: list[str]) -> int:
    """Runs the contest. Returns 0, or 1 when a router answered wrongly."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.router", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="interleaved rounds (default 10)")
    parser.add_argument("--seconds", type=float, default=0.05, metavar="S", help="length of a turn (default 0.05)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the result as JSON")
    chosen = parser.parse_args(arguments)
    machine = facts()
    os.sched_setaffinity(0, {cores()[0]})
    results = []
    for routes in (github(), *map(generated, SIZES)):
        print(f"{routes.name}: {len(routes.routes)} routes", file=sys.stderr, flush=True)
        results.append(contest(routes, chosen.rounds, chosen.seconds))
    machine["versions"] = {**machine["versions"], **versions()}  # type: ignore[dict-item]
    result = {
        "lane": "router",
        "title": "router called from Python",
        "command": " ".join(["python -m benchmarks.router", *arguments]),
        "machine": machine,
        "sets": results,
        "growth": {label: growth(results[1:], label) for label in FIELD},
    }
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(results))
    for row in results[0]["rows"]:
        if row["label"].startswith("fastgate"):
            print(
                f"{row['label']}: {row['speedup']['median']:.2f} × falcon ({row['speedup']['min']:.2f}–"
                f"{row['speedup']['max']:.2f}) on the GitHub routes; "
                f"{result['growth'][row['label']]['median']:.2f} × from {SIZES[0]} to {SIZES[-1]:,} routes"
            )
    return int(any(row["wrong"] for result in results for row in result["rows"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
