"""The tables of the lanes of the response cache, and their lines in the project's README."""

from __future__ import annotations

from benchmarks.cells import Result, grid, named, number, ranged, ratio

SHOWN = 15
"""Functions of a hit, and of what a miss adds, that have a row."""
PART_SHOWN = 50.0
"""Instructions a request, from which on a part has a row."""


def size_name(size: int) -> str:
    """A number of bytes as one says it."""
    if size >= 1 << 20:
        return f"{size >> 20} MB"
    return f"{size >> 10} KB" if size >= 1 << 10 else f"{size} B"


def case_name(case: Result) -> str:
    """The size of the answers; and what is not as in the others."""
    return size_name(case["size"]) + (", a new trace id each" if case.get("traced") else "")


def cache(result: Result) -> str:
    """Each size, this gateway beside each peer, and the instructions."""
    versions = result["machine"]["versions"]
    labels = [row["label"] for row in result["cases"][0]["rows"]]
    sizes = [case_name(case) for case in result["cases"]]
    rows = {
        (size, row["label"]): row for size, case in zip(sizes, result["cases"], strict=True) for row in case["rows"]
    }
    shown = {label: next(row for (_, name), row in rows.items() if name == label) for label in labels}

    def cells(figure: str) -> str:
        return grid(
            ["contender", *sizes],
            (
                [
                    named(shown[label], versions),
                    *(ranged(rows[size, label][figure]) if (size, label) in rows else "–" for size in sizes),
                ]
                for label in labels
            ),
        )

    compared = grid(
        ["fastgate ÷", *(f"{size} (min–max), most" for size in sizes)],
        ([name, *(_compared(case, name) for case in result["cases"])] for name in _peers(result)),
    )
    answers = sum(row["requests"] for row in rows.values())
    wrong = sum(row["wrong"] for row in rows.values())
    return "\n\n".join([
        "CPU µs/request:", cells("cpu_us"), "Requests/s:", cells("rate"),
        "CPU of a hit ÷ that of a peer, round by round, and the most that it may be (nginx: by the faster setting):",
        compared, f"{answers:,} answers, {wrong:,} wrong or not from the cache.", _instructions(result["instructions"]),
    ])  # fmt: skip


def _peers(result: Result) -> list[str]:
    return list(dict.fromkeys(each["peer"] for case in result["cases"] for each in case["compared"]))


def _compared(case: Result, name: str) -> str:
    found = next((each for each in case["compared"] if each["peer"] == name), None)
    if found is None:
        return "–"
    return ratio(found["ratio"]) + (f", {found['most']}" if found["most"] is not None else "")


def _instructions(counted: Result) -> str:
    rows = grid(
        ["request", "instructions", "of it in the compiled core", "objects"],
        (
            [_kind_name(row["name"]), number(row["instructions"]), number(row["own"]), f"{row['objects']:.1f}"]
            for row in counted["rows"]
        ),
    )
    claims = grid(
        ["", "is", "at most"],
        ([each["claim"], f"{each['value']:+,.1f}", f"{each['most']:,}"] for each in counted["claims"]),
    )
    places = [
        f"{title}:\n\n{_parts(counted[key])}\n\n{_functions(counted[key])}"
        for title, key in (("Where a hit takes them", "hit"), ("Where a miss takes more than without `cache`", "miss"))
    ]
    return "\n\n".join(["Instructions a request:", rows, claims, *places])


def _parts(where: Result) -> str:
    shown = [row for row in where["parts"] if abs(row["instructions"]) >= PART_SHOWN]
    return grid(["part", "instructions/request"], ([row["part"], number(row["instructions"])] for row in shown))


def _functions(where: Result) -> str:
    return grid(
        ["function", "part", "instructions/request"],
        (
            [f"`{row['function'].replace('|', '/')}`", row["part"], number(row["instructions"])]
            for row in where["functions"][:SHOWN]
        ),
    )


def _kind_name(name: str) -> str:
    kind, _, fields = name.partition(" ")
    return {
        "fixed": f"a fixed answer, {fields} fields beside those of the gateway",
        "hit": f"a hit, {fields} stored fields",
        "traced_fixed": "the fixed answer, to requests of which each has a trace id of its own",
        "traced_hit": "the hit, the same",
        "uncached": "1 KB from the upstream, a route without `cache`",
        "miss": "the same, stored",
        "other_route": "the plain path, beside a second route",
        "cached_elsewhere": "the same, and the second route caches",
    }[kind]


