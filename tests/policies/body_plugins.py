"""Policies with hooks for streaming bodies that the tests name in configurations."""

from typing import Any

from fastgate import Policy, Request, Response

SEEN: list[tuple[str, bytes, bool]] = []
"""Which hook got which piece, and whether it was the last."""


class Streams(Policy):
    """Both hooks note what they see, under the option ``name``; what they do is said by options of their own name.

    upper: capitals; tag: a mark in front of each piece and one at the end; swallow: nothing goes on but a word at the
    end; raise: at the first piece; raise last: at the end; await, number: what must not be returned; absent: None.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.name: str = options.get("name", "a")

    def do(self, hook: str, piece: bytes, last: bool) -> Any:
        SEEN.append((f"{self.name}.{hook}", piece, last))
        match self.options.get(hook):
            case "upper":
                return piece.upper()
            case "tag":
                mark = f"<{self.name}>".encode()
                return (mark + piece if piece else b"") + (b"</" + mark[1:] if last else b"")
            case "swallow":
                return b"end" if last else b""
            case "raise":
                raise ValueError(f"{self.name} fails")
            case "raise last" if last:
                raise ValueError(f"{self.name} fails at the end")
            case "await":
                return self.later(piece)
            case "number":
                return len(piece)
        return None

    async def later(self, piece: bytes) -> bytes:
        return piece

    def on_request_body(self, request: Request, piece: bytes, last: bool) -> bytes | None:
        request.state["pieces"] = request.state.get("pieces", 0) + 1
        made: bytes | None = self.do("request", piece, last)
        return made

    def on_response_body(self, request: Request, response: Response, piece: bytes, last: bool) -> bytes | None:
        assert response.status >= 200
        assert request.path == "/"
        made: bytes | None = self.do("response", piece, last)
        return made


class Reads(Policy):
    """Reads the request body whole before it streams, and marks the response."""

    body = "full"

    def __init__(self, options: dict[str, Any]) -> None:
        pass

    async def on_request(self, request: Request) -> None:
        body = await request.body()
        SEEN.append(("whole", body, True))


class Marks(Policy):
    """``on_response`` beside the hook for bodies."""

    def __init__(self, options: dict[str, Any]) -> None:
        pass

    def on_response(self, request: Request, response: Response) -> Response | None:
        response.headers.set("X-Marked", "yes")
        if response.headers.get("x-replace"):
            return Response(203, "replaced", headers={"x-by": "policy"})
        return None

    def on_response_body(self, request: Request, response: Response, piece: bytes, last: bool) -> bytes | None:
        return piece + response.headers["x-marked" if response.status != 203 else "x-by"].encode() if last else None


class Async(Policy):
    def __init__(self, options: dict[str, Any]) -> None:
        pass

    async def on_response_body(self, request: Any, response: Any, piece: bytes, last: bool) -> bytes | None:  # type: ignore[override]
        return None


class AnswersErrors(Streams):
    def on_error(self, request: Request, error: Any) -> Response:
        return Response(418, error.cause)
