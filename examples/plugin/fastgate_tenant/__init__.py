"""A policy for the tenants of a service: it refuses unknown tenants, and names the others to the upstream."""

import asyncio
import logging
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import msgspec

from fastgate import Gateway, Policy, Request, Response
from fastgate.config import Duration
from fastgate.gateway import ExchangeError, Outcome

__all__ = ["TenantPolicy"]

# Below "fastgate", so that the level of [gateway.log] applies.
_log = logging.getLogger("fastgate.plugins.tenant")


class TenantPolicy(Policy):
    """Reads the tenants from the configuration, from a file that it reads again while the gateway runs, or both."""

    class Options(msgspec.Struct, kw_only=True):
        header: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9-]+$")] = "x-tenant"
        """The field that names the tenant."""
        tenants: frozenset[str] = frozenset()
        """The known tenants; if this list and the file are empty, any tenant is accepted."""
        file: str = ""
        """A file with more tenants, one a line."""
        refresh: Duration = 60.0
        """Seconds for which the tenants of the file are used before the file is read again."""
        required: bool = True
        """Whether the policy refuses a request without a tenant."""

        def __post_init__(self) -> None:
            if self.file and self.refresh <= 0:
                raise ValueError("refresh must be more than 0 s if a file is set")

    clock = time  # tests set another clock here

    def __init__(self, options: Options) -> None:
        self.options = options
        self.tenants = options.tenants
        self.seen: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.fresh_until = 0.0
        self.reading: asyncio.Task[None] | None = None

    async def on_startup(self, gateway: Gateway) -> None:
        # If the file cannot be read now, the gateway does not start, and a reload is refused.
        await self.read_tenants()
        _log.info("%d tenants, named by %s", len(self.tenants), self.options.header)

    def on_request(self, request: Request) -> Response | None:
        if self.options.file and self.clock.monotonic() >= self.fresh_until and self.reading is None:
            # In a separate task, so that no request waits for the file.
            self.reading = asyncio.create_task(self.read_again())
        header = self.options.header
        name = (request.headers.get(header) or "").strip().lower()
        if not name:
            return self.refusal(400, f"the field {header} is missing") if self.options.required else None
        if self.tenants and name not in self.tenants:
            return self.refusal(403, "unknown tenant")
        # The upstream gets one field with one spelling, whatever the client sent.
        request.headers.set(header, name)
        request.state["tenant"] = name
        self.seen[name] += 1
        return None

    def on_response(self, request: Request, response: Response) -> None:
        # A cache must not give one tenant's answer to another. Answers of other policies pass here, too.
        response.headers.add("vary", self.options.header)

    def on_error(self, request: Request, error: ExchangeError) -> None:
        if "tenant" in request.state:
            _log.warning("%s failed for tenant %s: %s", request.id, request.state["tenant"], error.cause)

    def on_finish(self, request: Request, outcome: Outcome) -> None:
        # However it ended: what a client that left has had is counted, too.
        if "tenant" in request.state:
            self.sent[request.state["tenant"]] += outcome.bytes_out

    async def on_shutdown(self, gateway: Gateway) -> None:
        if self.reading is not None:
            self.reading.cancel()
            await asyncio.gather(self.reading, return_exceptions=True)
        _log.info("requests by tenant: %s, bytes: %s", dict(self.seen), dict(self.sent))

    async def read_tenants(self) -> None:
        if self.options.file:
            # Files block, so they are read in a thread.
            text = await asyncio.to_thread(Path(self.options.file).read_text, encoding="utf-8")
            named = (line.strip().lower() for line in text.splitlines())
            self.tenants = self.options.tenants | {name for name in named if name}
        self.fresh_until = self.clock.monotonic() + self.options.refresh

    async def read_again(self) -> None:
        try:
            await self.read_tenants()
        except OSError as error:
            _log.warning("the tenants stay as they are: %s", error)
            self.fresh_until = self.clock.monotonic() + self.options.refresh
        finally:
            self.reading = None

    def refusal(self, status: int, detail: str) -> Response:
        return Response(status, json={"status": status, "detail": detail}, headers={"cache-control": "no-store"})
