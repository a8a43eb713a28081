"""Policies that the tests name in configurations: they note what is called, and do what their options say."""

import asyncio
import os
from pathlib import Path
from typing import Any

from fastgate import Policy, Request, Response

NOTES: list[str] = []
"""What was called, in order."""

KEPT: list[Any] = []
"""Views that outlived their exchange."""


class Noting(Policy):
    """Every hook notes its name; the option ``fail`` names one that raises, ``answer`` one that answers."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.name: str = options["name"]
        self.note("init")

    def note(self, hook: str) -> None:
        NOTES.append(f"{self.name}.{hook}")
        if self.options.get("fail") == hook:
            raise ValueError(f"{self.name} fails in {hook}")

    def answer(self, hook: str) -> Response | None:
        self.note(hook)
        return Response(418, f"{self.name} answers in {hook}") if self.options.get("answer") == hook else None

    async def on_startup(self, gateway: Any) -> None:
        assert type(gateway).__name__ == "Gateway"
        self.note("on_startup")

    def on_request(self, request: Request) -> Any:
        return self.answer("on_request")

    def on_response(self, request: Request, response: Response) -> Any:
        return self.answer("on_response")

    def on_error(self, request: Request, error: Any) -> Any:
        NOTES.append(f"{error.cause} {error.status}")
        return self.answer("on_error")

    def on_health_change(self, change: Any) -> None:
        self.note(f"on_health_change {change.target} {change.kind}")

    async def on_shutdown(self, gateway: Any) -> None:
        self.note("on_shutdown")


class Finishing(Noting):
    """Notes the end of each exchange, too."""

    def on_finish(self, request: Request, outcome: Any) -> None:
        self.note(f"on_finish {outcome.cause} {outcome.status}")


class Awaiting(Noting):
    """The same with hooks that take a few turns of the loop."""

    async def later(self, hook: str) -> Response | None:
        for _ in range(3):
            await asyncio.sleep(0)
        return self.answer(hook)

    def on_request(self, request: Request) -> Any:
        return self.later("on_request")

    async def on_response(self, request: Request, response: Response) -> Any:
        return await self.later("on_response")

    async def on_error(self, request: Request, error: Any) -> Any:
        NOTES.append(f"{error.cause} {error.status}")
        return await self.later("on_error")


class Bare(Policy):
    """No hook at all."""

    def __init__(self, options: dict[str, Any]) -> None:
        pass


class RequestOnly(Bare):
    def on_request(self, request: Request) -> None:
        NOTES.append("RequestOnly.on_request")


class ResponseOnly(Bare):
    def on_response(self, request: Request, response: Response) -> None:
        NOTES.append("ResponseOnly.on_response")


class Inherited(RequestOnly):
    """Its hook is its parent's."""


class Uppercase(Bare):
    """Reads both bodies whole, and answers with the response's in capitals."""

    body = "full"

    async def on_request(self, request: Request) -> None:
        body = await request.body()
        request.headers.set("X-Length", str(len(body)))

    def on_response(self, request: Request, response: Response) -> Response:
        headers = [(name, value) for name, value in response.headers.items() if name.lower().startswith("x-")]
        return Response(response.status, response.body().upper(), headers=headers)


class Peek(Bare):
    """Looks at the first bytes of a body."""

    body = "peek"

    async def on_request(self, request: Request) -> None:
        body = await request.body()
        request.headers.set("X-Peeked", f"{len(body)} {body[:5].decode('latin-1')}")


class Keeps(Bare):
    """Keeps its views."""

    def on_request(self, request: Request) -> None:
        KEPT.extend((request, request.headers))

    def on_response(self, request: Request, response: Response) -> None:
        KEPT.extend((response, response.headers))


class HealthNotes(Bare):
    """Writes each change of health into a file of this process, in the folder that the options name."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.file = Path(options["folder"]) / str(os.getpid())
        self.file.touch()

    async def on_health_change(self, change: Any) -> None:
        await asyncio.sleep(0)
        with self.file.open("a") as file:
            file.write(f"{change.upstream} {change.target} {change.kind} {change.old} {change.new} {change.value}\n")


class Diary(Bare):
    """Writes what is called into a file, each line with the process and the option ``name``."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.write("init")

    def write(self, hook: str) -> None:
        with Path(self.options["file"]).open("a") as file:
            file.write(f"{os.getpid()} {self.options['name']}.{hook}\n")

    async def on_startup(self, gateway: Any) -> None:
        self.write("on_startup")
        await asyncio.sleep(self.options.get("start", 0))
        if self.options.get("fail"):
            raise ConnectionError("no database")

    def on_request(self, request: Request) -> None:
        self.write("on_request")

    def on_response(self, request: Request, response: Response) -> None:
        self.write("on_response")

    async def on_shutdown(self, gateway: Any) -> None:
        self.write("on_shutdown")


class SlowNotes(Bare):
    """Takes a while for each change of health, after it has noted it."""

    async def on_health_change(self, change: Any) -> None:
        NOTES.append(change.kind)
        await asyncio.sleep(0.5)


class WrongBody(Bare):
    body = "some"  # type: ignore[assignment]


class NotAPolicy:
    pass
