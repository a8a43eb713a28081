"""SRV records: what becomes of priorities, weights and names that do not resolve."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upstreams.name_server import SILENCE, NameServer

from fastgate.upstreams.dns import Question, Resolver
from fastgate.upstreams.lookup import ServiceRecord
from fastgate.upstreams.srv import Service, services

SOON = 0.02
LATE = 60.0
NAME = "_http._tcp.app.test"


class Told:
    def __init__(self, server: str) -> None:
        self.server = server
        self.changes: list[list[Service]] = []
        self._notice = asyncio.Event()
        self.resolver = Resolver(lambda *_: None, self.take, shortest=SOON, timeout=0.2)

    def take(self, name: str, targets: list[Service]) -> None:
        assert name == "service"
        self.changes.append(targets)
        self._notice.set()

    def ask(self, **options: object) -> None:
        question = Question(NAME, **{"server": self.server, "srv": True, "refresh": SOON, **options})
        self.resolver.update({"service": question})

    async def wait_changes(self, count: int) -> list[Service]:
        """The last change, once there are that many."""
        async with asyncio.timeout(5):
            while len(self.changes) < count:
                self._notice.clear()
                await self._notice.wait()
        return self.changes[-1]


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


async def test_records_become_targets(names: NameServer, told: Told) -> None:
    names.zone[NAME, "SRV"] = ["20 5 8003 c.app.test.", "10 60 8001 a.app.test.", "10 0 8002 b.app.test."]
    names.zone["a.app.test", "A"] = ["10.0.0.2", "10.0.0.1"]
    names.zone["b.app.test", "A"] = ["10.0.0.3"]
    names.zone["c.app.test", "AAAA"] = ["fd00::1"]
    told.ask(refresh=LATE)
    assert await told.wait_changes(1) == [
        Service("10.0.0.1", 8001, 60, False, "a.app.test"),
        Service("10.0.0.2", 8001, 60, False, "a.app.test"),
        Service("10.0.0.3", 8002, 1, False, "b.app.test"),
        Service("fd00::1", 8003, 5, True, "c.app.test"),
    ]


async def test_changes_of_records_and_of_addresses_are_told(names: NameServer, told: Told) -> None:
    names.zone[NAME, "SRV"] = ["0 1 80 a.app.test."]
    names.zone["a.app.test", "A"] = ["10.0.0.1"]
    told.ask()
    await told.wait_changes(1)
    names.zone["a.app.test", "A"] = ["10.0.0.2"]
    assert await told.wait_changes(2) == [Service("10.0.0.2", 80, 1, False, "a.app.test")]
    names.zone[NAME, "SRV"] = ["0 7 81 a.app.test."]
    assert await told.wait_changes(3) == [Service("10.0.0.2", 81, 7, False, "a.app.test")]


@pytest.mark.parametrize("fault", ["SERVFAIL", SILENCE, []])
async def test_a_target_that_stops_to_resolve_keeps_its_addresses_until_they_are_stale(
    names: NameServer, told: Told, fault: list[str] | str
) -> None:
    names.zone[NAME, "SRV"] = ["0 1 80 a.app.test.", "0 1 80 b.app.test."]
    names.zone["a.app.test", "A"] = ["10.0.0.1"]
    names.zone["b.app.test", "A"] = ["10.0.0.2"]
    told.ask(stale=LATE)
    both = await told.wait_changes(1)
    names.zone["b.app.test", "A"] = fault
    await names.wait_asked(8, after=len(names.asked))
    assert told.changes == [both]
    told.ask(stale=0.05)
    assert await told.wait_changes(2) == [Service("10.0.0.1", 80, 1, False, "a.app.test")]


async def test_the_last_targets_are_kept_until_they_are_stale(names: NameServer, told: Told) -> None:
    names.zone[NAME, "SRV"] = ["0 1 80 a.app.test."]
    names.zone["a.app.test", "A"] = ["10.0.0.1"]
    told.ask(stale=LATE)
    await told.wait_changes(1)
    names.zone[NAME, "SRV"] = "SERVFAIL"
    await names.wait_asked(3, after=len(names.asked))
    assert len(told.changes) == 1
    told.ask(stale=0.05)
    assert await told.wait_changes(2) == []


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], "the name has no SRV records"),
        (["0 0 0 ."], "the service is not available"),
        (
            ["0 0 80 a.app.test.", "0 0 80 b.app.test."],
            "a.app.test: the name does not exist; b.app.test: the name does not exist",
        ),
    ],
)
async def test_a_service_that_leads_nowhere(names: NameServer, told: Told, records: list[str], reason: str) -> None:
    names.zone[NAME, "SRV"] = records
    names.zone[NAME, "TXT"] = ["there"]
    told.ask(refresh=LATE)
    async with asyncio.timeout(5):
        await told.resolver.asked()
    assert told.resolver.resolutions["service"].error == reason
    assert told.changes == []


async def test_the_shortest_time_to_live_counts(names: NameServer, told: Told) -> None:
    names.zone[NAME, "SRV"] = ["0 1 80 a.app.test."]
    names.zone["a.app.test", "A"] = ["10.0.0.1"]
    names.ttl = 0
    told.ask(refresh=LATE)
    await names.wait_asked(6)


async def test_services_need_somebody_to_tell() -> None:
    resolver = Resolver(lambda *_: None)
    with pytest.raises(ValueError, match="on_services"):
        resolver.update({"service": Question(NAME, srv=True)})
    await resolver.stop()


def test_weights_become_those_of_targets() -> None:
    records = [ServiceRecord(0, weight, 80, f"{weight}.") for weight in (0, 50, 20000, 65535)]
    found = services(records, {record.target: [f"10.0.0.{number}"] for number, record in enumerate(records)})
    assert {service.authority: service.weight for service in found} == {"0": 1, "50": 1, "20000": 305, "65535": 1000}


hosts = st.sampled_from(["a.", "b.", "c."])
records = st.lists(
    st.builds(ServiceRecord, st.integers(0, 3), st.integers(0, 3), st.integers(80, 82), hosts), min_size=1, max_size=8
)
addresses = st.dictionaries(hosts, st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]), unique=True))


@given(records, addresses, st.randoms(use_true_random=False))
def test_any_records(records: list[ServiceRecord], addresses: dict[str, list[str]], random) -> None:
    found = services(records, addresses)
    reachable = [(record, address) for record in records for address in addresses.get(record.target, [])]
    # Each address and port once, and none left out.
    places = [(service.address, service.port) for service in found]
    assert len(set(places)) == len(places)
    assert set(places) == {(address, record.port) for record, address in reachable}
    lowest = min(record.priority for record in records)
    for service in found:
        leading = [record for record, address in reachable if (address, record.port) == (service.address, service.port)]
        assert service.backup == (min(record.priority for record in leading) > lowest)
        assert any(
            service.weight == max(record.weight, 1) and service.authority + "." == record.target for record in leading
        )
    # Order means nothing in DNS, so it must mean nothing here: a shuffled answer is no change.
    shuffled = random.sample(records, len(records))
    assert services(shuffled, addresses) == found
