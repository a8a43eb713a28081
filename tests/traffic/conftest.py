from contextlib import AsyncExitStack

import pytest
from traffic.stores import STORES
from traffic.support import Traffic


@pytest.fixture
async def traffic(tmp_path):
    """Upstreams, a gateway with any configuration before them, clients, and the access log."""
    async with AsyncExitStack() as stack:
        yield Traffic(stack, tmp_path)


@pytest.fixture(params=STORES)
def either_store(request, monkeypatch):
    """Gateways of this test count in the store of the host, or in one that answers 10 ms later."""
    monkeypatch.setattr("fastgate.gateway.control.SharedMemoryStore", STORES[request.param])
