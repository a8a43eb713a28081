from collections.abc import Iterable, Mapping

class Networks:
    """Addresses and CIDR networks of both families; ``address in networks`` takes O(bits of the address).

    Each network may have a mark, a number of 0 or more. An IPv4 address and its IPv4-mapped IPv6 form are the same
    address; other networks of IPv6 have no IPv4 address in them. A zone (``fe80::1%eth0``) is ignored. What is no
    address is in no network. Raises ValueError for a network that cannot be read.
    """

    def __init__(self, networks: Iterable[str] | Mapping[str, int] = ()) -> None: ...
    def get(self, address: str) -> int | None:
        """The mark of the most specific network with that address in it; None where there is none."""
    def __contains__(self, address: object) -> bool: ...
    def __bool__(self) -> bool: ...
