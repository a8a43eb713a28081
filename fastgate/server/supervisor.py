"""The supervisor: keeps one worker running in every slot, and stops them in an order in which no request is lost.

It opens the listening sockets and the shared memory, and keeps both open for as long as it runs, so that a worker that
dies leaves its queue of connections to its successor. It never touches a request.

Life of a slot: a worker is started; it says `Ready`, or `Failed` with a reason, or dies. A dead worker is replaced at
once if it had served for a while, else after a pause that doubles with each failure. When a slot has been without a
ready worker for a second, its sockets are lent to another one. When nothing ever became ready, the gateway gives up.

Stopping: workers report that they are not ready and serve on for ``drain_delay``; then the copies of the listening
sockets are closed here, and only then in the workers, which empty them first: a connection is either served or
refused. What is in flight has ``drain_timeout``.
"""

import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import msgpack

from fastgate._core.shm import Segment
from fastgate.config import GatewayConfig
from fastgate.gateway.sockets import ListenError, Listening, open_listening, url_of
from fastgate.observe.log import LogHandler, configure
from fastgate.server.cpus import usable_cpus
from fastgate.server.messages import (
    Close,
    Drain,
    Event,
    Failed,
    GiveBack,
    Inherited,
    Lend,
    Message,
    Ready,
    ReopenLogs,
    Start,
    Stop,
)
from fastgate.server.process import BLOCKED_WHILE_STARTING, WorkerProcess, module_path

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger("fastgate.supervisor")

TARGETS = 16384  # room in the table of targets; the memory is only taken when it is used
LEND_AFTER = 1.0  # seconds that a slot may be without a ready worker
STEADY_AFTER = 5.0  # a worker that served for so long is replaced without a pause
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
ATTEMPTS = 3  # of a slot, while no worker was ever ready
START_TIMEOUT = 60.0  # at least; a worker that is not ready by then is aborted like one that hangs
STOP_GRACE = 1.0  # from Stop to SIGKILL
DRAIN_GRACE = 3.0  # beyond drain_timeout


class StartError(Exception):
    """The gateway cannot start; the message is one line."""


