"""Reload: one configuration after the other, and every worker on the same one.

A reload has a number that is never used again, its generation, and two phases. First the new configuration is read and
checked here, sent to every worker that serves, and prepared by each beside the one in use. Only when all are prepared
is it decided here, in one step without waiting: whatever is started from now on starts with it, and the workers
swap. Until then anything that goes wrong (a worker refuses, dies, or takes longer than `PREPARE_TIMEOUT`) ends the
reload, and the old configuration serves on. From then on nothing does: a worker that dies is replaced by one that has
the new configuration, and so is one that does not swap.

No worker stays on another generation, whenever it was started:

* It becomes ready while others prepare: it is asked to prepare too, and the decision waits for it.
* It is still starting, or has begun to leave, when the decision falls: it is told to leave, and its slot gets another
  one. Waiting for it would let a worker that cannot start with the old configuration keep the new one away.
* Nobody is ready for as long as `PREPARE_TIMEOUT`: there is nothing that could be lost, and the new one is used.

What operators have switched (`fastgate.server.maintenance`) is applied to each configuration before it goes out, and a
switch is a reload of the one in use.

One reload runs at a time. What is asked for meanwhile becomes one more, with the configuration that was given last.
"""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

from fastgate.config import ConfigError, GatewayConfig, Problem
from fastgate.config.check.changes import emptied, unchangeable
from fastgate.server.background import in_background
from fastgate.server.config_stream import cut
from fastgate.server.control_messages import (
    Abort,
    Commit,
    Committed,
    ConfigPart,
    Prepare,
    Prepared,
    ReadCertificates,
    Refused,
)
from fastgate.server.maintenance import Change, Switches
from fastgate.server.process import WorkerProcess
from fastgate.server.results import Reloaded
from fastgate.server.slots import Slot
from fastgate.server.worker_target import one_line

_log = logging.getLogger("fastgate.supervisor")

PREPARE_TIMEOUT = 30.0
COMMIT_TIMEOUT = 30.0
EXIT_TIMEOUT = 5.0

Source = Callable[[bool], GatewayConfig]
"""Reads the configuration again. Its argument says whether one that is empty is meant; else it may refuse it."""


class Supervised(NamedTuple):
    """What a reload needs of the supervisor."""

    slots: list[Slot]
    source: Source | None
    config: Callable[[], GatewayConfig]  # what is in use
    use: Callable[[GatewayConfig, int], None]  # what is started from now on starts with this, of that generation
    dismiss: Callable[[Slot, WorkerProcess], None]  # makes room for a worker that starts with what is in use


