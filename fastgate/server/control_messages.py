"""What supervisor and workers say to each other: tagged Structs, MessagePack on the wire."""

from msgspec import Struct, msgpack

from fastgate.config.errors import Problem


class Start(Struct, tag=True, frozen=True):
    """To a worker, first of all: who it is and what to run. `Wakers` come next.

    Its descriptors travel with it: the shared memory, the file of the response cache, then the listening socket of each
    address.
    """

    slot: int
    slots: int
    config: bytes  # a GatewayConfig in MessagePack
    addresses: list[tuple[str, int] | str]  # of the listening sockets: (host, port), or the path of a Unix socket
    path: list[str]  # sys.path of the supervisor
    python_path: str | None  # PYTHONPATH as the supervisor found it
    factory: str  # what to run, as "module:name"
    snapshots: dict[str, bytes] = {}  # of each duty by topic, as they are now


class Wakers(Struct, tag=True, frozen=True):
    """To a worker, right after `Start`, as often as it takes: an eventfd for each slot, in their order."""


class Told(Struct, tag=True, frozen=True):
    """To a worker: what a duty tells its subscriber."""

    topic: str
    data: bytes  # nobody else reads it


class Drain(Struct, tag=True, frozen=True):
    """To a worker: report that you are not ready; stop when `Close` comes."""


class Close(Struct, tag=True, frozen=True):
    """To a worker: nobody else has the listening sockets open any more; empty and close them, finish, leave."""


class Stop(Struct, tag=True, frozen=True):
    """To a worker: leave now."""


class ReopenLogs(Struct, tag=True, frozen=True):
    """To a worker: open the log files by their names again."""


class ReadCertificates(Struct, tag=True, frozen=True):
    """To a worker: read the certificate files again."""


class Lend(Struct, tag=True, frozen=True):
    """To a worker, with the descriptors of another slot: accept from them too."""

    slot: int
    addresses: list[int]  # for each descriptor, the index of its address in `Start.addresses`


class GiveBack(Struct, tag=True, frozen=True):
    """To a worker: the slot that was lent to you has its own worker again."""

    slot: int


class Prepare(Struct, tag=True, frozen=True):
    """To a worker: a configuration comes in so many `ConfigPart`s; make it ready beside the one in use, and answer."""

    generation: int  # never used twice
    parts: int


class ConfigPart(Struct, tag=True, frozen=True):
    """To a worker: some entries of one key at the top of the configuration that is being prepared."""

    generation: int
    key: str
    data: bytes  # a value of that key in MessagePack


class Commit(Struct, tag=True, frozen=True):
    """To a worker that said `Prepared`, when all have: use it from now on."""

    generation: int


class Abort(Struct, tag=True, frozen=True):
    """To a worker: forget what was prepared, or is being prepared."""

    generation: int


class Ready(Struct, tag=True, frozen=True):
    """From a worker: every connection is served from now on."""


class Failed(Struct, tag=True, frozen=True):
    """From a worker: it cannot start, and why, in one line."""

    reason: str


class Leaving(Struct, tag=True, frozen=True):
    """From a worker: it got a signal of its own and drains as soon as `Close` tells it that it may."""


class Prepared(Struct, tag=True, frozen=True):
    """From a worker: it can use that configuration."""

    generation: int


class Refused(Struct, tag=True, frozen=True):
    """From a worker: it cannot use that configuration, and why."""

    generation: int
    problems: list[Problem]


class Committed(Struct, tag=True, frozen=True):
    """From a worker: it uses that configuration."""

    generation: int


class Asked(Struct, tag=True, frozen=True):
    """From a worker: what a subscriber asks its duty."""

    topic: str
    data: bytes  # nobody else reads it


class Event(Struct, tag=True, frozen=True):
    """From a worker: something that an operator wants to know."""

    name: str
    fields: dict[str, str | int | float | bool | None]


ToWorker = (
    Start
    | Wakers
    | Told
    | Drain
    | Close
    | Stop
    | ReopenLogs
    | ReadCertificates
    | Lend
    | GiveBack
    | Prepare
    | ConfigPart
    | Commit
    | Abort
)
FromWorker = Ready | Failed | Leaving | Prepared | Refused | Committed | Asked | Event
Message = ToWorker | FromWorker

encode = msgpack.Encoder().encode
decode = msgpack.Decoder(Message).decode
