"""Names and passwords: the users of ``[auth.basic]``, and the hashes of their passwords, worked out off the loop."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor

import bcrypt

from fastgate._core.auth.basic import BasicMethod
from fastgate._core.auth.gate import VerifiedCache
from fastgate._core.exchange.identity import Identity
from fastgate._core.exchange.refusal import Refusal
from fastgate.config import ConfigError, Problem
from fastgate.config.schema.basic import Basic, read_users

_SALT_AND_DIGEST = 53  # characters of a bcrypt hash behind its cost


def compile_basic(basic: Basic) -> BasicMethod:
    """The method of ``[auth.basic]``. Raises ConfigError for a file that cannot be used."""
    stored, faults = read_users(basic)
    if faults:
        raise ConfigError([Problem("auth.basic.file", fault) for fault in faults])
    users = {name.encode(): (hashed.encode(), Identity(name, "basic")) for name, hashed in stored.items()}
    cost = max(hashed[4:6] for hashed in stored.values())
    return BasicMethod(
        users,
        # What every password is hashed with for a name that is none.
        f"$2b${cost}${'.' * _SALT_AND_DIGEST}".encode(),
        PasswordChecks(basic.threads, basic.queue).check,
        realm=basic.realm,
        secret=secrets.token_bytes(32),
        cache=VerifiedCache(basic.cache.max_entries),
        ttl=basic.cache.ttl,
        hide=basic.hide,
    )


class PasswordChecks:
    """Compares passwords with their hashes: ``threads`` at a time, while at most ``queue`` more wait.

    bcrypt holds no lock of the interpreter, so that the loop goes on meanwhile. Requests with the same credential share
    one hash. The threads end when nobody has the object any more.
    """

    def __init__(self, threads: int, queue: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt")
        self._turns = asyncio.Semaphore(threads)
        self._room = threads + queue
        self._under_way: dict[bytes, _Check] = {}

    async def check(self, password: bytes, stored: bytes, key: bytes) -> bool:
        """Whether it is the password. Raises a Refusal when too many wait."""
        work = self._under_way.get(key)
        if work is None:
            if len(self._under_way) >= self._room:
                raise Refusal("auth_unavailable")
            work = self._under_way[key] = _Check()
            work.task = asyncio.get_running_loop().create_task(self._run(work, password, stored, key))
        work.waiting += 1
        try:
            return await asyncio.shield(work.task)
        finally:
            work.waiting -= 1
            # One that has begun cannot be stopped: it keeps its turn until it is done.
            if not work.waiting and not work.begun and not work.task.done():
                work.task.cancel()
                self._forget(work, key)

    async def _run(self, work: "_Check", password: bytes, stored: bytes, key: bytes) -> bool:
        try:
            async with self._turns:
                work.begun = True
                return await asyncio.get_running_loop().run_in_executor(self._threads, bcrypt.checkpw, password, stored)
        finally:
            self._forget(work, key)

    def _forget(self, work: "_Check", key: bytes) -> None:
        if self._under_way.get(key) is work:
            del self._under_way[key]


class _Check:
    """A hash that is being worked out, or waits for its turn."""

    task: asyncio.Task[bool]

    def __init__(self) -> None:
        self.waiting = 0  # requests
        self.begun = False
