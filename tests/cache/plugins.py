"""Policies around a cached route."""

from typing import Any

from fastgate import Policy, Request, Response


class Numbering(Policy):
    """Counts requests and answers in fields of the answer, and refuses who says so."""

    def __init__(self, _: dict[str, Any]) -> None:
        self.requests = 0
        self.responses = 0

    def on_request(self, request: Request) -> Response | None:
        self.requests += 1
        return Response(403, "refused") if "x-refuse" in request.headers else None

    def on_response(self, request: Request, response: Response) -> None:
        self.responses += 1
        response.headers.set("x-requests", str(self.requests))
        response.headers.set("x-responses", str(self.responses))


class Shouting(Policy):
    """The body in capital letters."""

    def on_response_body(self, request: Request, response: Response, piece: bytes, last: bool) -> bytes:
        return piece.upper()


class Naming(Policy):
    """A request field for the upstream, from a parameter of the query."""

    def on_request(self, request: Request) -> None:
        request.headers.set("x-name", "".join(request.query.get("name", [])))
