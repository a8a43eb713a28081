"""Plain models of the balancers: slow, exact, and short enough to be read against their descriptions."""

import bisect
import math
from collections.abc import Callable, Collection, Sequence
from fractions import Fraction

WORD = (1 << 64) - 1


def mix(word: int) -> int:
    """SplitMix64: one step and its output."""
    word = (word + 0x9E3779B97F4A7C15) & WORD
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & WORD
    return word ^ (word >> 31)


def hash_of(data: bytes) -> int:
    """FNV-1a with 64 bits, mixed."""
    word = 0xCBF29CE484222325
    for byte in data:
        word = (word ^ byte) * 0x100000001B3 & WORD
    return mix(word) or 1


def candidates(weights: Sequence[float], skip: Collection[int]) -> list[int]:
    """Who may be picked: the members in rotation that are not skipped, or else all in rotation."""
    eligible = [number for number, weight in enumerate(weights) if weight]
    return [number for number in eligible if number not in skip] or eligible


class Turns:
    """Round robin: the next candidate in the order of numbers, around the end."""

    def __init__(self, weights: Sequence[float], offset: int = 0) -> None:
        self.weights = list(weights)
        self.position = offset % len(weights) if weights else 0

    def pick(self, skip: Collection[int] = ()) -> int:
        among = candidates(self.weights, skip)
        if not among:
            return -1
        best = min(among, key=lambda number: (number - self.position) % len(self.weights))
        self.position = (best + 1) % len(self.weights)
        return best


class Smooth:
    """nginx's smooth weighted round robin, also where weights are equal."""

    def __init__(self, weights: Sequence[int]) -> None:
        self.weights = list(weights)
        self.current = [0] * len(weights)

    def pick(self, skip: Collection[int] = ()) -> int:
        among = candidates(self.weights, skip)
        if not among:
            return -1
        for number in among:
            self.current[number] += self.weights[number]
        best = max(among, key=lambda number: (self.current[number], -number))
        self.current[best] -= sum(self.weights[number] for number in among)
        return best


class Least(Turns):
    """Least connections: of the candidates with the least (in flight + 1) / weight the next in turn."""

    def __init__(self, weights: Sequence[int], in_flight: list[int], offset: int = 0) -> None:
        super().__init__(weights, offset)
        self.in_flight = in_flight

    def pick(self, skip: Collection[int] = ()) -> int:
        among = candidates(self.weights, skip)
        load = {number: Fraction(self.in_flight[number] + 1, self.weights[number]) for number in among}
        least = {number for number in among if load[number] == min(load.values())}
        return super().pick(set(range(len(self.weights))) - least)


def redrawn(draw: Callable[[int], int], random: int, allowed: Collection[int], weights: Sequence[float]) -> int:
    """What is drawn, again and again from the mixed word, until it is allowed; after 16 draws the next that is."""
    number = 0
    for _ in range(16):
        number = draw(random)
        if number in allowed:
            return number
        random = mix(random)
    return min(allowed, key=lambda other: (other - number) % len(weights))


class Ring:
    """Consistent hashing over a list of (name, weight), with the load of each, by name. A bound of 0 is none."""

    def __init__(self, members: Sequence[tuple[str, int]], bound: Fraction = Fraction(0)) -> None:
        self.members = dict(members)
        self.bound = bound
        self.points = sorted(
            (mix((mix(hash_of(name.encode())) + ordinal) & WORD) >> 16, name)
            for name, weight in members
            for ordinal in range(160 * weight)
        )

    def limit(self, name: str, total: int) -> int:
        """The most requests a member may have when there are ``total`` in all."""
        return math.ceil(self.bound * total * Fraction(self.members[name], sum(self.members.values())))

    def pick(self, key: int, load: dict[str, int], skip: Collection[str] = ()) -> str:
        total = sum(load[name] for name in self.members) + 1
        among = set(self.members) - set(skip) or set(self.members)
        start = bisect.bisect_left(self.points, (mix(key) >> 16, ""))
        for _, name in self.points[start:] + self.points[:start]:
            if name in among and (not self.bound or load[name] + 1 <= self.limit(name, total)):
                return name
        return min(among, key=lambda name: (Fraction(load[name], self.members[name]), list(self.members).index(name)))