def cache_line(result: Result) -> str:
    """For the project's README."""
    parts = [
        f"{case_name(case)} "
        + ", ".join(f"{ratio(each['ratio'])} × {each['peer']}" for each in case["compared"])
        for case in result["cases"]
    ]
    return f"Cache hits, in CPU: {'; '.join(parts)}."


def cache_crowd(result: Result) -> str:
    """What became of each crowd; how far behind the leader pieces come; what cannot be shared."""
    rows = grid(
        ["what happens", "clients", "upstream requests (most)", "right", "cut", "refused",
         "incomplete or wrong taken as right", "origin's answer sent when the median client has its first byte",
         "first byte ms, median", "all there ms"],
        (
            [
                row["label"],
                f"{row['clients']:,}",
                f"{row['upstream_requests']} ({row['most_upstream_requests']})",
                f"{row['right']:,}",
                f"{row['cut']:,}",
                f"{row['refused']:,}",
                f"{row['wrong_bodies']:,}",
                "–" if row["origin_share"] is None else ranged(row["origin_share"], lambda share: f"{share:.0%}"),
                *("–" if row[figure] is None else ranged(row[figure]) for figure in ("first_byte_ms", "total_ms")),
            ]
            for row in result["rows"]
        ),
    )  # fmt: skip
    lag, settings, private = result["lag"], result["settings"], result["no_store"]
    return (
        f"{settings['connections']:,} clients of {settings['workers']} workers ask for 1 MB that is not stored, "
        f"which the origin sends in {settings['pieces']} pieces within {settings['seconds']} s:\n\n{rows}\n\n"
        f"A piece of 64 KB reaches {lag['clients']} clients {ranged(lag['p50_ms'])} ms (median) and "
        f"{ranged(lag['p99_ms'])} ms (p99) after the client that asked first. {private['clients']:,} clients of an "
        f"answer with `no-store`: {ratio(private['ratio'])} × the time that they take without `cache`."
    )


def cache_crowd_line(result: Result) -> str:
    """For the project's README."""
    first, settings = result["rows"][0], result["settings"]
    return (
        f"{settings['connections']:,} clients at once for 1 MB that is not stored, {first['rounds']} rounds: at most "
        f"{first['upstream_requests']} upstream requests a round, {first['wrong']} wrong bodies; a piece reaches "
        f"{result['lag']['clients']} clients within {number(result['lag']['p99_ms']['median'])} ms (p99)."
    )


def cache_slow(result: Result) -> str:
    """Other clients' hits while nobody takes what the gateway has for them, and what that takes in memory."""
    rows = grid(
        ["slow clients", "p99 of others µs (min–max)", "× without them", "others' answers", "wrong",
         "new objects stored", "closed by the gateway", "readers cut", "workers, anonymous MB",
         "store's file, MB (most)", "the kernel's sockets, MB"],
        (
            [
                row["label"],
                ranged(row["p99_us"]),
                ratio(row["p99_ratio"]),
                f"{row['requests']:,}",
                f"{row['wrong']:,}",
                f"{row['stored']:,} of {row['offered']:,}",
                f"{row['closed']:,}",
                "–" if row["readers_cut"] is None else f"{row['readers_cut']:,}",
                number(row["anonymous"] / 2**20),
                f"{number(row['file_blocks'] / 2**20)} ({number(row['file_size'] / 2**20)})",
                number(row["socket_memory"] / 2**20),
            ]
            for row in result["rows"]
        ),
    )  # fmt: skip
    settings = result["settings"]
    return (
        f"{settings['clients']:,} clients take a byte a second of {settings['objects']} objects of 1 MB; others ask "
        f"for {size_name(settings['body_bytes'])} at {settings['rate']:,} requests/s:\n\n{rows}"
    )


def cache_slow_line(result: Result) -> str:
    """For the project's README."""
    ratios = ", ".join(f"{row['label']} {ratio(row['p99_ratio'])}" for row in result["rows"][1:])
    return f"p99 of hits while {result['settings']['clients']:,} clients take a byte a second, × without: {ratios}."
