"""A policy that knows the tenants of a service: unknown ones are refused, the others are named to the upstream."""

import logging
from collections import Counter
from typing import Any

from fastgate import Policy, Request, Response
from fastgate.gateway import ExchangeError, Gateway

_log = logging.getLogger("fastgate_tenant")

OPTIONS = {"header", "tenants", "required"}


class TenantPolicy(Policy):
    """Options: ``header`` that names the tenant, ``tenants`` that exist (absent: any), ``required`` (default true)."""

    def __init__(self, options: dict[str, Any]) -> None:
        unknown = options.keys() - OPTIONS
        if unknown:
            raise ValueError(f"unknown option {', '.join(sorted(unknown))}")
        self.header: str = options.get("header", "x-tenant")
        self.tenants: frozenset[str] = frozenset(options.get("tenants", ()))
        self.required: bool = options.get("required", True)
        self.seen: Counter[str] = Counter()

    async def on_startup(self, gateway: Gateway) -> None:
        _log.info("%d tenants, named by %s", len(self.tenants), self.header)

    def on_request(self, request: Request) -> Response | None:
        name = (request.headers.get(self.header) or "").strip().lower()
        if not name:
            return self.refusal(400, f"the field {self.header} is missing") if self.required else None
        if self.tenants and name not in self.tenants:
            return self.refusal(403, "there is no such tenant")
        # What the upstream reads is one field with one spelling, whatever the client sent.
        request.headers.set(self.header, name)
        request.state["tenant"] = name
        self.seen[name] += 1
        return None

    def on_response(self, request: Request, response: Response) -> None:
        # A cache must not give one tenant's answer to another. An answer of another policy comes by here, too.
        response.headers.add("vary", self.header)

    def on_error(self, request: Request, error: ExchangeError) -> None:
        if "tenant" in request.state:
            _log.warning("%s failed for tenant %s: %s", request.id, request.state["tenant"], error.cause)

    async def on_shutdown(self, gateway: Gateway) -> None:
        _log.info("requests by tenant: %s", dict(self.seen))

    def refusal(self, status: int, detail: str) -> Response:
        return Response(status, json={"status": status, "detail": detail}, headers={"cache-control": "no-store"})
