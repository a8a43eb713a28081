"""What built-in policies add to a proxied request.

Instructions first, as in the callgrind lane. Each policy is compared with the same request on a route without it, so
that what a longer request costs anyway is not counted as the policy's; and a route without policies is counted beside a
route that has nearly all of them. Then the same in time: the same requests, with and without, beside nginx.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from benchmarks import policy_features
from benchmarks.callgrind import run as run_callgrind
from benchmarks.contest import AGAIN, BASE, Contest, Options, say, table
from benchmarks.load import WORK, Load, request_head, run_load
from benchmarks.machine import ROOT
from benchmarks.proxies import Proxy

TITLE = "What built-in policies add"
SHORT, LONG = 200, 1200

OWN = {source.stem for source in (ROOT / "fastgate" / "_core").rglob("*.pyx")}

Features = tuple[str, ...]

PAIRS: tuple[tuple[Features, Features], ...] = (
    (("jwt",), ("bearer",)),
    (("key",), ("key_field",)),
    (("cors",), ("origin",)),
    (("security_headers",), ()),
    (("cors", "security_headers"), ("origin",)),
    (("ip",), ()),
    (("plugin",), ()),
    (("elsewhere",), ("other_route",)),
)
"""Features of the driver: the policies, and what they are compared with (none: the plain path)."""

CONTENDERS = (
    (BASE, BASE),
    (BASE, AGAIN),
    ("fastgate", "fastgate"),
    ("fastgate-key", "fastgate, key"),
    ("fastgate-jwt", "fastgate, token"),
    ("fastgate-browser", "fastgate, CORS and security headers"),
    ("fastgate-plugin", "fastgate, plugin"),
)
"""All get the same request, with a key, a token and an Origin."""


def run(options: Options) -> dict[str, object]:
    """The instructions of every pair, and the interleaved rounds."""
    WORK.mkdir(exist_ok=True)
    known: dict[Features, Cost] = {(): _instructions(())}
    rows = []
    for features, base in PAIRS:
        for each in (base, features):
            if each not in known:
                known[each] = _instructions(each)
        cost, without = known[features], known[base]
        added, own = cost.all - without.all, cost.own - without.own
        rows.append({
            "features": list(features), "base": list(base), "instructions": cost.all, "added": added, "added_own": own,
        })  # fmt: skip
        say(f"  {' + '.join(features)}: {cost.all:,.0f} instructions a request, {added:+,.0f}, {own:+,.1f} in _core")
    fields = [policy_features.FIELDS[name] for name in ("bearer", "key_field", "origin")]
    head = request_head(**{name: value for each in fields for name, value in each.items()})
    with Contest(options, contenders=CONTENDERS, head=head) as contest:
        core, connections = contest.load_core, options.connections

        def closed(proxy: Proxy) -> Load:
            return run_load(core, proxy.port, head, duration=options.duration, connections=connections)

        def warmup(proxy: Proxy) -> Load:
            return run_load(core, proxy.port, head, duration=0.3, connections=connections)

        timed = contest.interleave("closed loop", closed, warmup)
        return {
            "settings": {"short": SHORT, "long": LONG, "connections": connections},
            "plain": known[()].all,
            "instructions": rows,
            "rows": table(timed, connections),
            "skipped": contest.skipped,
        }


class Cost(NamedTuple):
    """Instructions of a request."""

    all: float
    own: float
    """Those in the gateway's compiled modules. What libraries and the interpreter do moves by some instructions with
    the alignment of memory; these do not."""


def _instructions(features: Features) -> Cost:
    few, many = (
        run_callgrind([sys.executable, "-m", "benchmarks.driver", str(count), *features], WORK / f"policies.{count}")
        for count in (SHORT, LONG)
    )
    more, requests = many.minus(few), LONG - SHORT
    own = sum(count for place, count in more.items() if place.object in OWN)
    return Cost(sum(more.values()) / requests, own / requests)
