"""Tables and a picture from ``results/*.json``; no figure in any document was typed.

``python -m benchmarks.render`` writes the table of each result between ``<!-- NAME:begin -->`` and
``<!-- NAME:end -->`` of ``benchmarks/README.md``, a summary between ``<!-- benchmarks:begin -->`` and
``<!-- benchmarks:end -->`` of ``README.md``, and draws ``results/plain.svg``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

from benchmarks.cache_tables import cache, cache_crowd, cache_crowd_line, cache_line, cache_slow, cache_slow_line
from benchmarks.cells import Result, grid, named, number, ranged, ratio
from benchmarks.machine import ROOT

RESULTS = Path(__file__).resolve().parent / "results"
DOCUMENTS = (ROOT / "benchmarks" / "README.md", ROOT / "README.md")
SMALL = 0.005
"""Parts of a profile below this share are shown as one."""

def contest(rows: list[Result], versions: dict[str, str]) -> str:
    """Rows of interleaved rounds, closed loop."""
    heads = ["contender", "CPU µs/request", "of it user + system", "× nginx (min–max)", "requests/s", "p50 µs"]
    return grid(
        [*heads, "p99 µs", "full core", "answers", "wrong"],
        (
            [
                named(row, versions),
                ranged(row["cpu_us"]),
                f"{number(row['user_us']['median'])} + {number(row['system_us']['median'])}",
                ratio(row.get("cpu_ratio")),
                number(row["rate"]["median"]),
                number(row["p50_us"]["median"]),
                number(row["p99_us"]["median"]),
                row["saturated"],
                f"{row['requests']:,}",
                f"{row['wrong']:,}",
            ]
            for row in rows
        ),
    )


def fixed_rate(rows: list[Result], versions: dict[str, str]) -> str:
    """Rows of interleaved rounds, open loop."""
    heads = ["contender", "requests/s", "p50 µs", "p99 µs", "p99 × nginx (min–max)", "CPU µs/request"]
    return grid(
        [*heads, "proxy core busy", "wrong"],
        (
            [
                named(row, versions),
                number(row["wanted_rate"]),
                ranged(row["p50_us"]),
                ranged(row["p99_us"]),
                ratio(row.get("p99_ratio")),
                number(row["cpu_us"]["median"]),
                f"{row['proxy_busy']['median']:.0%}",
                f"{row['wrong']:,}",
            ]
            for row in rows
        ),
    )


def throughput(rows: list[Result], versions: dict[str, str], size: int) -> str:
    """Rows of interleaved rounds of large bodies."""
    heads = ["contender", "MiB/s", "× nginx (min–max)", "CPU µs/body", "CPU × nginx (min–max)", "p99 ms", "full core"]
    return grid(
        [*heads, "bodies", "wrong"],
        (
            [
                named(row, versions),
                ranged(row["rate"], lambda rate: number(rate * size / 2**20)),
                ratio(row.get("rate_ratio")),
                ranged(row["cpu_us"]),
                ratio(row.get("cpu_ratio")),
                number(row["p99_us"]["median"] / 1000),
                row["saturated"],
                f"{row['requests']:,}",
                f"{row['wrong']:,}",
            ]
            for row in rows
        ),
    )


def plain(result: Result) -> str:
    """Both tables of the plain lane."""
    versions = result["machine"]["versions"]
    closed, opened = contest(result["rows"], versions), fixed_rate(result["fixed_rate_rows"], versions)
    return (
        f"Closed loop, every connection busy:\n\n{closed}\n\nOpen loop at a fixed rate, half of what nginx reached (or "
        f"of their own, if that is less); latency counted from the moment a request was due:\n\n{opened}"
    )


def bodies(result: Result) -> str:
    """Both directions."""
    versions, size = result["machine"]["versions"], result["settings"]["body_bytes"]
    down, up = (throughput(result[rows], versions, size) for rows in ("down_rows", "up_rows"))
    return f"Down:\n\n{down}\n\nUp:\n\n{up}"


def idle(result: Result) -> str:
    """Plain and TLS side by side."""
    secured = {row["kind"]: row for row in result["tls_rows"]}
    versions = result["machine"]["versions"]

    def cells(row: Result | None) -> list[str]:
        if row is None:
            return ["–", "–"]
        return [number(row["bytes_each_pss"]), number(row["bytes_each_rss"])]

    return grid(
        ["contender", "plain, bytes each (PSS)", "(RSS)", "TLS, bytes each (PSS)", "(RSS)", "before, MiB RSS"],
        (
            [
                named(row, versions),
                *cells(row),
                *cells(secured.get(row["kind"])),
                number(row["before"]["rss"] / 2**20),
            ]
            for row in result["rows"]
        ),
    )


def start(result: Result) -> str:
    """Time to the first answer."""
    versions = result["machine"]["versions"]
    return grid(
        ["contender", "ms to the first answer", "starts", "serving process, MiB RSS"],
        (
            [
                named(row, versions),
                ranged(row["milliseconds"]),
                str(row["starts"]),
                number(row["memory"]["rss"] / 2**20),
            ]
            for row in result["rows"]
        ),
    )


def callgrind(result: Result) -> str:
    """Instructions per request by part, then the costliest functions."""
    total = result["instructions"]
    large = [part for part in result["parts"] if part["instructions"] >= SMALL * total]
    rest = sum(part["instructions"] for part in result["parts"]) - sum(part["instructions"] for part in large)
    parts = grid(
        ["part", "instructions/request", "share"],
        (
            [part["part"], number(part["instructions"]), f"{part['instructions'] / total:.1%}"]
            for part in [*large, {"part": "all others", "instructions": rest}]
        ),
    )
    functions = grid(
        ["function", "part", "instructions/request"],
        (
            [f"`{row['function'].replace('|', '/')}`", row["part"], number(row["instructions"])]
            for row in result["functions"][:20]
        ),
    )
    settings = result["settings"]
    note = (
        f"**{total:,.0f} instructions a request** (runs of {settings['short']:,} and {settings['long']:,} requests, "
        f"{result['repeats']} times: {', '.join(f'{value:,.0f}' for value in result['totals'])})"
    )
    return f"{note}\n\n{parts}\n\nThe costliest functions:\n\n{functions}"


def router(result: Result) -> str:
    """The routers of other frameworks beside ours, nanoseconds a match."""
    sets = result["sets"]
    labels = [row["label"] for row in sets[0]["rows"]]

    def cells(label: str) -> Iterable[str]:
        for one in sets:
            row = next((row for row in one["rows"] if row["label"] == label), None)
            yield "skipped" if row is None else ranged(row["ns"])

    def speedup(label: str) -> str:
        row = next(row for row in sets[0]["rows"] if row["label"] == label)
        return ratio(row["speedup"])

    heads = ["ns a match", *(one["set"] for one in sets), f"falcon ÷ it, {sets[0]['set']}"]
    return grid(heads, ([label, *cells(label), speedup(label)] for label in labels))


def limiter(result: Result) -> str:
    """The kinds of limit, nanoseconds a check."""
    counts = result["settings"]["keys"]
    cells = {(row["label"], cell["keys"]): cell for row in result["rows"] for cell in row["cells"]}

    def shown(label: str, keys: int) -> str:
        cell = cells.get((label, keys))
        return "–" if cell is None else ranged(cell["ns"])

    last = counts[-1]
    heads = ["ns a check", *(f"{keys:,} keys" for keys in counts), f"{last:,} keys, first check of each"]
    return grid(
        [*heads, "evicted"],
        (
            [
                row["label"],
                *(shown(row["label"], keys) for keys in counts),
                number(cells[row["label"], last]["first"]) if (row["label"], last) in cells else "–",
                f"{sum(cell['evictions'] for cell in row['cells']):,}",
            ]
            for row in result["rows"]
        ),
    )


def traffic(result: Result) -> str:
    """Instructions with each feature, then the rounds in time."""
    rows = result["instructions"]
    plain = next(row["instructions"] for row in rows if not row["features"])
    counted = grid(
        ["with", "instructions/request", "beyond plain"],
        (
            [
                " + ".join(row["features"]).replace("_", " ") or "nothing (the plain path)",
                number(row["instructions"]),
                f"{row['instructions'] - plain:+,.0f}" if row["features"] else "",
            ]
            for row in rows
        ),
    )
    return f"{counted}\n\nIn time:\n\n{contest(result['rows'], result['machine']['versions'])}"


def policies(result: Result) -> str:
    """Instructions with each policy, beside the same request without it; then the rounds in time."""
    counted = grid(
        ["policy", "instructions/request", "beyond the same request without it", "of it in the compiled core"],
        (
            ["none (the plain path)", number(result["plain"]), "", ""],
            *(
                [_policy_name(row["features"]), number(row["instructions"]), *(f"{row[key]:+,.0f}" for key in ADDED)]
                for row in result["instructions"]
            ),
        ),
    )
    return f"{counted}\n\nIn time:\n\n{contest(result['rows'], result['machine']['versions'])}"


ADDED = ("added", "added_own")


def _policy_name(features: list[str]) -> str:
    names = {"elsewhere": "none, nearly all of them on another route", "jwt": "a token that was seen before (HS256)"}
    return " + ".join(names.get(feature, feature.replace("_", " ")) for feature in features)


def cost(result: Result) -> str:
    """Instructions and objects of each kind of request, beside those of the commit of ``--before``."""
    compared = bool(result["options"]["before"])
    before = ["before", "change", "objects before"] if compared else []
    return grid(
        ["request", "instructions (min–max)", "objects", *before],
        (
            [
                " + ".join(row["features"]).replace("_", " ") or "plain",
                ranged(row["now"]["instructions"]),
                f"{row['now']['objects']:.1f}",
                *(
                    [
                        ranged(row["before"]["instructions"]),
                        f"{row['change']:+.2%}",
                        f"{row['before']['objects']:.1f}",
                    ]
                    if compared
                    else []
                ),
            ]
            for row in result["rows"]
        ),
    )


def reload(result: Result) -> str:
    """Latency with and without reloads, then what became of everything else."""
    table = grid(
        ["", "p50 µs", "p99 µs", "p99 × no reload (min–max)", "longest, ms", "answers", "wrong"],
        (
            [
                row["label"],
                ranged(row["p50_us"]),
                ranged(row["p99_us"]),
                ratio(row["p99_ratio"]),
                number(row["max_us"] / 1000),
                f"{row['requests']:,}",
                f"{row['wrong']:,}",
            ]
            for row in result["rows"]
        ),
    )
    settings, memory = result["settings"], result["memory"]
    broken = ", ".join(f"{row['label']}: {row['wrong']}" for row in result["streams"])
    return (
        f"{settings['reloads']} reloads of {settings['routes']:,} routes and {settings['upstreams']} upstreams at "
        f"{settings['rate']:,} requests/s:\n\n{table}\n\nA reload takes {ranged(result['reload_seconds'])} s. Of "
        f"{settings['streams']} WebSockets and event streams and one spent limit: {broken}. The worker had "
        f"{number(memory['before'] / 2**20)} MiB RSS after the first reload and {number(memory['after'] / 2**20)} "
        "after the last."
    )


def connect(result: Result) -> str:
    """Connection per request."""
    return contest(result["rows"], result["machine"]["versions"])


def many(result: Result) -> str:
    """Each case: its clients, targets and workers, then its rows."""
    parts = []
    for case in result["cases"]:
        targets, workers = _plural(case["targets"], "target"), _plural(case["workers"], "worker")
        parts.append(f"{case['clients']:,} clients, {targets}, {workers}:")
        parts.append(contest(case["rows"], result["machine"]["versions"]))
    parts += [f"Skipped: {name}: {why}." for name, why in result["skipped"].items()]
    return "\n\n".join(parts)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def logged(result: Result) -> str:
    """The rounds, what has changed since the commit of ``--before``, and where the instructions go."""
    parts = [contest(result["rows"], result["machine"]["versions"])]
    if result["changes"]:
        changes = ", ".join(f"{each['label']} {ratio(each['ratio'])}" for each in result["changes"])
        parts.append(f"CPU per request ÷ that of {result['options']['before']}, round by round: {changes}.")
    if result["instructions"]:
        parts.append(f"Instructions a request, by part:\n\n{_logged_parts(result['instructions'])}")
    return "\n\n".join(parts)


def _logged_parts(rows: list[Result]) -> str:
    columns = [
        (f"{', '.join(row['features']).replace('_', ' ') or 'plain'}{'' if when == 'now' else ', before'}", row[when])
        for row in rows
        for when in ("before", "now")
        if when in row
    ]
    names = sorted({name for _, column in columns for name in column}, key=lambda name: -columns[-1][1].get(name, 0.0))
    shown = [name for name in names if any(column.get(name, 0.0) >= PART_SHOWN for _, column in columns)]
    rest = [sum(count for name, count in column.items() if name not in shown) for _, column in columns]
    return grid(
        ["part", *(label for label, _ in columns)],
        [
            ["all", *(number(sum(column.values())) for _, column in columns)],
            *([name, *(number(column.get(name, 0.0)) for _, column in columns)] for name in shown),
            ["all others", *(number(count) for count in rest)],
        ],
    )


PART_SHOWN = 100.0
"""Instructions a request, from which on a part has a row."""


TABLES: dict[str, Callable[[Result], str]] = {
    "plain": plain,
    "connect": connect,
    "bodies": bodies,
    "idle": idle,
    "start": start,
    "callgrind": callgrind,
    "router": router,
    "limiter": limiter,
    "traffic": traffic,
    "policies": policies,
    "reload": reload,
    "many": many,
    "log": logged,
    "chain": logged,
    "cost": cost,
    "cache": cache,
    "cache_crowd": cache_crowd,
    "cache_slow": cache_slow,
}


def wrong_answers(result: Result) -> int:
    """Wrong answers in all rows of a result."""
    return sum(row.get("wrong", 0) for row in rows_of(result))


def rows_of(result: Result) -> list[Result]:
    """The rows of all tables of a result, those of its cases too."""
    found = [row for rows in result.values() if isinstance(rows, list) for row in rows if isinstance(row, dict)]
    return [each for row in found for each in (row["rows"] if isinstance(row.get("rows"), list) else [row])]


def disturbance(result: Result) -> str:
    """A warning when processes that do not belong to the contest had more than 5 % of a core in an ordinary round."""
    worst = max((row["foreign"]["median"] for row in rows_of(result) if "foreign" in row), default=0.0)
    return f"**Disturbed**: other processes had {worst:.0%} of a core in the median round." if worst > 0.05 else ""


def provenance(result: Result) -> str:
    """One line: when, where, of what, with which command."""
    machine = result["machine"]
    parts = [
        machine["date"][:10],
        f"commit {machine['commit']}" if machine["commit"] else "",
        f"{machine['processor']}, {machine['cores']} cores",
        f"Linux {machine['kernel']}",
        f"Python {machine['versions']['python']}",
        f"`{result['command']}`",
    ]
    return "<sub>" + " · ".join(filter(None, parts)) + "</sub>"


def markdown(result: Result) -> str:
    """Everything a document shows of one result."""
    table = TABLES[result["lane"]](result)
    skipped = "; ".join(f"{name}: {reason.splitlines()[0]}" for name, reason in result.get("skipped", {}).items())
    return "\n\n".join(
        filter(None, [table, disturbance(result), f"Skipped: {skipped}." if skipped else "", provenance(result)])
    )


def summary(results: dict[str, Result]) -> str:
    """What the project's README shows: the picture, the plain lane, one line for each other lane."""
    paragraphs = []
    if "plain" in results:
        result = results["plain"]
        paragraphs = [
            "![Processor time per proxied request](benchmarks/results/plain.svg)",
            contest(result["rows"], result["machine"]["versions"]),
            disturbance(result),
        ]
    points = [f"- {line(results[name])}" for name, line in LINES.items() if name in results]
    last = results.get("plain") or next(iter(results.values()))
    more = "All tables, and how each figure is taken: [benchmarks/README.md](benchmarks/README.md)."
    return "\n\n".join(filter(None, [*paragraphs, "\n".join(points), more, provenance(last)]))


