import gc
from contextlib import AsyncExitStack

import pytest
from wire.support import DELIVERIES, Stand

pytest.importorskip("fastgate._core.exchange.worker")


@pytest.fixture(autouse=True, scope="session")
def quick_collections():
    """What pytest keeps of a thousand tests need not be looked through by the collection after each."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
async def stand():
    async with AsyncExitStack() as stack:
        yield Stand(stack)


@pytest.fixture(params=DELIVERIES)
def delivery(request):
    """How the client's bytes come: whole, byte by byte, or with another request behind them."""
    return request.param
