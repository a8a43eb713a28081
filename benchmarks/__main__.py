"""``python -m benchmarks [lane ...]``: run lanes, write their JSON, render tables and pictures."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks import render
from benchmarks.contest import CACHES, FIELD, Options, say
from benchmarks.lanes import NAMES, load_lane
from benchmarks.load import WORK
from benchmarks.machine import Unavailable, commit, facts, interpreter_of

RESULTS = Path(__file__).resolve().parent / "results"


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure fastgate beside nginx, HAProxy, Caddy and Varnish, as far as they are installed. The "
        "proxy has the first core, load generator and origin the last. Writes one JSON file a lane and renders the "
        "tables from them.",
        epilog=f"Lanes: {', '.join(NAMES)}. Without a lane, all of them.",
    )
    parser.add_argument("lanes", nargs="*", metavar="lane", help="lanes to run (default: all)")
    parser.add_argument("--rounds", type=int, metavar="N", help="interleaved rounds (default 10; quick 2)")
    parser.add_argument("--duration", type=float, metavar="S", help="seconds of each turn (default 2; quick 1)")
    parser.add_argument("--quick", action="store_true", help="a short look; results are kept out of benchmarks/results")
    everyone = ",".join(FIELD + CACHES)
    parser.add_argument("--only", metavar="NAMES", help=f"contenders, with commas between (default {everyone})")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="FOLDER",
        help="a checkout of an earlier commit, built there with `make build`: takes part in log, chain and cost",
    )
    parser.add_argument("--no-render", action="store_true", help="write the JSON only")
    chosen = parser.parse_args(arguments)
    unknown = [lane for lane in chosen.lanes if lane not in NAMES]
    if unknown:
        parser.error(f"unknown lane {', '.join(unknown)}; there are {', '.join(NAMES)}")
    known = FIELD + CACHES
    strangers = [name for name in (chosen.only or "").split(",") if name and name not in known]
    if strangers:
        parser.error(f"unknown contender {', '.join(strangers)}; there are {', '.join(known)}")
    if chosen.before is not None and not interpreter_of(chosen.before.resolve()).exists():
        parser.error(f"{chosen.before} has no {interpreter_of(Path())}: run `make build` there first")
    return chosen


def options_of(chosen: argparse.Namespace) -> Options:
    """What the lanes are to do."""
    quick = chosen.quick
    return Options(
        rounds=chosen.rounds or (2 if quick else 10),
        duration=chosen.duration or (1.0 if quick else 2.0),
        quick=quick,
        only=tuple(chosen.only.split(",")) if chosen.only else FIELD + CACHES,
        idle=1_000 if quick else 10_000,
        starts=3 if quick else 10,
        before=str(chosen.before.resolve()) if chosen.before is not None else "",
    )


def main(arguments: list[str]) -> int:
    """Run what the command line asks for. Returns 0, or 1 when a lane could not run or saw a wrong answer."""
    chosen = parse(arguments)
    options = options_of(chosen)
    folder = WORK / "results" if options.quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in chosen.lanes or NAMES:
        lane = load_lane(name)
        say(f"{name}: {lane.TITLE}")
        began = time.monotonic()
        try:
            measured = lane.run(options)
        except Unavailable as reason:
            say(f"  {name} skipped: {reason}")
            failed = True
            continue
        before = commit(Path(options.before)) if options.before else ""
        words = [before if word == str(chosen.before) else word for word in arguments if word not in NAMES]
        result = {
            "lane": name,
            "title": lane.TITLE,
            "command": " ".join(["python -m benchmarks", name, *words]),
            "options": {**asdict(options), "before": before},
            "seconds": round(time.monotonic() - began, 1),
            "machine": facts(),
            **measured,
        }
        (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(render.markdown(result))
        failed = failed or render.wrong_answers(result) > 0
    if not options.quick and not chosen.no_render:
        render.publish(RESULTS)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
