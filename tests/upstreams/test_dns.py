"""Names of targets: how they are asked for, what is kept while nobody answers, and who is told."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest
from upstreams.name_server import SILENCE, NameServer

from fastgate.config import ConfigError
from fastgate.upstreams.dns import Question, Resolver
from fastgate.upstreams.lookup import LookupAnswer, ServerLookup, SystemLookup, Unresolved, require_dnspython

SOON = 0.02
LATE = 60.0


class Told:
    """What a resolver told, in order, and a resolver that tells it."""

    def __init__(self, server: str, **options: float) -> None:
        self.server = server
        self.changes: list[tuple[str, list[str]]] = []
        self._told = asyncio.Condition()
        self._notice = asyncio.Event()
        self.resolver = Resolver(self.take, **{"shortest": SOON, "timeout": 0.5, **options})

    def take(self, name: str, addresses: list[str]) -> None:
        self.changes.append((name, addresses))
        self._notice.set()

    def ask(self, host: str, **options: object) -> None:
        """Asks for one name, under that name."""
        self.resolver.update({host: self.question(host, **options)})

    def question(self, host: str, **options: object) -> Question:
        return Question(host, **{"server": self.server, "refresh": SOON, **options})

    async def wait_changes(self, count: int) -> list[list[str]]:
        """What was told, once it is that much."""
        async with asyncio.timeout(5):
            while len(self.changes) < count:
                self._notice.clear()
                await self._notice.wait()
        return [addresses for _, addresses in self.changes]

    async def asked(self) -> None:
        async with asyncio.timeout(5):
            await self.resolver.asked()


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with NameServer() as server:
        yield server


@pytest.fixture
async def told(names: NameServer) -> AsyncIterator[Told]:
    told = Told(names.address)
    yield told
    await told.resolver.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_addresses_are_sorted_and_told_once(names: NameServer, told: Told) -> None:
    names.zone["app.test", "A"] = ["10.0.0.2", "10.0.0.1", "10.0.0.2"]
    told.ask("app.test")
    await names.wait_asked(2)
    names.zone["app.test", "A"] = ["10.0.0.1", "10.0.0.2"]
    await names.wait_asked(3, after=len(names.asked))
    assert told.changes == [("app.test", ["10.0.0.1", "10.0.0.2"])]
    assert set(names.asked) == {("app.test", "A", "udp")}


async def test_every_change_is_told(names: NameServer, told: Told) -> None:
    names.zone["app.test", "A"] = ["10.0.0.1"]
    told.ask("app.test")
    await told.wait_changes(1)
    names.zone["app.test", "A"] = ["10.0.0.1", "10.0.0.9"]
    await told.wait_changes(2)
    names.zone["app.test", "A"] = ["10.0.0.9"]
    assert await told.wait_changes(3) == [["10.0.0.1"], ["10.0.0.1", "10.0.0.9"], ["10.0.0.9"]]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (None, "the name does not exist"),
        ([], "the name has no addresses"),
        ("SERVFAIL", "the server answered SERVFAIL"),
        ("REFUSED", "the server answered REFUSED"),
        (SILENCE, "no answer within 0.1 s"),
    ],
)
async def test_the_last_answer_is_kept_until_it_is_stale(
    names: NameServer, fault: list[str] | str | None, reason: str
) -> None:
    told = Told(names.address, timeout=0.1)
    try:
        names.zone["app.test", "A"] = ["10.0.0.1"]
        told.ask("app.test", stale=LATE)
        await told.wait_changes(1)
        if fault is None:
            del names.zone["app.test", "A"]
        else:
            names.zone["app.test", "A"] = fault
        await names.wait_asked(4, after=len(names.asked))
        resolution = told.resolver.resolutions["app.test"]
        async with asyncio.timeout(5):
            while not resolution.error:
                await asyncio.sleep(0)
        assert resolution.error == reason
        assert resolution.answer == ["10.0.0.1"]
        assert len(told.changes) == 1
        told.ask("app.test", stale=0.05)
        assert await told.wait_changes(2) == [["10.0.0.1"], []]
        names.zone["app.test", "A"] = ["10.0.0.1"]
        assert await told.wait_changes(3) == [["10.0.0.1"], [], ["10.0.0.1"]]
        assert resolution.error == ""
    finally:
        await told.resolver.stop()


async def test_a_name_that_never_resolved_is_asked_again_sooner_than_it_is_refreshed(
    names: NameServer, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    names.zone["app.test", "A"] = "SERVFAIL"
    told.ask("app.test", refresh=LATE)
    await names.wait_asked(3)
    assert told.changes == []
    names.zone["app.test", "A"] = ["10.0.0.1"]
    assert await told.wait_changes(1) == [["10.0.0.1"]]
    # Said once for the whole outage.
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "cannot resolve app.test (the server answered SERVFAIL): it has no addresses now"
    ]


async def test_the_waits_after_failures_double_up_to_the_refresh(
    names: NameServer, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    enough = asyncio.Event()
    sleep = asyncio.sleep

    async def no_sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 9:
            enough.set()
        await sleep(0 if len(waits) < 9 else LATE)

    monkeypatch.setattr("fastgate.upstreams.dns.asyncio.sleep", no_sleep)
    names.zone["app.test", "A"] = "REFUSED"
    told.ask("app.test", refresh=1.0)
    async with asyncio.timeout(5):
        await enough.wait()
    for wait, expected in zip(waits, [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0], strict=True):
        assert expected * 0.9 <= wait <= expected * 1.1


async def test_an_answer_that_is_too_long_comes_over_tcp(names: NameServer, told: Told) -> None:
    addresses = sorted(f"10.0.{high}.{low}" for high in range(2) for low in range(100))
    names.zone["app.test", "A"] = addresses
    names.cut.add("app.test")
    told.ask("app.test", refresh=LATE)
    assert await told.wait_changes(1) == [addresses]
    assert names.asked == [("app.test", "A", "udp"), ("app.test", "A", "tcp")]


async def test_a_short_time_to_live_is_obeyed(names: NameServer, told: Told) -> None:
    names.zone["app.test", "A"] = ["10.0.0.1"]
    names.ttl = 0
    told.ask("app.test", refresh=LATE)
    await names.wait_asked(3)


async def test_a_long_time_to_live_does_not_hinder_the_refresh(names: NameServer, told: Told) -> None:
    names.zone["app.test", "A"] = ["10.0.0.1"]
    names.ttl = 86400
    told.ask("app.test", refresh=SOON)
    await names.wait_asked(3)


@pytest.mark.parametrize(
    ("family", "ipv4", "ipv6", "expected", "kinds"),
    [
        ("auto", True, True, ["10.0.0.1"], ["A"]),
        ("auto", False, True, ["fd00::1"], ["A", "AAAA"]),
        ("ipv4", True, True, ["10.0.0.1"], ["A"]),
        ("ipv4", False, True, [], ["A"]),
        ("ipv6", True, True, ["fd00::1"], ["AAAA"]),
        ("ipv6", True, False, [], ["AAAA"]),
        ("both", True, True, ["10.0.0.1", "fd00::1"], ["A", "AAAA"]),
        ("both", True, False, ["10.0.0.1"], ["A", "AAAA"]),
        ("both", False, False, [], ["A", "AAAA"]),
    ],
)
async def test_families(
    names: NameServer, told: Told, family: str, ipv4: bool, ipv6: bool, expected: list[str], kinds: list[str]
) -> None:
    names.zone["app.test", "A"] = ["10.0.0.1"] if ipv4 else []
    names.zone["app.test", "AAAA"] = ["fd00::1"] if ipv6 else []
    told.resolver._shortest = LATE
    told.ask("app.test", family=family, refresh=LATE)
    await told.asked()
    assert told.resolver.resolutions["app.test"].answer == expected
    assert [kind for _, kind, _ in names.asked] == kinds


async def test_half_an_answer_takes_no_addresses_away(names: NameServer, told: Told) -> None:
    names.zone["app.test", "A"] = ["10.0.0.1"]
    names.zone["app.test", "AAAA"] = ["fd00::1"]
    told.ask("app.test", family="both")
    await told.wait_changes(1)
    names.zone["app.test", "AAAA"] = "SERVFAIL"
    await names.wait_asked(6, after=len(names.asked))
    assert told.changes == [("app.test", ["10.0.0.1", "fd00::1"])]


async def test_addresses_are_not_asked_for(names: NameServer, told: Told) -> None:
    told.resolver.update({host: told.question(host) for host in ("127.0.0.1", "[::1]", "FD00:0::1")})
    await told.asked()
    assert told.changes == [("127.0.0.1", ["127.0.0.1"]), ("[::1]", ["::1"]), ("FD00:0::1", ["fd00::1"])]
    assert names.asked == []


async def test_an_update_leaves_what_stays_alone(names: NameServer, told: Told) -> None:
    for name in ("kept.test", "gone.test", "new.test"):
        names.zone[name, "A"] = ["10.0.0.1"]
    kept, gone, new = (told.question(name, refresh=LATE) for name in ("kept.test", "gone.test", "new.test"))
    told.resolver.update({"kept": kept, "gone": gone})
    await told.wait_changes(2)
    told.resolver.update({"kept": kept, "new": new})
    await told.wait_changes(3)
    assert [name for name, _, _ in names.asked] == ["kept.test", "gone.test", "new.test"]
    assert set(told.resolver.resolutions) == {"kept", "new"}


async def test_a_new_refresh_keeps_the_answer(names: NameServer, told: Told) -> None:
    names.zone["app.test", "A"] = ["10.0.0.1"]
    told.ask("app.test", refresh=LATE)
    await told.wait_changes(1)
    names.zone["app.test", "A"] = "SERVFAIL"
    told.ask("app.test", refresh=SOON)
    await names.wait_asked(3, after=len(names.asked))
    assert len(told.changes) == 1


async def test_another_name_does_not_keep_the_answer(names: NameServer, told: Told) -> None:
    names.zone["app.test", "A"] = ["10.0.0.1"]
    told.resolver.update({"target": told.question("app.test", refresh=LATE)})
    await told.wait_changes(1)
    told.resolver.update({"target": told.question("other.test", refresh=LATE)})
    assert await told.wait_changes(2) == [["10.0.0.1"], []]


async def test_a_first_question_that_fails_is_told_where_requests_wait_for_it(names: NameServer, told: Told) -> None:
    told.resolver.update({"waiting": told.question("a.test", awaited=True), "not": told.question("b.test")})
    await told.asked()
    assert told.changes == [("waiting", [])]
    # Once, until there is something to tell.
    await names.wait_asked(4, after=len(names.asked))
    assert told.changes == [("waiting", [])]
    names.zone["a.test", "A"] = names.zone["b.test", "A"] = ["10.0.0.1"]
    await told.wait_changes(3)
    assert sorted(told.changes[1:]) == [("not", ["10.0.0.1"]), ("waiting", ["10.0.0.1"])]


async def test_what_was_taken_away_is_not_told_any_more(names: NameServer, told: Told) -> None:
    names.zone["app.test", "A"] = SILENCE
    told.ask("app.test")
    waiting = asyncio.create_task(told.asked())
    await names.wait_asked(1)
    names.zone["app.test", "A"] = ["10.0.0.1"]
    told.resolver.update({})
    await waiting
    await told.resolver.stop()
    assert told.changes == []
    assert told.resolver.resolutions == {}


async def test_sockets_are_closed_however_soon_it_is_stopped(names: NameServer) -> None:
    names.zone["app.test", "A"] = []
    names.zone["app.test", "AAAA"] = ["fd00::1"]
    sockets = len(os.listdir("/proc/self/fd"))
    kept = []
    for turns in range(16):
        lookup = asyncio.create_task(ServerLookup().addresses("app.test", "auto", names.address))
        for _ in range(turns):
            await asyncio.sleep(0)
        lookup.cancel()
        try:
            await lookup
        except asyncio.CancelledError as error:
            # With it everything that its frames know: nothing may depend on garbage collection.
            kept.append(error)
    async with asyncio.timeout(5):
        while len(os.listdir("/proc/self/fd")) > sockets:
            await asyncio.sleep(0)
    assert len(kept) > 3


async def test_a_cancellation_that_gets_lost_ends_it_too(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def swallow(*_: object) -> LookupAnswer:
        asked.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(LATE)
        return LookupAnswer(["10.0.0.1"], None)

    monkeypatch.setattr(told.resolver._server, "addresses", swallow)
    told.ask("app.test")
    await asked.wait()
    async with asyncio.timeout(5):
        await told.resolver.stop()
    assert told.changes == []


async def test_a_callback_that_fails_does_not_end_it(names: NameServer, caplog: pytest.LogCaptureFixture) -> None:
    told = Told(names.address)

    def fail(name: str, addresses: list[str]) -> None:
        told.take(name, addresses)
        raise RuntimeError("mine")

    resolver = Resolver(fail, shortest=SOON)
    names.zone["app.test", "A"] = ["10.0.0.1"]
    resolver.update({"app.test": told.question("app.test")})
    await told.wait_changes(1)
    names.zone["app.test", "A"] = ["10.0.0.2"]
    assert await told.wait_changes(2) == [["10.0.0.1"], ["10.0.0.2"]]
    await resolver.stop()
    assert "cannot use the new addresses of app.test" in caplog.text


async def test_a_server_must_be_an_address(told: Told) -> None:
    told.ask("app.test", server="dns.test", refresh=LATE)
    await told.asked()
    assert told.resolver.resolutions["app.test"].error == 'the DNS server "dns.test" is not a valid IP address'


async def test_without_dnspython_the_extra_is_named(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.asyncresolver", None)
    told.ask("app.test", refresh=LATE)
    await told.asked()
    message = "questions to DNS servers need the package dnspython: pip install 'fastgate[dns]'"
    assert told.resolver.resolutions["app.test"].error == message
    with pytest.raises(ConfigError) as raised:
        require_dnspython("upstreams.backend.dns.server")
    assert [(problem.path, problem.message) for problem in raised.value.problems] == [
        ("upstreams.backend.dns.server", message)
    ]


def test_dnspython_is_imported_on_use_only() -> None:
    code = "import sys, fastgate.upstreams.dns; sys.exit('dns' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the system's resolver -------------------------------------------------------------------------------------------


class StuckSystem:
    """A getaddrinfo that hangs until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)

    def getaddrinfo(self, host: str, *_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        self.asked.append(host)
        self.released.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0))]


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> StuckSystem:
    return StuckSystem(monkeypatch)


