"""Balancers for any program: which of several servers gets the next request.

They are those of the gateway, and loading them loads nothing else of it::

    from fastgate.balancing import LeastConnections

    servers = LeastConnections(["a", "b"], weights=[2, 1])
    with servers.taken() as server:  # counted as in flight inside the block
        ...

A balancer is for one process and one thread.
"""

from fastgate._core.delivery.balancer import (
    Balancer,
    IPHash,
    LeastConnections,
    PowerOfTwoChoices,
    Random,
    RoundRobin,
    SmoothWeightedRoundRobin,
)
from fastgate._core.delivery.ring import ConsistentHash

__all__ = [
    "Balancer",
    "ConsistentHash",
    "IPHash",
    "LeastConnections",
    "PowerOfTwoChoices",
    "Random",
    "RoundRobin",
    "SmoothWeightedRoundRobin",
]
