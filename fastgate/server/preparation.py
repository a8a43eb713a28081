"""A worker's side of a reload: prepares a configuration beside the one in use, between requests; then swaps or forgets.

Parts are only kept when they arrive. One task decodes them, gives way to requests after each `SLICE`, and has the
gateway prepare the whole. The collector is off until the configuration is used or forgotten: it would look through all
the new objects again and again, 70 ms at a time with 10,000 routes.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Callable

from fastgate.config import ConfigError, Problem
from fastgate.server.channel import Channel
from fastgate.server.config_stream import Assembly
from fastgate.server.control_messages import Abort, Commit, Committed, ConfigPart, Prepare, Prepared, Refused
from fastgate.server.worker_target import WorkerTarget, one_line

_log = logging.getLogger("fastgate.worker")

SLICE = 0.0005  # seconds


class Preparation:
    """Answers the messages of reloads. ``broken`` is called when a commit failed: this worker must be replaced."""

    def __init__(self, channel: Channel, gateway: WorkerTarget, broken: Callable[[], None]) -> None:
        self._channel = channel
        self._gateway = gateway
        self._broken = broken
        self._generation = 0  # what is being prepared; 0 is nothing
        self._parts: asyncio.Queue[ConfigPart] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._begun = False  # it has come so far that it hears when it is cancelled

    def receive(self, message: Prepare | ConfigPart | Commit | Abort) -> None:
        """Does what the message says."""
        if isinstance(message, Prepare):
            self._begin(message)
        elif message.generation != self._generation:
            return
        elif isinstance(message, ConfigPart):
            self._parts.put_nowait(message)
        elif isinstance(message, Commit):
            self._commit()
        else:
            self._abort()

    def _begin(self, message: Prepare) -> None:
        if self._generation:
            self._abort()
        self._generation = message.generation
        self._begun = False
        self._parts = asyncio.Queue()
        gc.disable()
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._prepare(message, self._parts, self._task))

    async def _prepare(
        self, message: Prepare, parts: asyncio.Queue[ConfigPart], before: "asyncio.Task[None] | None"
    ) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._begun = True
        try:
            assembly = Assembly()
            turn = time.monotonic()
            for _ in range(message.parts):
                assembly.add(await parts.get())
                if time.monotonic() - turn > SLICE:
                    await asyncio.sleep(0)
                    turn = time.monotonic()
            await self._gateway.prepare(assembly.config())
        except asyncio.CancelledError:
            self._gateway.abort()
            raise
        except ConfigError as error:
            self._channel.send(Refused(message.generation, error.problems))
        except Exception as error:
            _log.debug("cannot prepare", exc_info=True)
            self._channel.send(Refused(message.generation, [Problem(path="", message=one_line(error))]))
        else:
            self._channel.send(Prepared(message.generation))

    def _commit(self) -> None:
        generation, self._generation = self._generation, 0
        try:
            self._gateway.commit()
        except Exception:
            _log.exception("cannot use the prepared configuration: this worker finishes its requests and is replaced")
            self._broken()
            return
        finally:
            gc.freeze()
            gc.enable()
        self._channel.send(Committed(generation))

    def _abort(self) -> None:
        self._generation = 0
        if self._task is not None and not self._task.done():
            if not self._begun:
                # A task that is cancelled before its first step never runs its handlers.
                self._gateway.abort()
            self._task.cancel()
        else:
            self._gateway.abort()
        gc.enable()
