"""Work in slices: a reload never keeps requests waiting for longer than one of them."""

import asyncio
import time


class Slices:
    """Gives way to requests whenever so many seconds were spent; None: never."""

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._began = time.monotonic()

    async def rest(self) -> None:
        """To be called between pieces of work that are short each."""
        if self._seconds is not None and time.monotonic() - self._began >= self._seconds:
            await asyncio.sleep(0)
            self._began = time.monotonic()