def _ours(rows: list[Result]) -> Result | None:
    return next((row for row in rows if row["kind"] == "fastgate"), None)


def _connect_line(result: Result) -> str:
    row = _ours(result["rows"])
    return f"A new connection for each request: {ratio(row.get('cpu_ratio') if row else None)} × nginx in CPU."


def _bodies_line(result: Result) -> str:
    down, up = (_ours(result[rows]) for rows in ("down_rows", "up_rows"))
    ratios = [ratio(row.get("rate_ratio") if row else None) for row in (down, up)]
    return f"Bodies of 1 MiB: {ratios[0]} × nginx in throughput down, {ratios[1]} × up."


def _idle_line(result: Result) -> str:
    plain, secured = (_ours(result[rows]) for rows in ("rows", "tls_rows"))
    sizes = [f"{row['bytes_each_pss']:,.0f} bytes" if row else "not measured" for row in (plain, secured)]
    return f"An idle keep-alive connection: {sizes[0]} (with TLS: {sizes[1]})."


def _start_line(result: Result) -> str:
    row = _ours(result["rows"])
    return f"Start to first answer: {ranged(row['milliseconds']) + ' ms' if row else 'not measured'}."


def _callgrind_line(result: Result) -> str:
    return f"Instructions per request that repeats its fields, without the kernel: {result['instructions']:,.0f}."


