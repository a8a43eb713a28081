"""Gateways that cannot start, each in its own way."""

import asyncio
import os
import signal
from pathlib import Path

from server.stub_gateway import StubGateway


class Explains(StubGateway):
    async def start(self) -> None:
        raise RuntimeError("the certificate a.pem\ncannot be read")


class Dies(StubGateway):
    async def start(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class DiesInSlotOne(StubGateway):
    """Slot 1 dies at every start as long as a file is there."""

    async def start(self) -> None:
        if self.control.slot == 1 and Path(self.config.plugins[0].options["file"]).exists():
            os._exit(3)
        await super().start()


class DiesSoon(StubGateway):
    """Becomes ready and dies, again and again."""

    async def start(self) -> None:
        await super().start()
        os._exit(4)


class NeverReady(StubGateway):
    async def start(self) -> None:
        await asyncio.Event().wait()
