from contextlib import AsyncExitStack

import pytest
from traffic.support import Traffic


@pytest.fixture
async def traffic(tmp_path):
    """Upstreams, a gateway with any configuration before them, clients, and the access log."""
    async with AsyncExitStack() as stack:
        yield Traffic(stack, tmp_path)
