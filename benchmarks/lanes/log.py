"""The plain proxy with the access log on, on both sides, in the formats that each has by default.

nginx writes its combined format, once with a buffer, as busy installations are run, and once without, as it does where
nobody asks for more. Ours is measured as JSON, its default, and as combined. Every answer must have its line.
"""

from __future__ import annotations

from benchmarks import logged
from benchmarks.contest import Contender, Options
from benchmarks.load import request_head

TITLE = "Access log on"

OURS = (
    Contender("fastgate-log", "fastgate, JSON", {"format": "json"}),
    Contender("fastgate-log", "fastgate, combined", {"format": "combined"}),
)


def run(options: Options) -> dict[str, object]:
    """The interleaved rounds, and the instructions that a line costs."""
    rounds = logged.contest(options, OURS, request_head())
    return {**rounds, "instructions": logged.instructions(options, [(), ("log_json",), ("log_combined",)])}
