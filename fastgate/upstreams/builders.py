"""The settings of health and breakers, from a configuration to the shared state they rule.

Workers and control plane make these objects alike: what they share lies in the rows of targets, under the names of
upstream and target.
"""

from collections.abc import Iterable

from fastgate._core.delivery.breaker import Breaker
from fastgate._core.delivery.health import UpstreamHealth
from fastgate._core.memory.events import EventRing
from fastgate._core.memory.targets import TargetRows
from fastgate.config import Breaker as BreakerConfig
from fastgate.config import Upstream


def health_of(
    rows: TargetRows, name: str, targets: Iterable[str], backups: Iterable[str], upstream: Upstream, events: EventRing
) -> UpstreamHealth:
    """The health of an upstream's targets, by their names."""
    passive = upstream.health.passive
    return UpstreamHealth(
        rows,
        name,
        targets,
        events=events,
        backups=backups,
        failures=passive.failures if passive is not None else 0,
        window=passive.window if passive is not None else 10.0,
        eject=passive.eject if passive is not None else 30.0,
        max_eject=passive.max_eject if passive is not None else 300.0,
        max_ejected=passive.max_ejected if passive is not None else 0.0,
        slow_start=upstream.slow_start,
        panic_threshold=upstream.panic_threshold,
        panic_over_probes=upstream.panic_over_probes,
    )


def breaker_of(rows: TargetRows, upstream: str, target: str, settings: BreakerConfig, events: EventRing) -> Breaker:
    """The breaker of a target; of the whole upstream where ``target`` is empty."""
    return Breaker(
        rows,
        upstream,
        target or None,
        events=events,
        failures=settings.failures,
        ratio=settings.ratio,
        min_requests=settings.min_requests,
        window=settings.window,
        open=settings.open,
        half_open=settings.half_open,
        recovery=settings.recovery,
    )
