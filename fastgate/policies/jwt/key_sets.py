"""The published sets of keys that a worker knows. Fetched by the control plane, which tells all workers of a new one.

A token may name a key that was published a moment ago. Then the control plane is asked once, and all that wait for the
set wait for the one answer: the set comes first where there is a new one. With the answer comes until when asking
again is of no use.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from weakref import WeakMethod


class KeySets:
    """Documents by their URL. ``want(url, kid)`` asks the control plane for a key; `settled` is the answer."""

    def __init__(self, documents: Mapping[str, bytes], want: Callable[[str, str], None]) -> None:
        self._documents = dict(documents)
        self._want = want
        self._watching: dict[str, list[WeakMethod[Callable[[], None]]]] = {}
        self._asked: dict[str, asyncio.Future[None]] = {}
        self._quiet_until: dict[str, float] = {}

    def document(self, url: str) -> bytes | None:
        """The set as it was published; None before the first came."""
        return self._documents.get(url)

    def watch(self, url: str, changed: Callable[[], None]) -> None:
        """Calls this method of somebody, for as long as he is there, when another set comes."""
        watching = [each for each in self._watching.get(url, []) if each() is not None]
        self._watching[url] = [*watching, WeakMethod(changed)]

    def may_ask(self, url: str) -> bool:
        """Whether asking for a key is of any use now."""
        return time.monotonic() >= self._quiet_until.get(url, 0.0)

    async def ask(self, url: str, kid: str, patience: float) -> bool:
        """Has the control plane look for a key, and waits so many seconds at most. Whether there was an answer."""
        asked = self._asked.get(url)
        if asked is None:
            asked = self._asked[url] = asyncio.get_running_loop().create_future()
            self._want(url, kid)
        done, _ = await asyncio.wait([asked], timeout=max(0.0, patience))
        return bool(done)

    # -- from the control plane

    def fetched(self, url: str, document: bytes) -> None:
        """Another set is published."""
        self._documents[url] = document
        for each in self._watching.get(url, []):
            changed = each()
            if changed is not None:
                changed()

    def settled(self, url: str, quiet_until: float) -> None:
        """The answer: what could be done was done, and until then (``time.monotonic()``) nothing more will be."""
        self._quiet_until[url] = quiet_until
        asked = self._asked.pop(url, None)
        if asked is not None:
            with contextlib.suppress(asyncio.InvalidStateError):
                asked.set_result(None)
