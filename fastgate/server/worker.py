"""A worker: one event loop with one gateway, started by the supervisor as ``python -m fastgate.server``.

Its argument is the descriptor of the control channel; everything else comes over that. A worker imports the gateway
before it reads from the channel, so that it can be started while the supervisor still reads the configuration. It
leaves when it is told to drain (by the supervisor or by a signal), when it is told to stop, and when the supervisor is
gone; with exit code 0 when it could finish what it had begun.
"""

import asyncio
import contextlib
import faulthandler
import gc
import importlib
import logging
import os
import signal
import socket
import sys

import msgspec
import uvloop

from fastgate._core.exchange.worker import tune_allocator
from fastgate.config import GatewayConfig, GatewayTable
from fastgate.observe.log import LogHandler, configure
from fastgate.server.channel import Channel
from fastgate.server.control_messages import (
    Abort,
    Close,
    Commit,
    ConfigPart,
    Drain,
    Failed,
    GiveBack,
    Lend,
    Message,
    Prepare,
    ReadCertificates,
    ReopenLogs,
    Start,
    Stop,
    Told,
    Wakers,
)
from fastgate.server.preparation import Preparation
from fastgate.server.process import BLOCKED_WHILE_STARTING, raise_file_limit
from fastgate.server.supervised_control import SupervisedControl
from fastgate.server.worker_target import WorkerTarget, load_factory, one_line

_log = logging.getLogger("fastgate.worker")


class Worker:
    """The life of one worker process."""

    def __init__(self, channel: Channel, start: Start, control: SupervisedControl, log: LogHandler) -> None:
        self._channel = channel
        self._start = start
        self._log = log
        self._control = control
        self._leave = asyncio.Event()
        self._stop = asyncio.Event()
        self._gateway: WorkerTarget | None = None
        self._preparation: Preparation | None = None
        self._started = False
        self._loans: asyncio.Queue[tuple[Lend | GiveBack, list[int]]] = asyncio.Queue()

    async def run(self) -> int:
        """Serves until told to leave; the exit code of the process."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._leave.set)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen_logs)
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        # The supervisor starts workers with these blocked, so that a Ctrl-C during the imports waits until here.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_WHILE_STARTING)
        stopping = loop.create_task(self._stop.wait())
        try:
            make = load_factory(self._start.factory)
            # Held by the gateway only, which lets go of it after a reload.
            gateway = make(msgspec.msgpack.decode(self._start.config, type=GatewayConfig), control=self._control)
            self._gateway = gateway
            self._preparation = Preparation(self._channel, gateway, self._give_way)
            self._channel.attach(loop, self._receive, self._orphaned)
            starting = loop.create_task(gateway.start())
            leaving = loop.create_task(self._leave.wait())
            await asyncio.wait([starting, stopping, leaving], return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            if not starting.done():
                # Nothing was served yet: there is nothing to finish.
                starting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await starting
                return 1 if self._stop.is_set() else 0
            starting.result()
        except Exception as error:
            _log.debug("cannot start", exc_info=True)
            self._channel.send(Failed(one_line(error)))
            return 1
        self._started = True
        gc.freeze()
        gc.enable()
        loans = loop.create_task(self._settle_loans())
        await self._leave.wait()
        draining = loop.create_task(gateway.drain())
        await asyncio.wait([draining, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            draining.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await draining
            await gateway.close()
            return 1
        stopping.cancel()
        loans.cancel()
        draining.result()
        return 0

    def _receive(self, message: Message, descriptors: list[int]) -> None:
        if isinstance(message, Drain):
            self._leave.set()
        elif isinstance(message, Close):
            self._control.closing.set()
            self._leave.set()
        elif isinstance(message, Stop):
            self._leave.set()
            self._stop.set()
        elif isinstance(message, ReopenLogs):
            self._reopen_logs()
        elif isinstance(message, Told):
            self._control.told(message)
        elif isinstance(message, ReadCertificates):
            if self._gateway is not None:
                self._gateway.read_certificates()
        elif isinstance(message, Prepare | ConfigPart | Commit | Abort):
            # What leaves needs no other configuration; the supervisor does not wait for it.
            if self._preparation is not None and not (self._leave.is_set() and isinstance(message, Prepare)):
                self._preparation.receive(message)
        elif isinstance(message, Lend | GiveBack):
            self._loans.put_nowait((message, descriptors))

    async def _settle_loans(self) -> None:
        while True:
            message, descriptors = await self._loans.get()
            if isinstance(message, Lend):
                await self._control.lend(message, descriptors)
            else:
                self._control.give_back(message)

    def _give_way(self) -> None:
        self._control.closing.set()
        self._leave.set()

    def _orphaned(self) -> None:
        _log.error("the supervisor has exited: closing the listening sockets and finishing open requests")
        self._control.closing.set()
        self._leave.set()
        if not self._started:
            self._stop.set()

    def _reopen_logs(self) -> None:
        try:
            self._log.reopen()
            faulthandler.enable(self._log.stream)
        except OSError as error:
            _log.error("cannot reopen the log: %s", error)
        if self._gateway is not None:
            self._gateway.reopen_logs()


class _Settings(msgspec.Struct):
    """The part of a configuration that is needed before there is a gateway."""

    gateway: GatewayTable = msgspec.field(default_factory=GatewayTable)


def main(descriptor: int) -> int:
    """Runs a worker on this control channel; its exit code."""
    faulthandler.enable()
    channel = Channel(socket.socket(fileno=descriptor))
    with contextlib.suppress(Exception):  # said when the gateway is made
        importlib.import_module("fastgate.gateway.gateway")
    received = channel.wait()
    if received is None:
        return 0  # the supervisor left before it said anything
    start, descriptors = received
    assert isinstance(start, Start)
    wakers: list[int] = []
    while len(wakers) < start.slots:
        received = channel.wait()
        if received is None:
            return 0
        assert isinstance(received[0], Wakers)
        wakers += received[1]
    sys.path[:] = start.path
    if start.python_path is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = start.python_path
    settings = msgspec.msgpack.decode(start.config, type=_Settings).gateway
    try:
        log = configure(settings.log, f"worker {start.slot}")
    except OSError as error:
        channel.send(Failed(f"cannot open the log: {error}"))
        return 1
    faulthandler.enable(log.stream)
    raise_file_limit()
    tune_allocator()

    async def run() -> int:
        control = SupervisedControl(channel, start, descriptors, wakers)
        return await Worker(channel, start, control, log).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())
