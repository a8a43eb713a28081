"""A response cache of this process alone, for a gateway that has no supervisor."""

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgate._core.delivery.cache.worker_cache import WorkerCache

SIZE = 16 * 1024 * 1024
"""Bytes of its file. Memory is only taken as it fills."""


class PrivateCache:
    """Opens the cache when it is first asked for: without a route that caches there is none."""

    def __init__(self) -> None:
        self._opened: WorkerCache | None = None
        self._waker = -1
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> "WorkerCache":
        """The cache, always the same one."""
        if self._opened is None:
            from fastgate._core.delivery.cache.worker_cache import WorkerCache  # on use: most gateways need none
            from fastgate._core.memory.cache.cache_file import CacheFile, needed

            file = CacheFile.create(max(needed(1), SIZE), slots=1)
            self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._opened = WorkerCache(file, 0, [self._waker])
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._waker, self._opened.woken)
        return self._opened

    def close(self) -> None:
        """Nothing waits any more. The file goes with the last route that uses it."""
        self._opened = None
        if self._loop is not None:
            self._loop.remove_reader(self._waker)
            os.close(self._waker)
            self._loop = None
