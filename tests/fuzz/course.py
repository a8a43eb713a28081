"""A course of things: clients and upstreams that send what is sensible and what is not, and what must hold all along.

Every request carries a tag, and an upstream answers with the tag of the request that it got on that connection. A tag
has a check sum, so that one which was mutated is none.

What holds: what an upstream gets are requests that can be read in one way, what a client gets are answers to what it
asked for, in their order; no tag of one client reaches another; what may be sent once is sent once; each exchange has a
line in the access log; whoever asks for something plain gets it; nothing is left when all is closed; nothing raises.
"""

import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from random import Random
from zlib import crc32

from core.playbook import Transport
from fuzz.gateway import ROUTES, FuzzedGateway, configuration
from fuzz.messages import Message, Requests, read_answers
from fuzz.mutate import mutate, pieces

TAG = re.compile(rb"t([0-9]{6})z([0-9a-f]{8})")
PATHS = [path.encode() for path in ROUTES if not path.startswith("~")]
CONFIG = configuration()
ONCE = (b"/once/",)
"""Paths of routes that ask an upstream once."""


def make_tag(number: int) -> bytes:
    return b"t%06dz%08x" % (number, crc32(b"%06d" % number))


def tags(data: bytes) -> Iterator[bytes]:
    """The tags in it that are whole."""
    for match in TAG.finditer(data):
        if b"%08x" % crc32(match[1]) == match[2]:
            yield match[0]


def tag_of(request: Message) -> bytes:
    found = [*tags(request.target), *(tag for _, value in request.fields for tag in tags(value))]
    return found[0] if found else b""


class Client:
    def __init__(self, transport: Transport, address: str) -> None:
        self.transport = transport
        self.address = address
        self.sent: set[bytes] = set()
        self.received = b""
        self.lines: list[dict[str, object]] = []
        self.leftover: deque[bytes] = deque()
        """Pieces of a message that have not been sent yet."""


