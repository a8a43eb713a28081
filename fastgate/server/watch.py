"""Looks at a configuration file once a second, for ``serve --watch``."""

import os
from collections.abc import Callable

_Stamp = tuple[int, int, int] | None


class FileWatch:
    """What a file looked like when this was made, to be made before the file is read; `run` says when it has changed.

    Looked at are modification time, size and inode: editors write a new file and rename it. A change counts when two
    looks in a row have seen the same, so that a file that is still being written is left alone; a file that is missing
    is one that is about to be replaced.
    """

    def __init__(self, path: str, interval: float = 1.0) -> None:
        self._path = path
        self._interval = interval
        self._used = self._seen = self._stamp()

    async def run(self, changed: Callable[[], object]) -> None:
        """Calls ``changed`` after each change, for ever."""
        import asyncio  # on use: this is imported before the first worker is started

        while True:
            await asyncio.sleep(self._interval)
            if self.look():
                changed()

    def look(self) -> bool:
        """Whether the file has changed since it was used last, and has settled."""
        stamp = self._stamp()
        settled, self._seen = stamp == self._seen, stamp
        if stamp is None or stamp == self._used or not settled:
            return False
        self._used = stamp
        return True

    def _stamp(self) -> _Stamp:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