class Slot:
    """One place for a worker, and what is known about who was there."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.process: WorkerProcess | None = None
        self.failures = 0  # in a row
        self.ready = False
        self.lent_to: int | None = None
        self.respawn: asyncio.TimerHandle | None = None


class GatewayServer:
    """A gateway of several processes: this one supervises, its workers serve.

    ``factory`` is what a worker runs, as "module:name": a callable as `fastgate.gateway.Gateway` is.
    """

    def __init__(self, config: GatewayConfig, *, factory: str = "fastgate.gateway:Gateway") -> None:
        self.config = config
        workers = config.gateway.workers
        self.workers = usable_cpus() if workers == "auto" else workers
        self._factory = factory
        self._slots = [Slot(index) for index in range(self.workers)]
        self._listening: list[Listening] = []
        self._segment: Segment | None = None
        self._log_handler: LogHandler | None = None
        self._ever_ready = False
        self._draining = False
        self._forced = False
        self._exit_code = 0
        self._failure = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._everyone_left: asyncio.Event | None = None
        self._drain_task: asyncio.Task[None] | None = None
        self._on_ready: Callable[[], None] = self._announce

    @property
    def addresses(self) -> list[str]:
        """Where it listens, as URLs; empty before it runs."""
        scheme = "http" if self.config.gateway.tls is None else "https"
        return [url_of(each.address, scheme) for each in self._listening]

    def start(self) -> None:
        """Serves until a signal says to drain, then returns.

        When it cannot start or was stopped by force, one line is written to standard error and the process exits
        with code 1.
        """
        try:
            code = self.run()
        except StartError as error:
            sys.stderr.write(f"fastgate: {error}\n")
            code = 1
        if code:
            raise SystemExit(code)

    def run(self, on_ready: Callable[[], None] | None = None) -> int:
        """As `start`, but returns the exit code, and raises StartError. ``on_ready``: requests are answered now."""
        if on_ready is not None:
            self._on_ready = on_ready
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_WHILE_STARTING)
        try:
            self._open()
            for slot in self._slots:
                self._spawn(slot)
            # On use, while the workers start: it takes 50 ms.
            import asyncio

            loop = self._loop = asyncio.new_event_loop()
            try:
                return loop.run_until_complete(self._supervise(mask))
            finally:
                loop.close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._close()

    def stop(self) -> None:
        """What SIGTERM does: drains, and when called again stops at once. May be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._asked_to_stop, "stop()")

    # Opening and closing.

    def _open(self) -> None:
        gateway = self.config.gateway
        try:
            self._log_handler = configure(gateway.log, "supervisor")
        except OSError as error:
            raise StartError(f"cannot open the log {gateway.log.path}: {error.strerror}") from None
        _raise_file_limit()
        try:
            self._listening = open_listening(self.config, self.workers)
        except ListenError as error:
            raise StartError(str(error)) from None
        self._segment = Segment.create(slots=self.workers, targets=TARGETS)

    def _close(self) -> None:
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill(signal.SIGKILL)
                slot.process.wait(STOP_GRACE)
                slot.process.channel.close()
                slot.process = None
        self._close_listening()
        self._segment = None

    def _close_listening(self) -> None:
        for each in self._listening:
            each.close()

    def _announce(self) -> None:
        count = f"{self.workers} workers" if self.workers > 1 else "1 worker"
        sys.stderr.write(f"fastgate listens on {', '.join(self.addresses)} ({count}, pid {os.getpid()})\n")
        sys.stderr.flush()

    # The event loop.

    async def _supervise(self, mask: "set[signal.Signals]") -> int:
        import asyncio

        loop = asyncio.get_running_loop()
        self._everyone_left = asyncio.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._asked_to_stop, number.name)
            loop.add_signal_handler(signal.SIGUSR1, self._reopen_logs)
            loop.add_signal_handler(signal.SIGHUP, self._reload)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for slot in self._slots:
            self._watch(slot)
        watchdog = loop.create_task(self._watch_heartbeats())
        await self._everyone_left.wait()
        watchdog.cancel()
        if self._drain_task is not None:
            self._drain_task.cancel()
        if self._failure:
            raise StartError(self._failure)
        return 1 if self._forced else self._exit_code

    def _reload(self) -> None:
        _log.warning("SIGHUP: reload is not available yet; the configuration stays as it is")

    def _reopen_logs(self) -> None:
        assert self._log_handler is not None
        try:
            self._log_handler.reopen()
        except OSError as error:
            _log.error("cannot reopen the log: %s", error)
        self._tell_all(ReopenLogs())

    def _tell_all(self, message: Message) -> None:
        for slot in self._slots:
            if slot.process is not None:
                slot.process.channel.send(message)

    # Workers come and go.

    def _spawn(self, slot: Slot) -> None:
        assert self._segment is not None
        slot.respawn = None
        sockets = [each.socket_of(slot.index) for each in self._listening]
        descriptors = [each.fileno() for each in sockets]
        try:
            slot.process = WorkerProcess(slot.index, [self._segment.fd, *descriptors])
        except OSError as error:
            self._lost(slot, f"cannot be started: {error.strerror}", ready=False, reason="", served=0.0)
            return
        slot.process.channel.send(
            Start(
                slot=slot.index,
                slots=self.workers,
                config=msgpack.encode(self.config),
                segment=self._segment.fd,
                listeners=[Inherited(fd, each.address) for fd, each in zip(descriptors, self._listening, strict=True)],
                path=module_path(),
                python_path=os.environ.get("PYTHONPATH"),
                factory=self._factory,
            )
        )
        if self._loop is not None:
            self._watch(slot)

    def _watch(self, slot: Slot) -> None:
        """Follows a worker that was just started: what it says, and its end."""
        process = slot.process
        if process is None:
            return
        assert self._loop is not None
        process.channel.attach(self._loop, lambda message, _: self._receive(slot, process, message), lambda: None)
        self._loop.call_later(LEND_AFTER, self._lend, slot)
        if hasattr(os, "pidfd_open"):
            descriptor = os.pidfd_open(process.pid)
            self._loop.add_reader(descriptor, self._exited, slot, process, descriptor)
        else:
            self._loop.call_later(0.1, self._poll, slot, process)

    def _poll(self, slot: Slot, process: WorkerProcess) -> None:
        assert self._loop is not None
        if process.has_ended():
            self._exited(slot, process, None)
        else:
            self._loop.call_later(0.1, self._poll, slot, process)

    def _exited(self, slot: Slot, process: WorkerProcess, descriptor: int | None) -> None:
        assert self._loop is not None
        assert self._segment is not None
        if not process.has_ended():
            return
        if descriptor is not None:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
        process.channel.finish()
        self._segment.release(slot.index)
        slot.process = None
        slot.ready = False
        if self._draining:
            if process.exit_code != 0:
                self._exit_code = 1
                _log.warning("worker %d %s before it was done", slot.index, process.ending())
            if not any(other.process for other in self._slots):
                self._leave()
            return
        self._lost(
            slot,
            "gave no sign of life and was aborted" if process.aborted else process.ending(),
            ready=process.ready,
            reason=process.reason,
            served=time.monotonic() - process.started,
        )

    def _lost(self, slot: Slot, ending: str, *, ready: bool, reason: str, served: float) -> None:
        """A slot has lost its worker: replace it, or give up."""
        slot.failures = 1 if ready and served >= STEADY_AFTER else slot.failures + 1
        pause = min(FIRST_PAUSE * 2 ** (slot.failures - 2), LONGEST_PAUSE) if slot.failures > 1 else 0.0
        if not self._ever_ready and self._hopeless(reason):
            self._failure = reason or f"worker {slot.index} {ending} before it was ready, {slot.failures} times"
            self._draining = True
            self._leave_soon()
            return
        _log.error(
            "worker %d %s%s; starting another one%s",
            slot.index,
            ending,
            f" ({reason})" if reason else "",
            f" in {pause:g} s (failure {slot.failures} in a row)" if pause else "",
        )
        for other in self._slots:
            if other.lent_to == slot.index:
                other.lent_to = None
                self._lend(other)
        if self._loop is None:
            self._spawn(slot)
            return
        slot.respawn = self._loop.call_later(pause, self._spawn, slot)
        self._loop.call_later(LEND_AFTER, self._lend, slot)

    def _hopeless(self, reason: str) -> bool:
        """No worker ever was ready, and trying again will not help: they all gave a reason, or one died too often."""
        if reason and all(slot.failures for slot in self._slots):
            return True
        return any(slot.failures >= ATTEMPTS for slot in self._slots)

    def _receive(self, slot: Slot, process: WorkerProcess, message: Message) -> None:
        if isinstance(message, Ready):
            process.ready = slot.ready = True
            self._take_back(slot)
            if not self._ever_ready:
                self._ever_ready = True
                self._on_ready()
            else:
                _log.info("worker %d is ready", slot.index)
        elif isinstance(message, Failed):
            process.reason = message.reason
        elif isinstance(message, Event):
            _log.info("worker %d: %s", slot.index, message.name, extra={"fields": message.fields})

    # Slots without a worker.

    def _lend(self, slot: Slot) -> None:
        """Lets another worker accept what comes to this slot, if it has no ready worker of its own now."""
        if slot.ready or slot.lent_to is not None or self._draining:
            return
        process = slot.process
        if process is not None and time.monotonic() - process.started < LEND_AFTER * 0.9:
            return  # it was just started; another check is under way
        addresses = [index for index, each in enumerate(self._listening) if not each.shared]
        borrower = next((other for other in self._slots if other.ready and other.process), None)
        if borrower is None or borrower.process is None or not addresses:
            return
        slot.lent_to = borrower.index
        descriptors = [self._listening[index].socket_of(slot.index).fileno() for index in addresses]
        borrower.process.channel.send(Lend(slot.index, addresses), descriptors)
        _log.warning("worker %d is not ready; worker %d accepts its connections", slot.index, borrower.index)

    def _take_back(self, slot: Slot) -> None:
        if slot.lent_to is not None:
            borrower = self._slots[slot.lent_to].process
            slot.lent_to = None
            if borrower is not None:
                borrower.channel.send(GiveBack(slot.index))
        for other in self._slots:
            self._lend(other)

    async def _watch_heartbeats(self) -> None:
        """Aborts workers that hang. Its own delays (a machine that slept) are not held against them."""
        import asyncio

        assert self._segment is not None
        timeout = self.config.gateway.worker_timeout
        tick = min(1.0, timeout / 4)
        previous = time.monotonic()
        while True:
            await asyncio.sleep(tick)
            now = time.monotonic()
            on_time = now - previous < 2 * tick + 0.5
            previous = now
            if not on_time:
                continue
            for slot in self._slots:
                process = slot.process
                if process is None or process.aborted:
                    continue
                if process.ready:
                    silent = (Segment.now() - self._segment.heartbeat(slot.index)) / 1000
                    limit = timeout
                else:
                    silent = now - process.started
                    limit = max(timeout, START_TIMEOUT)
                if silent > limit:
                    _log.error("worker %d gave no sign of life for %.1f s: aborting it", slot.index, silent)
                    process.aborted = True
                    process.kill(signal.SIGABRT)
                    asyncio.get_running_loop().call_later(STOP_GRACE, process.kill, signal.SIGKILL)

    # Stopping.

    def _asked_to_stop(self, by: str) -> None:
        assert self._loop is not None
        if self._draining:
            if not self._forced:
                _log.warning("%s again: stopping now", by)
                self._stop_now()
            return
        _log.info("%s: draining", by)
        self._draining = True
        for slot in self._slots:
            if slot.respawn is not None:
                slot.respawn.cancel()
        if not any(slot.process for slot in self._slots):
            self._leave()
            return
        self._drain_task = self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        import asyncio

        gateway = self.config.gateway
        self._tell_all(Drain())
        await asyncio.sleep(gateway.drain_delay)
        self._close_listening()
        self._tell_all(Close())
        await asyncio.sleep(gateway.drain_timeout + DRAIN_GRACE)
        _log.warning("workers did not finish in time: stopping now")
        self._stop_now()

    def _stop_now(self) -> None:
        assert self._loop is not None
        self._forced = True
        self._close_listening()
        self._tell_all(Stop())
        self._loop.call_later(STOP_GRACE, self._kill_all)

    def _kill_all(self) -> None:
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill(signal.SIGKILL)

    def _leave_soon(self) -> None:
        """Ends those workers that still run, and leaves when they are gone."""
        self._kill_all()
        if not any(slot.process for slot in self._slots):
            self._leave()

    def _leave(self) -> None:
        if self._everyone_left is not None:
            self._everyone_left.set()


def _raise_file_limit() -> None:
    """As many open files as we may have; workers inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            _log.warning("the limit of open files stays at %d: %s", soft, error)