async def test_the_system_knows_localhost(told: Told) -> None:
    told.ask("localhost", server="", family="ipv4")
    assert await told.wait_changes(1) == [["127.0.0.1"]]


@pytest.mark.parametrize(
    ("family", "expected"), [("auto", ["10.0.0.1", "10.0.0.2"]), ("both", ["10.0.0.1", "10.0.0.2", "fd00::1"])]
)
async def test_families_of_the_system(
    told: Told, monkeypatch: pytest.MonkeyPatch, family: str, expected: list[str]
) -> None:
    entries = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.2", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: entries)
    told.ask("app.test", server="", family=family)
    assert await told.wait_changes(1) == [expected]


async def test_a_name_that_the_system_does_not_know(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    told.ask("app.test", server="", refresh=LATE)
    await told.asked()
    assert told.resolver.resolutions["app.test"].error == "name or service not known"


async def test_a_dead_system_resolver_holds_four_threads_at_most(stuck: StuckSystem) -> None:
    told = Told("")
    told.resolver.update({str(number): told.question(f"app{number}.test") for number in range(20)})
    async with asyncio.timeout(5):
        while len(stuck.asked) < 4:
            await asyncio.sleep(0.001)
        # Others of the loop are served meanwhile, and have a turn or two to go wrong.
        await asyncio.get_running_loop().run_in_executor(None, stuck.released.wait, 0.05)
    assert len(stuck.asked) == 4
    assert sum(thread.name == "fastgate-dns" for thread in threading.enumerate()) == 4
    stuck.released.set()
    await told.wait_changes(20)
    await told.resolver.stop()


async def test_a_name_that_hangs_holds_one_thread(stuck: StuckSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgate.upstreams.lookup._SYSTEM_PATIENCE", 0.01)
    lookup = SystemLookup()
    for _ in range(6):
        with pytest.raises(Unresolved, match=r"no answer within 0\.01 s"):
            await lookup.addresses("app.test", "auto")
    assert stuck.asked == ["app.test"]
    waiting = asyncio.create_task(lookup.addresses("app.test", "auto"))
    await asyncio.sleep(0)
    monkeypatch.setattr("fastgate.upstreams.lookup._SYSTEM_PATIENCE", 5.0)
    stuck.released.set()
    with contextlib.suppress(Unresolved):
        await waiting
    assert (await lookup.addresses("app.test", "auto")).addresses == ["10.0.0.1"]
    lookup.close()


def test_a_question_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    code = """
import asyncio, socket, threading
from fastgate.upstreams.dns import Question, Resolver

asked = threading.Event()

def hang(*_):
    asked.set()
    threading.Event().wait()

async def main():
    socket.getaddrinfo = hang
    resolver = Resolver(print)
    resolver.update({"app": Question("app.test")})
    await asyncio.get_running_loop().run_in_executor(None, asked.wait)
    await resolver.stop()

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
