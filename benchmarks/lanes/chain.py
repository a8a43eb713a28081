"""The full chain beside nginx's plain proxy.

Ours has a parameter in the path, a token that has to be valid, a bucket for each of its subjects, metrics, and the
access log as JSON; nginx does none of this and writes its combined log.
"""

from __future__ import annotations

from benchmarks import logged, policy_features
from benchmarks.contest import Contender, Options
from benchmarks.load import request_head

TITLE = "The full chain"

OURS = (Contender("fastgate-chain", "fastgate, full chain"),)


def run(options: Options) -> dict[str, object]:
    """The interleaved rounds, and where the instructions go."""
    rounds = logged.contest(options, OURS, request_head(**policy_features.FIELDS["chain"]))
    return {**rounds, "instructions": logged.instructions(options, [("bearer",), ("chain",), ("chain", "log_json")])}