class Reloads:
    """Carries out reloads, one at a time. `request` may be called from any thread, all else from the loop's.

    The supervisor says when a worker `is_ready`, `is_leaving` or `is_gone`, and passes on what it `answered`.
    """

    def __init__(self, supervised: Supervised) -> None:
        self._supervised = supervised
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._asked: list[_Asked] = []
        self._written = supervised.config()  # what is in use, without what was switched
        self.switches = Switches()
        self._generation = 1
        self._round: _Round | None = None
        self._task: asyncio.Task[None] | None = None
        self._began = False  # a worker was ready once
        self._ended = False

    def request(self, config: GatewayConfig | None, by: str, *, allow_empty: bool = False) -> "Future[Reloaded]":
        """Asks for a reload, of what the source says when no configuration is given.

        One that serves nothing is refused while the one in use serves something, unless it is allowed. The future fails
        with `ConfigError` when the old configuration stays.
        """
        return self._ask(_Asked(config, None, allow_empty, Future()), by)

    def switch(self, change: Change, by: str) -> "Future[Reloaded]":
        """Asks for a reload of the configuration in use with another state of what is switched by hand."""
        return self._ask(_Asked(None, change, False, Future()), by)

    def _ask(self, asked: "_Asked", by: str) -> "Future[Reloaded]":
        with self._lock:
            if self._ended:
                asked.future.set_exception(_failure("the gateway is stopping"))
                return asked.future
            self._asked.append(asked)
            self._loop.call_soon_threadsafe(self._wake)
        _log.info("reload requested by %s", by)
        return asked.future

    def end(self) -> None:
        """The gateway stops: what is not decided yet is not done."""
        with self._lock:
            self._ended = True
        if self._round is not None:
            self._round.fail("the gateway is stopping")
        if self._task is None:
            self._settle(self._take(), _failure("the gateway is stopping"))

    async def close(self) -> None:
        """Ends, and waits until nothing runs any more."""
        self.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    # What the supervisor says of its workers.

    def is_ready(self, slot: Slot, process: WorkerProcess) -> None:
        """It serves, with the configuration that it was started with."""
        self._began = True
        if self._round is not None:
            self._round.join(slot, process)
        self._wake()

    def is_leaving(self, process: WorkerProcess) -> None:
        """It will be replaced: it takes part no longer."""
        if self._round is not None:
            self._round.drop(process)

    def is_gone(self, process: WorkerProcess) -> None:
        """Its process has ended."""
        if self._round is not None:
            self._round.lost(process)

    def answered(self, process: WorkerProcess, message: Prepared | Refused | Committed) -> None:
        """It answered to what it was told for a reload."""
        if self._round is not None and message.generation == self._round.generation:
            self._round.answered(process, message)

    # One after the other.

    def _wake(self) -> None:
        if self._asked and self._began and self._task is None and not self._ended:
            self._task = self._loop.create_task(self._run())

    def _take(self) -> "list[_Asked]":
        with self._lock:
            asked, self._asked = self._asked, []
        return asked

    async def _run(self) -> None:
        asked: list[_Asked] = []
        try:
            while asked := self._take():
                try:
                    outcome: Reloaded | ConfigError = await self._reload(asked)
                except ConfigError as error:
                    outcome = error
                except Exception as error:  # of a source that is somebody else's
                    _log.debug("cannot read the configuration", exc_info=True)
                    outcome = _failure(one_line(error))
                if isinstance(outcome, ConfigError):
                    _say_why(outcome)
                self._settle(asked, outcome)
        finally:
            self._task = None
            self._settle(asked + (self._take() if self._ended else []), _failure("the gateway is stopping"))

    def _settle(self, asked: "list[_Asked]", outcome: Reloaded | ConfigError) -> None:
        for each in asked:
            if each.future.done():
                continue
            if isinstance(outcome, ConfigError):
                each.future.set_exception(outcome)
            else:
                each.future.set_result(outcome)

    async def _reload(self, asked: "list[_Asked]") -> Reloaded:
        began = time.monotonic()
        if self._ended:
            raise _failure("the gateway is stopping")
        supervised = self._supervised
        changes = [each.change for each in asked if each.change is not None]
        last = next((each for each in reversed(asked) if each.change is None), None)
        if last is not None and last.config is None and supervised.source is None:
            _log.warning("reloading certificates only; the gateway was started without a configuration file")
            for slot in supervised.slots:
                if slot.process is not None:
                    slot.process.channel.send(ReadCertificates())
            last = None
        if last is None and not changes:
            return Reloaded(0, sum(slot.ready for slot in supervised.slots), len(supervised.config().routes), 0.0)
        generation = self._generation + 1
        written, switches, new, parts = await in_background(lambda: self._read(last, changes, generation))
        if self._ended:
            raise _failure("the gateway is stopping")
        self._generation = generation
        current = self._round = _Round(generation, parts, self._loop)
        try:
            for slot in supervised.slots:
                if slot.process is not None and slot.process.ready:
                    current.join(slot, slot.process)
            try:
                await current.decision
            except BaseException:
                current.abort()
                raise
            self._written, self.switches = written, switches
            supervised.use(new, generation)
            dismissed = [
                (slot, slot.process)
                for slot in supervised.slots
                if slot.process is not None
                and slot.process.generation != generation
                and slot.process not in current.prepared
            ]
            for slot, process in dismissed:
                supervised.dismiss(slot, process)
            current.commit()
            workers = await current.outcome
            await _wait_for_exit(dismissed)
        finally:
            self._round = None
            current.close()
        done = Reloaded(generation, workers, len(new.routes), time.monotonic() - began)
        _log.info(
            "reload: generation %d is in use (%d route%s, %.2f s)",
            done.generation,
            done.routes,
            "" if done.routes == 1 else "s",
            done.seconds,
        )
        return done

    def _read(self, asked: "_Asked | None", changes: list[Change], generation: int) -> "_Read":
        written = self._written
        if asked is not None:
            given = asked.config
            if given is None:
                assert self._supervised.source is not None
                given = self._supervised.source(asked.allow_empty)
            problems = unchangeable(written, given)
            if not asked.allow_empty:
                problems += emptied(written, given)
            if problems:
                raise ConfigError(problems)
            written = given
        switches = self.switches
        for change in changes:
            switches = change(switches, written)
        switches = switches.without_unknown_routes(written)
        config = switches.applied(written)
        return _Read(written, switches, config, cut(config, generation))


async def _wait_for_exit(dismissed: list[tuple[Slot, WorkerProcess]]) -> None:
    """Waits a moment until those who were dismissed are gone: what they had accepted they answer as before."""
    for _ in range(round(EXIT_TIMEOUT / 0.01)):
        if all(slot.process is not process for slot, process in dismissed):
            break
        await asyncio.sleep(0.01)


class _Asked(NamedTuple):
    config: GatewayConfig | None  # None: what the source says; or with a change, what is in use
    change: Change | None
    allow_empty: bool
    future: "Future[Reloaded]"


