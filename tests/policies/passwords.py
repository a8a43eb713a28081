"""Hashes that a test can count, hold back and let go."""

import asyncio
import base64
import threading

import bcrypt
import pytest

COST = 4


def hash_of(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST)).decode()


# Always the same: they stand in the names of tests.
ALICE = "$2b$04$xEAZcYuLtRzfmdnbI78ZP.kxVOnBqpmRlJ0tD5yXSyg5yztHAbTSW"  # of "secret"
BOB = "$2b$04$OtXaD0uCxu4E6xup7BciPO4ulzRnkbLpgHzwv1Gx8IBjtcovV8Wly"  # of "other"


def credential(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def get(authorization: str = "", *fields: str, path: str = "/") -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: a.test", *([f"Authorization: {authorization}"] if authorization else [])]
    return "\r\n".join([*lines, *fields, "", ""]).encode()


class Hashing:
    """What `bcrypt.checkpw` was asked: ``calls`` are (password, stored hash). While held, nothing is answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[bytes, bytes]] = []
        self._may_go = threading.Event()
        self._may_go.set()
        self._check = bcrypt.checkpw
        self._called = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        monkeypatch.setattr(bcrypt, "checkpw", self._checkpw)

    def hold(self) -> None:
        self._may_go.clear()

    def let_go(self) -> None:
        self._may_go.set()

    async def begun(self, count: int = 1) -> None:
        """Waits until so many hashes have begun."""
        async with asyncio.timeout(5):
            while len(self.calls) < count:
                self._called.clear()
                await self._called.wait()

    def _checkpw(self, password: bytes, stored: bytes) -> bool:
        self.calls.append((password, stored))
        self._loop.call_soon_threadsafe(self._called.set)
        assert self._may_go.wait(10)
        return self._check(password, stored)
