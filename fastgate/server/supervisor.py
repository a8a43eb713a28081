"""The supervisor: keeps one worker running in every slot, and stops them in an order in which no request is lost.

It opens the listening sockets and the shared memory, and keeps both open for as long as it runs, so that a worker that
dies leaves its queue of connections to its successor. It never touches a request.

Life of a slot: a worker is started; it says `Ready`, or `Failed` with a reason, or dies. A dead worker is replaced at
once if it had served for a while, else after a pause that doubles with each failure. When a slot has been without a
ready worker for a second, its sockets are lent to another one. When nothing ever became ready, the gateway gives up.

Stopping: workers report that they are not ready and serve on for ``drain_delay``; then the copies of the listening
sockets are closed here, and only then in the workers, which empty them first: a connection is either served or
refused. What is in flight has ``drain_timeout``.

Reloading is told in `fastgate.server.reload`. What is started here starts with the configuration that is in use.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import msgpack, to_builtins

from fastgate.config import ConfigError, GatewayConfig
from fastgate.gateway.listening_sockets import ListenError, Listening, open_listening, url_of
from fastgate.observe.log import LogHandler, configure
from fastgate.observe.version import installed_version
from fastgate.server.control_messages import (
    Asked,
    Close,
    Committed,
    Drain,
    Event,
    Failed,
    Leaving,
    Message,
    Prepared,
    Ready,
    Refused,
    ReopenLogs,
    Start,
    Stop,
    Told,
    Wakers,
)
from fastgate.server.cpus import usable_cpus
from fastgate.server.maintenance import Switches
from fastgate.server.process import BLOCKED_WHILE_STARTING, WorkerProcess, module_path, raise_file_limit
from fastgate.server.slots import Lending, Slot
from fastgate.state.cache_memory import CacheMemory
from fastgate.state.memory import make_segment, release

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from fastgate._core.memory.segment import Segment
    from fastgate.gateway.duties.dispatch import Duties
    from fastgate.server.control_socket import ControlSocket
    from fastgate.server.reload import Reloads
    from fastgate.server.results import Reloaded
    from fastgate.server.watch import FileWatch

_log = logging.getLogger("fastgate.supervisor")

STEADY_AFTER = 5.0  # a worker that served for so long is replaced without a pause
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
ATTEMPTS = 3  # of a slot, while no worker was ever ready
OWN_SIGNAL_AFTER = 0.1  # between the signal of a worker and ours, when both were meant
STOP_GRACE = 1.0  # from Stop to SIGKILL
DRAIN_GRACE = 3.0  # beyond drain_timeout
START_GRACE = 5.0  # for a worker that is dismissed while it starts: it listens only when its imports are done


class StartError(Exception):
    """The gateway cannot start; the message is one line."""


class GatewayServer:
    """A gateway of several processes: this one supervises, its workers serve.

    ``source`` reads the configuration again for a reload, and raises ConfigError if it is invalid; its argument says
    whether an empty configuration is allowed. Without a source, a reload reads only the certificates. ``file`` is the
    name of the file, for ``fastgate status``; ``watch`` requests a reload when the file changes. ``factory`` is what a
    worker runs, as "module:name": a callable like `fastgate.gateway.Gateway`.
    """

    def __init__(
        self,
        config: GatewayConfig,
        *,
        source: Callable[[bool], GatewayConfig] | None = None,
        file: str = "",
        watch: "FileWatch | None" = None,
        factory: str = "fastgate.gateway:Gateway",
    ) -> None:
        self.config = config
        self.generation = 1
        self._source = source
        self.file = file
        self._file_watch = watch
        workers = config.gateway.workers
        self.workers = usable_cpus() if workers == "auto" else workers
        self._factory = factory
        self.slots = [Slot(index) for index in range(self.workers)]
        self._listening: list[Listening] = []
        self._segment: Segment | None = None
        self._cache: CacheMemory | None = None
        self._log_handler: LogHandler | None = None
        self._ever_ready = False
        self._draining = False
        self._forced = False
        self._exit_code = 0
        self._failure = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._everyone_left: asyncio.Event | None = None
        self.started = time.monotonic()
        self._lending: Lending
        self._reloads: Reloads | None = None
        self._duties: Duties | None = None
        self._drain_task: asyncio.Task[None] | None = None
        self._on_ready: Callable[[], None] = self._announce

    @property
    def addresses(self) -> list[str]:
        """Where it listens, as URLs; empty before it runs."""
        scheme = "http" if self.config.gateway.tls is None else "https"
        return [url_of(each.address, scheme) for each in self._listening]

    def start(self) -> None:
        """Serves until a signal, finishes open requests and returns.

        If it cannot start or was stopped by force, it writes one line to standard error and exits the process
        with code 1.
        """
        try:
            code = self.run()
        except (StartError, ConfigError) as error:
            sys.stderr.write(f"fastgate: {error}\n")
            code = 1
        if code:
            raise SystemExit(code)

    def run(self, on_ready: Callable[[], None] | None = None, *, spare: WorkerProcess | None = None) -> int:
        """As `start`, but returns the exit code. ``on_ready``: requests are answered now.

        Raises StartError, or ConfigError for memory that is too small for the workers.

        ``spare`` is a process that was started beforehand and becomes the first worker; the caller discards it at last.
        """
        if on_ready is not None:
            self._on_ready = on_ready
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_WHILE_STARTING)
        try:
            self._open()
            for slot in self.slots:
                self._spawn(slot, spare)
                spare = None
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

    def stop(self, *, by: str = "stop()") -> None:
        """What SIGTERM does: drains, and when called again stops at once. May be called from any thread.

        ``by`` is for the log.
        """
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._asked_to_stop, by)

    def reload(
        self, config: GatewayConfig | None = None, *, by: str = "reload()", allow_empty: bool = False
    ) -> "Future[Reloaded]":
        """Uses this configuration from now on, or what ``source`` reads. May be called from any thread.

        The future fails with ConfigError when it is refused, with every reason; then the old one stays. One without
        routes is refused while the one in use has some, unless ``allow_empty`` says that it is meant. Raises
        RuntimeError while the gateway does not run. ``by`` is for the log.
        """
        return self.reloads.request(config, by, allow_empty=allow_empty)

    def purge(
        self,
        url: str | None = None,
        *,
        prefix: str | None = None,
        route: str | None = None,
        tag: str | None = None,
        everything: bool = False,
        soft: bool = False,
    ) -> None:
        """Purges stored answers: exactly one of these, see `fastgate.state.cache_purge.PurgeRequest`.

        In effect in all workers when it returns. May be called from any thread. Raises ValueError for what cannot be
        purged, RuntimeError while the gateway does not run.
        """
        from fastgate.policies.cache import rules_of_queries
        from fastgate.state.cache_purge import PurgeRequest, purge_for

        request = PurgeRequest(url=url, prefix=prefix, route=route, tag=tag, everything=everything, soft=soft)
        purge_for(self.config, self.cache.purges, request, rules_of_queries(self.config))

    @property
    def cache(self) -> CacheMemory:
        """The memory of the response cache. Raises RuntimeError while the gateway does not run."""
        cache = self._cache
        if cache is None or self._reloads is None:
            raise RuntimeError("the gateway does not run")
        return cache

    @property
    def reloads(self) -> "Reloads":
        """What carries out reloads. Raises RuntimeError while the gateway does not run."""
        if self._reloads is None:
            raise RuntimeError("the gateway does not run")
        return self._reloads

    @property
    def switches(self) -> Switches:
        """What operators have switched by hand."""
        return self._reloads.switches if self._reloads is not None else Switches()

    @property
    def state(self) -> str:
        """``"starting"``, ``"running"`` or ``"draining"``."""
        return "draining" if self._draining else "running" if self._ever_ready else "starting"

    def status(self) -> dict[str, Any]:
        """What runs, as plain data: `fastgate.server.results.Status`."""
        from fastgate.server.operations import Operations

        found: dict[str, Any] = to_builtins(Operations(self).status())
        return found

    # Opening and closing.

    def _open(self) -> None:
        gateway = self.config.gateway
        try:
            self._log_handler = configure(gateway.log, "supervisor")
        except OSError as error:
            raise StartError(f"cannot open the log {gateway.log.path}: {error.strerror}") from None
        reason = raise_file_limit()
        if reason:
            _log.warning("%s", reason)
        try:
            self._listening = open_listening(self.config, self.workers)
        except ListenError as error:
            raise StartError(str(error)) from None
        self._segment = make_segment(self.config, self.workers)
        self._cache = CacheMemory.create(self.config, self.workers)
        try:
            self._cache.make()
        except OSError as error:
            raise StartError(f"cannot create the memory of the response cache: {error.strerror}") from None

    def _close(self) -> None:
        for slot in self.slots:
            if slot.process is not None:
                slot.process.kill(signal.SIGKILL)
                slot.process.wait(STOP_GRACE)
                slot.process.channel.close()
                slot.process = None
        self._close_listening()
        self._segment = None
        cache, self._cache = self._cache, None
        if cache is not None:
            cache.close()

    def _close_listening(self) -> None:
        for each in self._listening:
            each.close()

    def _announce(self) -> None:
        count = f"{self.workers} workers" if self.workers > 1 else "1 worker"
        sys.stderr.write(f"fastgate listens on {', '.join(self.addresses)} ({count}, pid {os.getpid()})\n")
        sys.stderr.flush()

    # The event loop.

    async def _supervise(self, mask: set[int | signal.Signals]) -> int:
        import asyncio

        from fastgate.gateway.duties import DUTIES
        from fastgate.gateway.duties.dispatch import Duties
        from fastgate.server.reload import Reloads, Supervised
        from fastgate.server.watchdog import watch_heartbeats

        assert self._segment is not None
        loop = asyncio.get_running_loop()
        self.started = time.monotonic()
        supervised = Supervised(self.slots, self._source, lambda: self.config, self._use, self._dismiss)
        self._reloads = reloads = Reloads(supervised)
        self._lending = Lending(loop, self.slots, self._listening)
        self._everyone_left = asyncio.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._asked_to_stop, number.name)
            loop.add_signal_handler(signal.SIGUSR1, self._reopen_logs)
            loop.add_signal_handler(signal.SIGHUP, reloads.request, None, "SIGHUP")
            # An upgrade signal elsewhere; its default would kill.
            loop.add_signal_handler(signal.SIGUSR2, self._ignored)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if self._failure:  # not even an interpreter could be started
            raise StartError(self._failure)
        for slot in self.slots:
            self._watch(slot)
        self._duties = Duties(DUTIES, self._segment, lambda topic, data: self._tell_all(Told(topic, data)))
        self._duties.update(self.config)
        tasks = [
            loop.create_task(watch_heartbeats(self.slots, self._segment, lambda: self.config.gateway.worker_timeout))
        ]
        if self._file_watch is not None:
            changed = f"a change of {self.file or 'the configuration file'}"
            tasks.append(loop.create_task(self._file_watch.run(lambda: reloads.request(None, changed))))
        control_socket = await self._open_control_socket()
        await self._everyone_left.wait()
        control_socket.close()
        if self._drain_task is not None:
            tasks.append(self._drain_task)
        for task in tasks:
            task.cancel()
        await reloads.close()
        await self._duties.stop()
        self._reloads = None
        if self._failure:
            raise StartError(self._failure)
        code = 1 if self._forced else self._exit_code
        _log.info("stopped after %.1f s, exit code %d", time.monotonic() - self.started, code)
        return code

    async def _open_control_socket(self) -> "ControlSocket":
        from fastgate.server.control_socket import ControlSocket, commands
        from fastgate.server.operations import Operations

        control_socket = ControlSocket(commands(Operations(self)))
        try:
            await control_socket.open()
        except OSError as error:
            _log.warning("no control socket, so `fastgate reload` and `fastgate status` do not work: %s", error)
        return control_socket

    def _ignored(self) -> None:
        _log.warning("SIGUSR2 is ignored: the gateway cannot upgrade in place; restart it to run another version")

    def _reopen_logs(self) -> None:
        assert self._log_handler is not None
        try:
            self._log_handler.reopen()
        except OSError as error:
            _log.error("cannot reopen the log: %s", error)
        self._tell_all(ReopenLogs())

    def _tell_all(self, message: Message) -> None:
        for slot in self.slots:
            if slot.process is not None:
                slot.process.channel.send(message)

    # Workers come and go.

    def _spawn(self, slot: Slot, spare: WorkerProcess | None = None) -> None:
        assert self._segment is not None
        assert self._cache is not None
        slot.respawn = None
        sockets = [each.socket_of(slot.index) for each in self._listening]
        try:
            slot.process = spare or WorkerProcess()
        except OSError as error:
            self._lost(slot, f"could not be started: {error.strerror}", ready=False, reason="", served=0.0)
            return
        slot.process.generation = self.generation
        slot.process.channel.send(
            Start(
                slot=slot.index,
                slots=self.workers,
                config=msgpack.encode(self.config),
                addresses=[each.address for each in self._listening],
                path=module_path(),
                python_path=os.environ.get("PYTHONPATH"),
                factory=self._factory,
                snapshots=self._duties.snapshots() if self._duties is not None else {},
            ),
            [self._segment.fd, self._cache.fd, *(each.fileno() for each in sockets)],
        )
        slot.process.channel.send_all(Wakers(), self._cache.wakers)
        if self._loop is not None:
            self._watch(slot)

    def _watch(self, slot: Slot) -> None:
        """Follows a worker that was just started: what it says, and its end."""
        process = slot.process
        if process is None:
            return
        assert self._loop is not None
        process.channel.attach(self._loop, lambda message, _: self._receive(slot, process, message), lambda: None)
        try:
            descriptor = os.pidfd_open(process.pid)
        except (AttributeError, OSError):  # not Linux, or a sandbox without it
            self._loop.call_later(0.1, self._poll, slot, process)
        else:
            self._loop.add_reader(descriptor, self._exited, slot, process, descriptor)

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
        release(self._segment, slot.index)
        if self._cache is not None:
            self._cache.release(slot.index)
        slot.process = None
        self._lending.is_not_ready(slot)
        assert self._reloads is not None
        self._reloads.is_gone(process)
        if self._draining:
            if process.exit_code != 0 and not self._failure:
                self._exit_code = 1
                _log.warning("worker %d %s before it had finished its requests", slot.index, process.ending())
            if not any(other.process for other in self.slots):
                self._leave()
            return
        if process.dismissed:
            self._replace(slot, "left because it does not have the new configuration", expected=True)
            return
        self._lost(
            slot,
            "stopped responding and was aborted" if process.aborted else process.ending(),
            ready=process.ready,
            reason=process.reason,
            served=time.monotonic() - process.started,
        )

    def _lost(self, slot: Slot, ending: str, *, ready: bool, reason: str, served: float) -> None:
        """A slot has lost its worker: replace it, or give up."""
        slot.failures = 1 if ready and served >= STEADY_AFTER else slot.failures + 1
        if not self._ever_ready and self._hopeless(reason):
            self._failure = reason or f"worker {slot.index} {ending} before it was ready, {slot.failures} times"
            self._draining = True
            if self._loop is not None:
                self._lending.end()
            self._leave_soon()
            return
        if not self._ever_ready and reason:
            slot.respawn = None
            slot.waits = f"{ending} ({reason})"  # until another one is ready, or all of them said why they cannot be
            return
        self._replace(slot, f"{ending} ({reason})" if reason else ending)

    def _replace(self, slot: Slot, ending: str, *, expected: bool = False) -> None:
        """Starts another worker, at once or after a pause."""
        slot.waits = ""
        pause = min(FIRST_PAUSE * 2 ** (slot.failures - 2), LONGEST_PAUSE) if slot.failures > 1 else 0.0
        _log.log(
            logging.INFO if expected or ending == "exited with code 0" else logging.ERROR,
            "worker %d %s; starting a new one%s",
            slot.index,
            ending,
            f" in {pause:g} s (failure {slot.failures} in a row)" if pause else "",
        )
        if self._loop is None:
            self._spawn(slot)
        else:
            slot.respawn = self._loop.call_later(pause, self._spawn, slot)

    def _use(self, config: GatewayConfig, generation: int) -> None:
        """What is started from now on starts with this configuration; at once where a slot waits for its next try."""
        self.config, self.generation = config, generation
        if self._duties is not None:
            self._duties.update(config)
        for slot in self.slots:
            slot.failures = 0
            if slot.respawn is not None and not self._draining:
                slot.respawn.cancel()
                self._spawn(slot)

    def _dismiss(self, slot: Slot, process: WorkerProcess) -> None:
        """Tells a worker to leave, so that its slot gets one with the configuration that is in use."""
        assert self._loop is not None
        process.leaving = process.dismissed = True
        self._lending.is_not_ready(slot)
        process.channel.send(Close())
        self._loop.call_later(START_GRACE, self._kill_unready, process)

    def _kill_unready(self, process: WorkerProcess) -> None:
        if not process.ready:
            process.kill(signal.SIGKILL)

    def _hopeless(self, reason: str) -> bool:
        """No worker ever was ready, and trying again will not help: they all gave a reason, or one died too often."""
        if reason and all(slot.failures for slot in self.slots):
            return True
        return any(slot.failures >= ATTEMPTS for slot in self.slots)

    def _receive(self, slot: Slot, process: WorkerProcess, message: Message) -> None:
        assert self._reloads is not None
        if isinstance(message, Ready):
            process.ready = True
            if not process.leaving:
                self._is_ready(slot, process)
        elif isinstance(message, Failed):
            process.reason = message.reason
        elif isinstance(message, Leaving):
            # The signal may be for the whole group; then ours is about to arrive, and everything goes its usual way.
            process.leaving = True
            self._reloads.is_leaving(process)
            delay = max(self.config.gateway.drain_delay, OWN_SIGNAL_AFTER)
            assert self._loop is not None
            self._loop.call_later(delay, self._let_go, slot, process)
        elif isinstance(message, Prepared | Refused | Committed):
            self._reloads.answered(process, message)
        elif isinstance(message, Asked):
            if self._duties is not None:
                self._duties.asked(slot.index, partial(_tell, process), message.topic, message.data)
        elif isinstance(message, Event):
            _log.info("worker %d: %s", slot.index, message.name, extra={"fields": message.fields})

    def _is_ready(self, slot: Slot, process: WorkerProcess) -> None:
        assert self._reloads is not None
        self._lending.is_ready(slot)
        if not self._ever_ready:
            self._ever_ready = True
            self._on_ready()
            _log.info(
                "started: version %s, %s, workers: %d, process id %d, configuration file: %s",
                installed_version() or "unknown",
                ", ".join(self.addresses),
                self.workers,
                os.getpid(),
                self.file or "none",
            )
            for other in self.slots:
                if other.waits:
                    self._replace(other, other.waits)
        else:
            _log.info("worker %d is ready", slot.index)
        self._reloads.is_ready(slot, process)

    def _let_go(self, slot: Slot, process: WorkerProcess) -> None:
        """Only this worker was told to drain. What it leaves in its queue is for its successor: we keep our copy."""
        if not self._draining and slot.process is process:
            self._lending.is_not_ready(slot)
            process.channel.send(Close())

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
        self._lending.end()
        assert self._reloads is not None
        self._reloads.end()
        for slot in self.slots:
            if slot.respawn is not None:
                slot.respawn.cancel()
        if not any(slot.process for slot in self.slots):
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
        _log.warning("the workers did not finish in time: stopping now")
        self._stop_now()

    def _stop_now(self) -> None:
        assert self._loop is not None
        self._forced = True
        self._close_listening()
        self._tell_all(Stop())
        self._loop.call_later(STOP_GRACE, self._kill_all)

    def _kill_all(self) -> None:
        for slot in self.slots:
            if slot.process is not None:
                slot.process.kill(signal.SIGKILL)

    def _leave_soon(self) -> None:
        """Ends those workers that still run, and leaves when they are gone."""
        self._kill_all()
        if not any(slot.process for slot in self.slots):
            self._leave()

    def _leave(self) -> None:
        if self._everyone_left is not None:
            self._everyone_left.set()


def _tell(process: WorkerProcess, topic: str, data: bytes) -> None:
    process.channel.send(Told(topic, data))