class _Read(NamedTuple):
    written: GatewayConfig
    switches: Switches
    config: GatewayConfig
    parts: list[ConfigPart]


class _Round:
    """One reload on its way through the workers: who prepares, who is prepared; then who still has to swap.

    ``decision`` is done when the new configuration is to be used, and fails when the old one stays. ``outcome`` is the
    number of workers that swapped.
    """

    def __init__(self, generation: int, parts: list[ConfigPart], loop: asyncio.AbstractEventLoop) -> None:
        self.generation = generation
        self.decision: asyncio.Future[None] = loop.create_future()
        self.outcome: asyncio.Future[int] = loop.create_future()
        self.prepared: dict[WorkerProcess, Slot] = {}
        self._parts = parts
        self._loop = loop
        self._preparing: dict[WorkerProcess, Slot] = {}
        self._swapping: set[WorkerProcess] = set()
        self._swapped = 0
        self._timer = loop.call_later(PREPARE_TIMEOUT, self._overdue)

    def join(self, slot: Slot, process: WorkerProcess) -> None:
        """A worker serves, so it must prepare; unless it is decided already, or leaves anyway."""
        if self.decision.done() or process.leaving or process in self._preparing or process in self.prepared:
            return
        self._timer.cancel()
        self._timer = self._loop.call_later(PREPARE_TIMEOUT, self._overdue)
        self._preparing[process] = slot
        process.channel.send(Prepare(self.generation, len(self._parts)))
        for part in self._parts:
            process.channel.send(part)

    def drop(self, process: WorkerProcess) -> None:
        """A worker leaves, and is replaced whatever is decided."""
        self._preparing.pop(process, None)
        self.prepared.pop(process, None)
        self._decide()
        self._no_longer_swaps(process)

    def lost(self, process: WorkerProcess) -> None:
        """A worker is gone."""
        slot = self._preparing.pop(process, None) or self.prepared.pop(process, None)
        if slot is not None:
            ending = "was aborted because it hung" if process.aborted else process.ending()
            self.fail(f"worker {slot.index} {ending} while it was preparing the new configuration")
        self._no_longer_swaps(process)

    def answered(self, process: WorkerProcess, message: Prepared | Refused | Committed) -> None:
        """What a worker says to it."""
        if isinstance(message, Committed):
            process.generation = self.generation
            self._swapped += process in self._swapping
            self._no_longer_swaps(process)
        elif process in self._preparing and not self.decision.done():
            slot = self._preparing.pop(process)
            self.prepared[process] = slot
            if isinstance(message, Refused):
                self.decision.set_exception(ConfigError(message.problems))
            else:
                self._decide()

    def fail(self, reason: str) -> None:
        """The old configuration stays, unless the new one is in use."""
        if not self.decision.done():
            self.decision.set_exception(_failure(reason))

    def abort(self) -> None:
        """Tells everybody who took part to forget it."""
        for process in (*self._preparing, *self.prepared):
            process.channel.send(Abort(self.generation))

    def commit(self) -> None:
        """Tells everybody who is prepared to swap."""
        self._timer.cancel()
        self._timer = self._loop.call_later(COMMIT_TIMEOUT, self._overdue)
        self._swapping = set(self.prepared)
        for process in self._swapping:
            process.channel.send(Commit(self.generation))
        self._finish()

    def close(self) -> None:
        """Nothing comes any more."""
        self._timer.cancel()
        for each in (self.decision, self.outcome):
            if not each.cancel() and not each.cancelled():
                each.exception()  # looked at: asyncio need not complain

    def _decide(self) -> None:
        if not self._preparing and self.prepared and not self.decision.done():
            self.decision.set_result(None)

    def _no_longer_swaps(self, process: WorkerProcess) -> None:
        if process in self._swapping:
            self._swapping.discard(process)
            self._finish()

    def _finish(self) -> None:
        if not self._swapping:
            self.outcome.set_result(self._swapped)

    def _overdue(self) -> None:
        if self._swapping:
            for process in self._swapping:
                _log.error("the worker with pid %d does not switch to the new configuration: replacing it", process.pid)
                process.kill(signal.SIGKILL)
        elif self._preparing:
            indices = ", ".join(str(slot.index) for slot in self._preparing.values())
            self.fail(f"worker {indices} did not prepare the new configuration within {PREPARE_TIMEOUT:g} s")
        elif not self.decision.done():
            _log.warning("no worker was running to prepare the new configuration: the next workers start with it")
            self.decision.set_result(None)


def _say_why(refused: ConfigError) -> None:
    count = len(refused.problems)
    errors = "" if count == 1 else "s"
    _log.error("reload refused: %d error%s; the gateway keeps its current configuration", count, errors)
    for problem in refused.problems:
        _log.error("%s", problem)


def _failure(reason: str) -> ConfigError:
    return ConfigError([Problem(path="", message=reason)])
