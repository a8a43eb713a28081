"""The key ``ip`` of a route: networks that may use it."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import Network, about
from fastgate.config.schema.table import Table


class IP(Table, frozen=True, kw_only=True):
    """Client addresses that may use a route. The most specific network that contains the address decides.

    The address is that of the peer, or the one that a proxy of `gateway.trusted_proxies` reports. An IPv4 address is
    only in IPv4 networks, even if it is written as `::ffff:10.0.0.1`. The peer of a Unix socket has no address.
    """

    allow: Annotated[
        list[Network],
        about(
            "Networks that are allowed. If there is one, addresses in no network are refused.",
            examples=[["10.0.0.0/8", "2001:db8::/32"]],
            also=["allowed", "whitelist", "allowlist", "whitelist_source_range", "source_range", "permit"],
        ),
    ] = field(default_factory=list)
    deny: Annotated[
        list[Network],
        about(
            "Networks that are refused.",
            examples=[["10.1.0.0/16"]],
            also=["denied", "blacklist", "denylist", "blocklist", "block"],
        ),
    ] = field(default_factory=list)

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.allow == [] and self.deny == []:
            yield (), "is empty: set allow or deny"
        for number, network in enumerate(self.deny):
            if network and network in list(self.allow):
                yield ("deny", number), f"{network} is also in allow"


IPKey = Annotated[
    IP | None,
    about(
        "Client addresses that may use the route. Absent: all.",
        examples=[{"allow": ["10.0.0.0/8"]}],
        policy=True,
        also=["ip_restriction", "ip_allow", "ip_allowlist", "ip_whitelist", "ipfilter", "allow", "deny"],
    ),
]