def _router_line(result: Result) -> str:
    first = result["sets"][0]
    row = next((row for row in first["rows"] if row["label"] == "fastgate"), None)
    speed = ratio(row["speedup"]) if row else "–"
    return f"The router called from Python, {first['routes']} {first['set']} routes: {speed} × as fast as falcon's."


def _limiter_line(result: Result) -> str:
    cells = next(row["cells"] for row in result["rows"] if row["label"] == "token bucket")
    few, many = (f"{number(cell['ns']['median'])} ns with {cell['keys']:,} keys" for cell in (cells[0], cells[-1]))
    return f"A check of a token bucket in shared memory, hash and clock included: {few}, {many}."


def _traffic_line(result: Result) -> str:
    rows = result["instructions"]
    plain = next(row["instructions"] for row in rows if not row["features"])
    added = rows[-1]["instructions"] - plain
    return f"Token bucket, breaker, passive health and least connections together add {added:,.0f} instructions."


def _policies_line(result: Result) -> str:
    added = {" ".join(row["features"]): row["added"] for row in result["instructions"]}
    own = next(row["added_own"] for row in result["instructions"] if row["features"] == ["elsewhere"])
    return (
        f"Instructions that policies add to a request: a token that was seen before {added['jwt']:,.0f}, a key "
        f"{added['key']:,.0f}, CORS and security headers {added['cors security_headers']:,.0f}, a plugin in Python "
        f"{added['plugin']:,.0f}; to a route without them, in the compiled core: {abs(round(own)):,}."
    )


