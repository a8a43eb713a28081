"""The compiled router under the name by which other programs import it: `fastgate._core.routing.router`."""

from fastgate._core.routing.router import *  # noqa: F403
