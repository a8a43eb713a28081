"""A plugin that does everything by its options: what `test_combinations` mixes with the other policies."""

import asyncio
from typing import Any

from fastgate import Policy, Request, Response
from fastgate._core.exchange.exchange import Refusal

CONSTANT = Response(200, json={"text": "a" * 300}, headers={"x-kind": "constant"})
"""What a policy answers again and again: nobody may change it."""


class Mixed(Policy):
    """``answer``: "own" gives `CONSTANT` to the request, "replace" to the response; ``wait``: in coroutines."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    async def later(self, result: Response | None) -> Response | None:
        await asyncio.sleep(0)
        return result

    def give(self, result: Response | None) -> Any:
        return self.later(result) if self.options.get("wait") else result

    def on_request(self, request: Request) -> Any:
        return self.give(CONSTANT if self.options.get("answer") == "own" else None)

    def on_response(self, request: Request, response: Response) -> Any:
        if self.options.get("answer") == "replace":
            return self.give(CONSTANT)
        if self.options.get("mark"):
            response.headers.add("X-Mark", "1")
        return self.give(None)


class Whole(Mixed):
    """The same with whole bodies."""

    body = "full"

    async def on_request(self, request: Request) -> Any:
        await request.body()
        return await self.later(CONSTANT if self.options.get("answer") == "own" else None)


class Bodies(Policy):
    """Makes bodies longer: each a is two. What comes of it does not depend on where pieces end."""

    def __init__(self, options: dict[str, Any]) -> None:
        pass

    def on_request_body(self, request: Request, piece: bytes, last: bool) -> bytes:
        return piece.replace(b"a", b"aa")

    def on_response_body(self, request: Request, response: Response, piece: bytes, last: bool) -> bytes:
        return piece.replace(b"a", b"aa")


class Errors(Policy):
    """Answers errors by itself, after a wait."""

    def __init__(self, options: dict[str, Any]) -> None:
        pass

    async def on_error(self, request: Request, error: Any) -> Response:
        await asyncio.sleep(0)
        return Response(error.status, json={"cause": error.cause})


class Status(Policy):
    """Gives responses another status."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.status: int = options["status"]

    def on_response(self, request: Request, response: Response) -> None:
        response.status = self.status


class Fails(Policy):
    """A hook for bodies that raises: ``when`` says at which piece, or whether it refuses."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.when: str = options["when"]

    def on_response_body(self, request: Request, response: Response, piece: bytes, last: bool) -> None:
        if self.when == "refuse":
            raise Refusal("forbidden", fields=[("X-Refused", "1")])
        if last or self.when == "first":
            raise ValueError("as it was told to")
