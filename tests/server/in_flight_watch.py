"""Looks at the requests in flight of a gateway's targets, as often as it can: ``PID ROWS SECONDS BOUND``.

The first of the rows is the slow target's. Between two looks that are close together, a rise of its count is a pick: a
worker has found that no other target had less. What is told is by how much it then was above the least of the others,
of the two looks the one that is kinder, and how often that was above the bound: a look takes some microseconds, in
which a worker may read a batch of answers of the others. And, for comparison, the most that it was above the least at
any instant, when answers of the others may have come since the pick.
"""

import json
import sys
import time

from server.traffic import segment_of

CLOSE = 50_000  # nanoseconds; what happened in a longer pause of this process is not judged
BURST, PAUSE = 0.004, 0.008


def main() -> None:
    segment = segment_of(int(sys.argv[1]))
    slow, *others = json.loads(sys.argv[2])
    end = time.monotonic() + float(sys.argv[3])
    count = segment.requests_in_flight
    samples = picks = over = excess = excess_at_pick = 0
    sums = [0] * (len(others) + 1)
    while time.monotonic() < end:
        burst = time.monotonic() + BURST
        last_at = 0
        last_slow = last_least = 0
        while time.monotonic() < burst:
            # The slow one between two looks at the others: what it is compared with is not older, nor newer, only.
            before = [count(row) for row in others]
            here = count(slow)
            after = [count(row) for row in others]
            at = time.monotonic_ns()
            least = max(min(before), min(after))
            samples += 1
            for index, each in enumerate((here, *after)):
                sums[index] += each
            excess = max(excess, here - least)
            if last_at and at - last_at < CLOSE and here > last_slow:
                picks += 1
                above = here - max(least, last_least)
                excess_at_pick = max(excess_at_pick, above)
                over += above > int(sys.argv[4])
            last_at, last_slow, last_least = at, here, least
        time.sleep(PAUSE)
    print(json.dumps({
        "samples": samples, "picks": picks, "over": over, "excess": excess, "excess_at_pick": excess_at_pick,
        "mean": [round(each / max(samples, 1), 1) for each in sums],
    }))


if __name__ == "__main__":
    main()
