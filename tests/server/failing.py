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


class StartsSlowlyAgain(StubGateway):
    """A successor in slot 1 takes a long time, with the first configuration."""

    async def start(self) -> None:
        if self.control.slot == 1 and self.name == "first" and self.again():
            await asyncio.Event().wait()
        await super().start()

    def again(self) -> bool:
        """Whether somebody else was in this slot before."""
        return self.control.segment.starts(self.control.slot) > 1


class DiesInSlotOneWhenFirst(StubGateway):
    async def start(self) -> None:
        if self.control.slot == 1 and self.name == "first":
            os._exit(3)
        await super().start()


class DiesAgainWhenFirst(StartsSlowlyAgain):
    async def start(self) -> None:
        if self.name == "first" and self.again():
            os._exit(3)
        await StubGateway.start(self)


class Counts(StubGateway):
    """Its configuration in numbers."""

    @property
    def name(self) -> str:
        return f"{len(self.config.routes)},{self.config.routes[-1].name},{len(self.config.upstreams)}"
