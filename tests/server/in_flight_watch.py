"""Looks at the requests in flight of a gateway's targets, as often as it can: ``PID ROWS SECONDS``.

The first of the rows is the slow target's. What is told is the most that it was above the least of the others.
"""

import json
import sys
import time

from server.traffic import segment_of

BURST, PAUSE = 0.004, 0.008


def main() -> None:
    segment = segment_of(int(sys.argv[1]))
    slow, *others = json.loads(sys.argv[2])
    end = time.monotonic() + float(sys.argv[3])
    count = segment.rows.requests_in_flight
    looks = excess = 0
    sums = [0] * (len(others) + 1)
    while time.monotonic() < end:
        burst = time.monotonic() + BURST
        while time.monotonic() < burst:
            # The slow one between two looks at the others: what it is compared with is not older, nor newer, only.
            before = [count(row) for row in others]
            here = count(slow)
            after = [count(row) for row in others]
            looks += 1
            for index, each in enumerate((here, *after)):
                sums[index] += each
            excess = max(excess, here - max(min(before), min(after)))
        time.sleep(PAUSE)
    print(json.dumps({"looks": looks, "excess": excess, "mean": [round(each / looks, 1) for each in sums]}))


if __name__ == "__main__":
    main()