def _reload_line(result: Result) -> str:
    row, settings = result["rows"][-1], result["settings"]
    return (
        f"{settings['reloads']} reloads of {settings['routes']:,} routes under load: {row['wrong']} wrong answers, p99 "
        f"{ratio(row['p99_ratio'])} × what it is without."
    )


def _many_line(result: Result) -> str:
    ratios = [
        f"{ratio(row['cpu_ratio'])} × nginx with {case['clients']:,} clients, "
        f"{_plural(case['targets'], 'target')} and {_plural(case['workers'], 'worker')}"
        for case in result["cases"]
        for row in case["rows"]
        if row["label"] == "fastgate"
    ]
    wrong = sum(row["wrong"] for case in result["cases"] for row in case["rows"] if row["label"] == "fastgate")
    return f"Many clients at once, with the defaults: {', '.join(ratios)}; {wrong} requests refused or wrong."


def _logged_line(result: Result) -> str:
    ratios = [
        f"{row['label'].removeprefix('fastgate, ')} {ratio(row.get('cpu_ratio'))}"
        for row in result["rows"]
        if row["label"].startswith("fastgate, ")
    ]
    return f"{result['title']}, × nginx with its log in CPU: {', '.join(ratios)}."


LINES: dict[str, Callable[[Result], str]] = {
    "connect": _connect_line,
    "bodies": _bodies_line,
    "idle": _idle_line,
    "start": _start_line,
    "callgrind": _callgrind_line,
    "router": _router_line,
    "limiter": _limiter_line,
    "traffic": _traffic_line,
    "policies": _policies_line,
    "reload": _reload_line,
    "many": _many_line,
    "log": _logged_line,
    "chain": _logged_line,
    "cache": cache_line,
    "cache_crowd": cache_crowd_line,
    "cache_slow": cache_slow_line,
}


