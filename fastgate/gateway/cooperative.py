"""Cooperative work: a reload never keeps requests waiting for longer than one slice of time."""

import asyncio
import time


class Cooperative:
    """Gives way to requests whenever so many seconds were spent; None: never."""

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._began = time.monotonic()

    async def give_way(self) -> None:
        """To be called between pieces of work that are short each."""
        if self._seconds is not None and time.monotonic() - self._began >= self._seconds:
            await asyncio.sleep(0)
            self._began = time.monotonic()