class Course:
    """``client`` and ``upstream`` are the seeds of messages; ``@TAG@`` in them is filled in."""

    def __init__(self, seed: int, client: Sequence[bytes], upstream: Sequence[bytes]) -> None:
        self.random = Random(seed)
        # A few routes and messages, or all of them: what takes several requests of a kind is seldom met among all.
        self.paths = self.random.sample(PATHS, self.random.choice((1, 2, 4, len(PATHS))))
        client = self.random.sample(client, self.random.choice((min(8, len(client)), len(client))))
        upstream = self.random.sample(upstream, self.random.choice((min(6, len(upstream)), len(upstream))))
        self.seeds = client, upstream
        # Clients that are mad, upstreams that are, both a little, nobody: each leads to where the others do not.
        self.mad = self.random.choice(((0.4, 0.0), (0.1, 0.0), (0.0, 0.4), (0.0, 0.1), (0.1, 0.1), (0.0, 0.0)))
        self.gateway = FuzzedGateway(CONFIG, seed)
        self.messages = 0
        self.number = 0
        self.neighbours = 0
        self.clients: list[Client] = []
        self.closed: list[Client] = []
        self.requests: dict[Transport, Requests] = defaultdict(Requests)
        self.asked: dict[Transport, deque[Message]] = defaultdict(deque)
        self.unfinished: dict[Transport, deque[bytes]] = {}
        self.surplus: dict[Transport, int] = {}
        """After how many bytes more an upstream will have answered what it was asked, and goes on."""
        self.ahead: set[Transport] = set()
        """Those that have answered before they were asked: what they answer from now on is one too early."""
        self.astray: set[bytes] = set()
        """The tags of these answers."""
        self.reached: Counter[bytes] = Counter()
        self.seen: set[tuple[object, ...]] = set()
        """What became of exchanges, as the access log has it: something new is worth a seed."""
        self.last: list[bytes] = []
        """What was sent last, for a report."""

    # -- what may happen

    def step(self) -> None:
        random = self.random
        acts = {
            self.ask: 30, self.answer: 40, self.go_on: 10, self.wait: 12, self.tick: 2,
            self.leave: 2, self.close_upstream: 5, self.press: 3, self.connect: 1, self.neighbour: 2,
        }  # fmt: skip
        random.choices(list(acts), list(acts.values()))[0]()
        self.gateway.loop.run()
        self.look()

    def ask(self) -> None:
        random = self.random
        open_ = [client for client in self.clients if not client.transport.closed]
        self.closed += [client for client in self.clients if client.transport.closed]
        self.clients = open_
        if len(open_) < 4 and (not open_ or random.random() < 0.4):
            count = len(self.closed) + len(open_)
            # By its address the access log tells a connection apart, unless it is a proxy's that is believed.
            address = random.choice(("10.0", "172.16", "192.0")) + f".{count >> 8}.{count & 255}"
            if address.startswith("192"):
                address = f"192.0.2.{random.randint(1, 9)}"
            open_.append(Client(self.gateway.client(address), address))
        client = random.choice(open_)
        count = random.choice((1, 1, 1, 1, 2, 3))
        client.leftover.extend(pieces(random, b"".join(self.request(client) for _ in range(count))))
        self.messages += count
        self.send(client, random.choice((1, 99, 99, 99)))

    def request(self, client: Client) -> bytes:
        random = self.random
        self.number += 1
        tag = make_tag(self.number)
        client.sent.add(tag)
        data = random.choice(self.seeds[0]).replace(b"@TAG@", tag)
        if b"@PATH@" in data:
            data = data.replace(b"@PATH@", random.choice(self.paths).replace(b"*", b"").replace(b"{id}/{rest}", b"7/8"))
        if random.random() < self.mad[0]:
            return mutate(random, data, self.seeds[0]).replace(b"@TAG@", tag)
        return data

    def send(self, client: Client, most: int) -> None:
        while client.leftover and most and not client.transport.closed:
            piece = client.leftover.popleft()
            self.last.append(piece)
            client.transport.send(piece)
            most -= 1

    def answer(self) -> None:
        random = self.random
        open_ = [each for each in self.gateway.upstreams if not each.closed]
        busy = [each for each in open_ if self.asked[each] or each in self.unfinished or self.requests[each].begun]
        if not busy:
            return
        upstream = random.choice(busy)
        parts = self.unfinished.pop(upstream, None)
        if parts is None:
            early = self.requests[upstream].begun
            if not self.asked[upstream] and (early is None or random.random() < 0.7):
                return
            self.messages += 1
            request = self.asked[upstream].popleft() if self.asked[upstream] else early
            assert request is not None
            data = self.response(upstream, request)
            self.surplus[upstream] = data.find(b"HTTP/1.", 1)
            if upstream in self.ahead:
                self.astray.update(tags(data))
            parts = deque(pieces(random, data))
            if request is early:
                self.requests[upstream].raw = True
                self.requests[upstream].begun = None
        most = random.choice((1, 99, 99))
        while parts and most and not upstream.closed:
            piece = parts.popleft()
            self.last.append(piece)
            # On a connection that nobody uses surplus is seen, and ends it. When the next request has been sent,
            # nobody can tell it from the answer to that.
            if self.surplus[upstream] == 0 and (upstream.has_written or self.asked[upstream]):
                self.ahead.add(upstream)
            self.surplus[upstream] = max(self.surplus[upstream] - len(piece), 0) if self.surplus[upstream] > 0 else -1
            upstream.send(piece)
            most -= 1
        if parts and not upstream.closed:
            self.unfinished[upstream] = parts

    def response(self, upstream: Transport, request: Message) -> bytes:
        random = self.random
        tag = tag_of(request)
        data = random.choice(self.seeds[1]).replace(b"@TAG@", tag)
        if request.method == b"HEAD" and random.random() < 0.9:
            data = data[: data.find(b"\r\n\r\n") + 4]
        if random.random() < self.mad[1]:
            data = mutate(random, data, self.seeds[1]).replace(b"@TAG@", tag)
        if request.values(b"upgrade") and data.startswith(b"HTTP/1.1 101"):
            self.requests[upstream].raw = True
        return data

    def go_on(self) -> None:
        """What is under way goes on: the rest of a message, a policy that waits."""
        random = self.random
        for client in self.clients:
            self.send(client, random.choice((1, 99)))
        if self.gateway.waiting:
            future = self.gateway.waiting.popleft()
            if not future.done():
                future.set_result(None)
        elif self.unfinished:
            self.answer()

    def leave(self) -> None:
        open_ = [client for client in self.clients if not client.transport.closed]
        if open_:
            client = self.random.choice(open_)
            client.leftover.clear()
            transport = client.transport
            self.random.choice((transport.eof, transport.lose, lambda: transport.lose(OSError())))()

    def close_upstream(self) -> None:
        open_ = [each for each in self.gateway.upstreams if not each.closed]
        if open_:
            # Rather one that is asked something: its connection turns out to be stale, or breaks off.
            upstream = self.random.choice([each for each in open_ if self.asked[each]] or open_)
            self.unfinished.pop(upstream, None)
            self.random.choice((upstream.eof, upstream.eof, lambda: upstream.lose(ConnectionResetError())))()

    def press(self) -> None:
        """A peer stops taking bytes, or goes on."""
        sides = [client.transport for client in self.clients] + self.gateway.upstreams[-8:]
        sides = [side for side in sides if not side.closed]
        if sides:
            side = self.random.choice(sides)
            if side.unsent:
                side.unsent = 0
                side.take_on()
            else:
                side.unsent = 100_000
                side.stop_taking()

    def connect(self) -> None:
        """How the next connections to upstreams fare."""
        connecting = self.gateway.connecting
        kind = self.random.randrange(8)
        if kind < 2:
            connecting.append(ConnectionRefusedError("refused"))
        elif kind == 2:
            connecting.append(OSError(24, "Too many open files"))
        else:
            future = self.gateway.loop.create_future()
            connecting.append(future)
            self.gateway.waiting.append(future)

    def neighbour(self) -> None:
        """Somebody else's plain request, which none of all this is held against."""
        self.neighbours += 1
        self.messages += 1
        client = self.gateway.client(f"203.0.{self.neighbours >> 8}.{self.neighbours & 255}")
        client.send(b"GET /own/ HTTP/1.1\r\nHost: h\r\n\r\n")
        got = client.taken()
        assert got.startswith(b"HTTP/1.1 200 OK\r\n"), f"a plain request got {got[:200]!r}"
        client.lose()

    def wait(self) -> None:
        self.gateway.pass_time(self.random.choice((10, 60, 120, 300, 1100)))

    def tick(self) -> None:
        self.gateway.pass_time(self.random.choice((3000, 6000, 12000, 35000)) if self.random.random() < 0.3 else 50)

    # -- what must hold

    def look(self) -> None:
        gateway = self.gateway
        for upstream in gateway.upstreams:
            for request in self.requests[upstream].feed(upstream.taken()):
                self.arrived(upstream, request)
        if len(gateway.upstreams) > 40:
            gateway.upstreams[:] = [each for each in gateway.upstreams if not each.closed]
        if len(gateway.transports) > 80:
            gateway.transports[:] = [each for each in gateway.transports if not each.lost]
        assert gateway.mistakes == []
        assert gateway.loop.problems == []
        assert gateway.errors == []

    def arrived(self, upstream: Transport, request: Message) -> None:
        self.asked[upstream].append(request)
        tag = tag_of(request)
        if tag:
            self.reached[tag, request.target.startswith(ONCE) and request.method == b"POST"] += 1

    def settle(self) -> None:
        """All that was begun ends; then the books are checked."""
        gateway = self.gateway
        for client in self.clients:
            self.send(client, 1000)
        for _ in range(3):
            while gateway.waiting:
                future = gateway.waiting.popleft()
                if not future.done():
                    future.set_result(None)
                gateway.loop.run()
            gateway.pass_time(400)
            self.look()
        # Every deadline passes.
        gateway.pass_time(130_000)
        self.look()
        gateway.end()
        self.check()

    def check(self) -> None:
        clients = self.closed + self.clients
        by_address: dict[str, list[Client]] = defaultdict(list)
        for client in clients:
            by_address[client.address].append(client)
            client.received += client.transport.taken()
        everyone = self.gateway.lines.take()
        for line in everyone:
            self.seen.add((line["end"], line["status"], line["route"], line["attempts"]))
        for client in clients:
            foreign = set(tags(client.received)) - client.sent - self.astray
            assert not foreign, f"a client got what belongs to another: {foreign}"
        for (tag, once), times in self.reached.items():
            # A mad client may say it twice.
            assert not once or times == 1 or self.mad[0], f"{tag!r} was sent {times} times"
        for address, mine in by_address.items():
            if not address.startswith("192"):
                [client] = mine
                methods = [str(line["method"] or "").encode() for line in everyone if line["client"] == address]
                read_answers(client.received, methods, ended=True)
