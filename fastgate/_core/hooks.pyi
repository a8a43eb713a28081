from collections.abc import Awaitable

from fastgate._core.exchange import Exchange
from fastgate._core.messages import Response

async def wait_for(x: Exchange, awaitable: Awaitable[Response | None]) -> None:
    """The rest of the policies, after one that was not done at once."""
