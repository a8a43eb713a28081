"""A set of networks, asked for every connection whether it contains an address."""

from bisect import bisect_right
from collections.abc import Iterable
from socket import AF_INET, AF_INET6, inet_pton

_MAPPED = 0xFFFF << 32  # ::ffff:0:0/96, where IPv4 addresses lie in IPv6 (RFC 4291 section 2.5.5.2)


class Networks:
    """Addresses and CIDR networks of both families; ``address in networks`` takes O(log n).

    An IPv4 address and its IPv4-mapped IPv6 form are the same address. A zone (``fe80::1%eth0``) is ignored. What is
    no address is in no set. Raises ValueError for a network that cannot be read.
    """

    __slots__ = ("_first", "_last")

    def __init__(self, networks: Iterable[str]) -> None:
        self._first: list[int] = []
        self._last: list[int] = []
        for first, last in sorted(_range(network) for network in networks):
            if self._last and first <= self._last[-1] + 1:
                self._last[-1] = max(last, self._last[-1])
            else:
                self._first.append(first)
                self._last.append(last)

    def __contains__(self, address: object) -> bool:
        if not self._first or not isinstance(address, str):
            return False
        try:
            number = _number(address.partition("%")[0])
        except OSError:
            return False
        index = bisect_right(self._first, number) - 1
        return index >= 0 and number <= self._last[index]

    def __bool__(self) -> bool:
        return bool(self._first)


def _number(address: str) -> int:
    if ":" in address:
        return int.from_bytes(inet_pton(AF_INET6, address), "big")
    return _MAPPED | int.from_bytes(inet_pton(AF_INET, address), "big")


def _range(network: str) -> tuple[int, int]:
    address, slash, length = network.partition("/")
    bits = 128 if ":" in address else 32
    try:
        first = _number(address)
        prefix = int(length) if slash else bits
    except (OSError, ValueError):
        raise ValueError(f'"{network}" is no network') from None
    if not 0 <= prefix <= bits:
        raise ValueError(f'"{network}" is no network')
    rest = (1 << (bits - prefix)) - 1
    return first & ~rest, first | rest