def insert(document: str, name: str, text: str) -> str:
    """``document`` with ``text`` between the marks of ``name``; unchanged where it has none."""
    pattern = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", document)


OPENING = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" font-family="system-ui, sans-serif" font-size="13">
<title>Processor time per proxied request</title>
<style>
text {{ fill: #24292f }} .quiet {{ fill: #57606a; font-size: 11px }} .span {{ stroke: #57606a; stroke-width: 1.5 }}
.user {{ fill: #1f6feb }} .system {{ fill: #9ec5fe }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3 }} .quiet {{ fill: #9198a1 }} .span {{ stroke: #9198a1 }} .system {{ fill: #274b7a }}
}}
</style>
<text x="16" y="24" font-size="15" font-weight="600">Processor time per proxied request, µs</text>
<rect class="user" x="16" y="34" width="10" height="10"/><text class="quiet" x="30" y="43">user</text>
<rect class="system" x="66" y="34" width="10" height="10"/><text class="quiet" x="80" y="43">system</text>
<text class="quiet" x="134" y="43">line: smallest to largest round</text>"""

BAR = """\
<text x="16" y="{baseline}">{label}</text>
<rect class="user" x="{left}" y="{y}" width="{user:.1f}" height="20"/>
<rect class="system" x="{system_at:.1f}" y="{y}" width="{system:.1f}" height="20"/>
<line class="span" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>
<text x="{value_at:.1f}" y="{baseline}">{value}</text>"""


def picture(result: Result) -> str:
    """Processor time per request of the plain lane as an SVG: a bar a contender, user and system, with the spread."""
    rows = result["rows"]
    widest = max(row["cpu_us"]["max"] for row in rows)
    left, width, step, top = 150, 460, 34, 56
    scale = width / widest
    versions = result["machine"]["versions"]
    height = top + step * len(rows) + 44
    lines = [OPENING.format(height=height)]
    for index, row in enumerate(rows):
        y = top + index * step
        cpu, user = row["cpu_us"], min(row["user_us"]["median"], row["cpu_us"]["median"])
        low, high, middle = left + cpu["min"] * scale, left + cpu["max"] * scale, y + 10
        lines.append(
            BAR.format(
                label=escape(named(row, versions)),
                left=left,
                y=y,
                baseline=y + 15,
                middle=middle,
                user=user * scale,
                system=(cpu["median"] - user) * scale,
                system_at=left + user * scale,
                low=low,
                high=high,
                value_at=max(high, left + cpu["median"] * scale) + 8,
                value=number(cpu["median"]),
            )
        )
    machine = result["machine"]
    place = f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, {machine['date'][:10]}"
    lines.append(f'<text class="quiet" x="16" y="{height - 14}">{escape(place)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def publish(folder: Path = RESULTS, documents: Sequence[Path] = DOCUMENTS) -> None:
    """Bring documents and picture up to date with the results in ``folder``."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    results = {result["lane"]: result for result in found if result.get("lane") in TABLES}
    if not results:
        return
    texts = {name: markdown(result) for name, result in results.items()} | {"benchmarks": summary(results)}
    for document in documents:
        if not document.exists():
            continue
        text = before = document.read_text()
        for name, part in texts.items():
            text = insert(text, name, part)
        if text != before:
            document.write_text(text)
    if "plain" in results and results["plain"]["rows"]:
        (folder / "plain.svg").write_text(picture(results["plain"]))


if __name__ == "__main__":
    publish()
