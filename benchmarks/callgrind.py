"""Runs a program under callgrind, reads its profile, and says which part of the gateway an instruction belongs to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Unavailable


@dataclass(frozen=True, order=True)
class Place:
    """Where an instruction was executed: the object file's name without folder and suffix, and the function."""

    object: str
    function: str


class Profile(dict[Place, int]):
    """Instructions by place, each counted where it was executed, not where that was called from.

    Attributes:
        calls: How often each place was called.
    """

    calls: Counter[Place]

    @property
    def total(self) -> int:
        """All instructions."""
        return sum(self.values())

    def minus(self, shorter: Profile) -> dict[Place, int]:
        """What this run executed beyond a shorter one, places without a difference left out."""
        places = self.keys() | shorter.keys()
        differences = {place: self.get(place, 0) - shorter.get(place, 0) for place in places}
        return {place: count for place, count in differences.items() if count}


def parse(lines: Iterable[str]) -> Profile:
    """A profile from the lines of a callgrind file (format of valgrind 3.19, names compressed or not).

    The line after ``calls=`` is what the callee cost, which is counted there already, and is left out.
    """
    names: dict[tuple[str, str], str] = {}
    counts: Counter[Place] = Counter()
    calls: Counter[Place] = Counter()
    where = {"ob": "", "fn": ""}
    callee = {"ob": "", "fn": ""}
    skip = False
    for line in lines:
        if line[:1] in "0123456789+-*":
            if skip:
                skip = False
            else:
                counts[Place(where["ob"], where["fn"])] += int(line.split()[1])
            continue
        key, separator, value = line.rstrip("\n").partition("=")
        if not separator:
            continue
        if key == "calls":
            skip = True
            calls[Place(callee["ob"], callee["fn"])] += int(value.split()[0])
            callee["ob"] = where["ob"]
        elif key in ("ob", "cob", "fn", "cfn"):
            kind = key.removeprefix("c")
            match = re.match(r"\((\d+)\)(?: (.*))?$", value)
            if match:
                if match[2] is not None:
                    names[kind, match[1]] = match[2]
                value = names[kind, match[1]]
            if kind == "ob":
                value = Path(value).name.partition(".cpython")[0]
            (where if key == kind else callee)[kind] = value
            if key == "ob":
                callee["ob"] = value  # a callee without an object is in that of its caller
    profile = Profile(counts)
    profile.calls = calls
    return profile


def run(command: list[str], output: Path) -> Profile:
    """Run ``command`` under callgrind and read its profile. Raises ``Unavailable`` without valgrind."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise Unavailable("valgrind is not installed")
    environment = {**os.environ, "PYTHONHASHSEED": "0", "UV_USE_IO_URING": "0"}
    full = [valgrind, "--tool=callgrind", f"--callgrind-out-file={output}", *command]
    done = subprocess.run(full, capture_output=True, text=True, timeout=600, check=False, env=environment)
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command)} failed under callgrind: {(done.stdout + done.stderr)[-600:]}")
    with output.open() as lines:
        return parse(lines)


def readable(function: str) -> str:
    """A Cython symbol as a dotted name: ``__pyx_f_8fastgate_5_core_4head_4Head_scan`` is ``head.Head.scan``."""
    match = re.match(r"__pyx_(?:[a-z]+_)*(?=\d)", function)
    if match is None:
        return re.sub(r"'\d+$", "", function)
    rest, names = function[match.end() :], []
    while found := re.match(r"(\d+)", rest):
        length, start = int(found[1]), len(found[1])
        name, after = rest[start : start + length], rest[start + length :]
        if len(name) < length or (after and not after.startswith("_")):
            rest = rest[start:]  # a method's own number, not a length
            break
        names.append(name)
        rest = after[1:]
    names.append(re.sub(r"(\.\w+\.\d+|'\d+)+$", "", rest))
    for package in ({"fastgate"}, {"_core"}, ROOMS, {"h1"}):
        if len(names) > 1 and names[0] in package:
            del names[0]
    return ".".join(name for name in names if name)


ROOMS = {"memory", "routing", "exchange", "wire", "delivery", "limits", "auth", "policies", "observe", "probes"}

PARTS: tuple[tuple[str, str, str], ...] = (
    ("head", r"scan", "head: scan"),
    ("head", r".", "head: index"),
    ("parser", r".", "httptools"),
    ("router", r".", "router"),
    ("resolve", r".", "target, client and path"),
    ("header_edits", r".", "header edits"),
    ("browser", r".", "CORS and security headers"),
    ("forwarding", r".", "assembling the request"),
    ("client", r"send_response|put_fields|put_out", "assembling the response"),
    ("upstream", r"Pool|Target|Ticket", "pool"),
    ("upstream", r".", "upstream connection"),
    ("client", r".", "client connection"),
    ("exchange", r"polic|hook|advance", "policies"),
    ("exchange", r".", "exchange"),
    ("worker", r"make_id", "request id"),
    ("worker", r"accept_", "calling httptools"),
    ("worker", r".", "worker"),
    ("timers", r".", "timers"),
    ("histogram", r".", "metrics"),
    ("segment", r".", "metrics"),
    ("balancer", r".", "balancer"),
    ("framing", r".", "framing"),
    ("access_log", r".", "access log"),
    ("gate|bearer|api_key|basic", r".", "authentication"),
    ("gates|request_key|rate|concurrency|budget", r".", "limits"),
    ("answer_head", r".", "assembling the response"),
    ("chain", r".", "policies"),
    ("cached|worker_cache|reader|spans", r".", "cache: requests and fetches"),
    ("lookup|key|vary", r".", "cache: key and look-up"),
    ("rules|directives|freshness|dates|structured|conditions|locations", r".", "cache: HTTP's rules"),
    ("heads|stored_head", r".", "cache: heads"),
    ("cache_store", r".", "cache: store"),
    ("flights", r".", "cache: flights"),
    ("purges|tags", r".", "cache: purges and tags"),
    (r"python3.*|libpython.*", r"_PyEval_EvalFrame|_PyEval_Vector", "the driver's own loop"),
    (r"python3.*|libpython.*", r".", "Python objects (make, call, free)"),
    (r"libc|ld-linux.*|libpthread|vgpreload.*", r".", "C library (copy, compare, allocate)"),
)
"""Object file, function (searched for), part; the first that fits decides."""


def part_of(place: Place) -> str:
    """The part of the gateway that a place belongs to."""
    name = readable(place.function)
    module = place.object.removesuffix(".6").removesuffix(".so")
    for object_pattern, function_pattern, part in PARTS:
        if re.fullmatch(object_pattern, module) and re.search(function_pattern, name):
            return part
    return f"other: {module}"


def source_of(place: Place) -> str:
    """What a table shows of a place."""
    return f"{place.object.partition('.')[0]}: {readable(place.function)}"
