"""The keys of ``[state]`` and ``[cache]``: memory that all workers share, settled when the gateway starts."""

from typing import Annotated

from msgspec import Meta

from fastgate.config.schema.kinds import Size, about
from fastgate.config.schema.table import Table


class State(Table, frozen=True, kw_only=True):
    """The size of the memory that all workers share. The gateway takes memory only when it uses it."""

    rate_limit_entries: Annotated[
        Annotated[int, Meta(ge=1024, le=16_777_216)],
        about(
            "Clients that token buckets and fixed windows can tell apart at a time, over all limits, and as many more "
            "for keys that clients choose (header, cookie, param); 16 bytes each. When the memory is full, the gateway "
            "forgets a client that has used little of its allowance, and counts that.",
            also=["entries", "rate_limit_size", "limit_req_zone", "max_keys"],
        ),
    ] = 1_048_576
    rate_limit_stamps: Annotated[
        Annotated[int, Meta(ge=4096, le=268_435_456)],
        about(
            "Time stamps that sliding logs can keep, over all clients, and as many more for keys that clients choose; "
            "about 11 bytes each. A client needs as many as the limit's `rate`, rounded up to 32.",
            also=["stamps"],
        ),
    ] = 2_097_152
    concurrency_entries: Annotated[
        Annotated[int, Meta(ge=64, le=1_048_576)],
        about(
            "Clients or routes with requests in flight that `concurrency` can tell apart at a time, and as many more "
            "for keys that clients choose; 136 bytes each with up to 8 workers. When the memory is full, several are "
            "counted as one.",
            also=["limit_conn_zone"],
        ),
    ] = 65_536


class CacheTable(Table, frozen=True, kw_only=True):
    """The memory of the response cache, which all workers share. The gateway takes memory only when it uses it.

    The size is settled when the gateway starts.
    """

    max_bytes: Annotated[
        Size,
        about(
            "The most memory that stored answers take, with the index and all tables: at least about 1 MB, and 300 KB "
            "for each worker.",
            examples=["1GB"],
            also=["size", "max_size", "capacity", "total_max_size", "total-max-size"],
        ),
    ] = 256 * 1024 * 1024
