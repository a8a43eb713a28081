"""The key ``ip`` of a route: networks that may use it."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import Network, about
from fastgate.config.schema.table import Table


class IP(Table, frozen=True, kw_only=True):
    """Who may use a route, by the address of the client. The most specific network with the address in it decides.

    The address is the peer's, or what a proxy of `gateway.trusted_proxies` says. An IPv4 address is only in networks
    of IPv4, also where it is written as `::ffff:10.0.0.1`. The peer of a Unix socket has no address.
    """

    allow: Annotated[
        list[Network],
        about(
            "Networks that may. If there is one, who is in none may not.",
            examples=[["10.0.0.0/8", "2001:db8::/32"]],
            also=["allowed", "whitelist", "allowlist", "whitelist_source_range", "source_range", "permit"],
        ),
    ] = field(default_factory=list)
    deny: Annotated[
        list[Network],
        about(
            "Networks that may not.",
            examples=[["10.1.0.0/16"]],
            also=["denied", "blacklist", "denylist", "blocklist", "block"],
        ),
    ] = field(default_factory=list)

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.allow == [] and self.deny == []:
            yield (), "says nothing: give it allow or deny"
        for number, network in enumerate(self.deny):
            if network and network in list(self.allow):
                yield ("deny", number), f"{network} is in allow too"


IPKey = Annotated[
    IP | None,
    about(
        "Who may use the route, by the address of the client. Absent: everybody.",
        examples=[{"allow": ["10.0.0.0/8"]}],
        policy=True,
        also=["ip_restriction", "ip_allow", "ip_allowlist", "ip_whitelist", "ipfilter", "allow", "deny"],
    ),
]
