"""The protocol of purges between processes: what was fetched before a purge is not used after it has returned."""

import random
import signal
import time

import pytest
from core.purge_workers import floods


@pytest.mark.parametrize("kills", [0, 2], ids=["all live", "two are killed"])
@pytest.mark.parametrize("keys", [16, 800], ids=["a few", "more than places"])
def test_nothing_from_before_a_purge_is_used_after_it_returned(keys: int, kills: int) -> None:
    """Six processes; each gives the processor away between the two writes of a purge, where readers could be misled."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    with floods(1 << 18, 6, seed, 400, keys) as (started, purges):
        until = time.monotonic_ns() + 1_000_000_000
        for flood in started:
            flood.start(until)
        for flood in started[:kills]:
            time.sleep(0.3)
            flood.process.send_signal(signal.SIGKILL)
        counts = [flood.counts() for flood in started[kills:]]
        purged, fetched, used, wrong = map(sum, zip(*counts, strict=True))
        print(f"{purged} purges, {fetched} fetches, {used} records used, {wrong} of them wrong")
        print(purges.stats())
        assert wrong == 0
        assert purged > 1000
        assert used > 10_000
        if keys == 800:
            assert min(purges.stats().floors_raised, purges.stats().prefixes_merged) > 50
