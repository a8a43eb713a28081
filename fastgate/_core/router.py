"""The compiled router under the name by which other programs import it: `fastgate._core.routing.router`."""

from fastgate._core.routing.router import Entry, Match, Router, normalized

__all__ = ["Entry", "Match", "Router", "normalized"]
