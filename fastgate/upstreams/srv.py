"""SRV records as targets (RFC 2782).

The records of the lowest priority are the targets, those of every other priority their backups. A weight of 0 ("a very
small chance") becomes 1, the least that a target can have; where one is above the most that a target can have, all are
made smaller by the same share.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fastgate.upstreams.lookup import ServiceRecord

_MOST = 1000


class Service(NamedTuple):
    """One target that an SRV record leads to."""

    address: str
    port: int
    weight: int
    """1 to 1000."""
    backup: bool
    authority: str
    """The name that the record gives, for the Host field and for TLS."""


def services(records: Iterable[ServiceRecord], addresses: Mapping[str, Sequence[str]]) -> list[Service]:
    """The targets in order of priority and name; ``addresses`` are those of each record's target.

    Where several records lead to one address and port, the first counts. Whether a target is a backup goes by all
    records, those without addresses too: a name that does not resolve makes no backup a primary.
    """
    ordered = sorted(records, key=lambda record: (record.priority, record.target, record.port, -record.weight))
    scale = max([_MOST, *(record.weight for record in ordered)])
    found: dict[tuple[str, int], Service] = {}
    for record in ordered:
        backup = record.priority > ordered[0].priority
        for address in addresses.get(record.target, ()):
            weight = max(1, record.weight * _MOST // scale)
            service = Service(address, record.port, weight, backup, record.target.removesuffix("."))
            found.setdefault((address, record.port), service)
    return list(found.values())
