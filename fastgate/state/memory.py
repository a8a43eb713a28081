"""The shared memory of one host: made once, by whoever starts the workers, and cleaned of what a dead one held."""

from fastgate._core.limits.concurrency import prepare_shares, release_slot, shares_size
from fastgate._core.limits.rate import limits_size, logs_size, prepare
from fastgate._core.memory.plugin_times import plugins_size
from fastgate._core.memory.segment import Segment
from fastgate.config import GatewayConfig


def make_segment(config: GatewayConfig, slots: int) -> Segment:
    """The shared memory of a gateway with so many workers, as large as ``[state]`` says."""
    state = config.state
    segment = Segment.create(
        slots=slots,
        limits=limits_size(state.rate_limit_entries),
        logs=logs_size(state.rate_limit_stamps),
        shares=shares_size(state.concurrency_entries, slots),
        plugins=plugins_size(slots),
    )
    prepare(segment.region("limits"))
    prepare(segment.region("logs"))
    prepare_shares(segment.region("shares"))
    return segment


def release(segment: Segment, slot: int) -> None:
    """Takes back what a worker held that is gone: requests in flight, places under concurrency limits."""
    segment.release(slot)
    release_slot(segment.region("shares"), slot)
