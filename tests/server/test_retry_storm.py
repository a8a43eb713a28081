"""An upstream that answers 503 to everything is asked hardly more often than there are requests."""

import asyncio
import re
from collections import Counter

import pytest
from server.harness import REAL, config, running
from server.traffic import get, read_answer, scaled, targets

BUDGET = 0.2


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("at_once", [1, 64])
async def test_the_retry_budget_holds_for_all_workers_together(workers: int, at_once: int) -> None:
    requests = int(scaled(1000))
    settings = config(workers=workers)
    settings["routes"][0]["retry"] = {
        "attempts": 3, "on": ["5xx", "connect", "reset"], "budget": BUDGET, "backoff": "1ms", "max_backoff": "4ms",
    }
    async with targets({"status": 503}) as (target,):
        settings["upstreams"] = {"backend": {"targets": [target.name]}}
        async with running(settings, REAL) as server:
            port = await server.complete(workers)
            left = requests
            answers: Counter[tuple[int, bool]] = Counter()
            tries_seen: set[int] = set()

            async def client() -> None:
                """Asks over a new connection now and then, so that every worker gets some."""
                nonlocal left
                while left > 0:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    for _ in range(16):
                        if left <= 0:
                            break
                        left -= 1
                        writer.write(get())
                        status, head, body = await read_answer(reader)
                        # Its body and its field tell which try the answer belongs to: one of the upstream's, untouched.
                        field = re.search(rb"\r\nX-Body: (\d+ (\d+))\r\n", head)
                        answers[status, field is not None and field[1] == body] += 1
                        if field is not None:
                            tries_seen.add(int(field[2]))
                    writer.close()

            await asyncio.gather(*(client() for _ in range(at_once)))
            tries = (await target.control())["requests"]
    most = requests + 3 + int(BUDGET * requests)
    print(f"{workers} workers, {at_once} at once: {requests} requests, {tries} tries, at most {most}")
    assert answers == {(503, True): requests}
    assert len(tries_seen) == requests
    assert tries <= most
    assert tries >= requests + 0.9 * BUDGET * requests
