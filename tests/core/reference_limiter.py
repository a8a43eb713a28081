"""What the three kinds of limit mean, in plain Python: exact numbers, no clock, no sharing, no end of memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

from fastgate._core.limits.rate import FixedWindow

S = 1_000_000_000
MS = 1_000_000
START = 1_000_000 * S


@dataclass(frozen=True)
class Said:
    """What a decision says, times in milliseconds."""

    admitted: bool
    remaining: int
    reset: int
    retry_after: int


def up_ms(ns: Fraction | int) -> int:
    return ceil(Fraction(ns) / MS)


@dataclass
class Bucket:
    """One token bucket: a pot of tokens that fills by ``rate`` a ``per`` up to ``burst``."""

    rate: int
    per: int  # nanoseconds
    burst: int
    tokens: Fraction = field(init=False)
    at: int = 0

    def __post_init__(self) -> None:
        self.tokens = Fraction(self.burst)

    def fill(self, now: int) -> None:
        self.tokens = min(Fraction(self.burst), self.tokens + Fraction((now - self.at) * self.rate, self.per))
        self.at = now

    def say(self, admitted: bool) -> Said:
        lacking = max(1 - self.tokens, Fraction(0))
        return Said(
            admitted=admitted,
            remaining=floor(self.tokens),
            reset=up_ms((self.burst - self.tokens) * self.per / self.rate),
            retry_after=0 if admitted else up_ms(lacking * self.per / self.rate),
        )

    def take(self, now: int) -> Said:
        self.fill(now)
        if self.tokens < 1:
            return self.say(False)
        self.tokens -= 1
        return self.say(True)

    def peek(self, now: int) -> Said:
        self.fill(now)
        return self.say(self.tokens >= 1)

    def put_back(self, now: int) -> None:
        self.fill(now)
        self.tokens = min(Fraction(self.burst), self.tokens + 1)

    def used(self, now: int) -> Fraction:
        """The share of the allowance that is used."""
        left = (self.burst - self.tokens) * self.per / self.rate - (now - self.at)
        return max(left * self.rate / (self.per * self.burst), Fraction(0))

    @property
    def whole(self) -> int:
        """What is admitted at once."""
        return self.burst

    def expires(self) -> int:
        """The first nanosecond at which it says nothing more than a new one would."""
        return floor(self.at + (self.burst - self.tokens) * self.per / self.rate) + 1


@dataclass
class Window:
    """One fixed window: a count that starts again at each border. ``border`` is one of them."""

    rate: int
    per: int
    border: int
    counts: dict[int, int] = field(default_factory=dict)

    def number(self, now: int) -> int:
        return (now - self.border) // self.per

    def say(self, now: int, admitted: bool) -> Said:
        left = up_ms((self.number(now) + 1) * self.per + self.border - now)
        return Said(admitted, self.rate - self.counts.get(self.number(now), 0), left, 0 if admitted else left)

    def take(self, now: int) -> Said:
        count = self.counts.get(self.number(now), 0)
        if count < self.rate:
            self.counts[self.number(now)] = count + 1
        return self.say(now, count < self.rate)

    def peek(self, now: int) -> Said:
        return self.say(now, self.counts.get(self.number(now), 0) < self.rate)

    def put_back(self, now: int) -> None:
        if self.counts.get(self.number(now), 0):
            self.counts[self.number(now)] -= 1

    def used(self, now: int) -> Fraction:
        return Fraction(self.counts[max(self.counts)], self.rate)

    @property
    def whole(self) -> int:
        return self.rate

    def expires(self) -> int:
        """The end of the last window. A limit may take it for up to 16 ms later."""
        return (max(self.counts) + 1) * self.per + self.border


@dataclass
class Log:
    """One sliding log: every admission, for ever."""

    rate: int
    per: int
    stamps: list[int] = field(default_factory=list)

    def say(self, now: int, admitted: bool) -> Said:
        inside = [stamp for stamp in self.stamps if now - stamp < self.per]
        wait = up_ms(self.stamps[-self.rate] + self.per - now) if not admitted else 0
        return Said(admitted, self.rate - len(inside), up_ms(inside[0] + self.per - now) if inside else 0, wait)

    def fits(self, now: int) -> bool:
        return sum(now - stamp < self.per for stamp in self.stamps) < self.rate

    def take(self, now: int) -> Said:
        fits = self.fits(now)
        if fits:
            self.stamps.append(now)
        return self.say(now, fits)

    def peek(self, now: int) -> Said:
        return self.say(now, self.fits(now))

    def put_back(self, now: int) -> None:
        if self.stamps:
            self.stamps.pop()


Name = tuple[str, str]
"""A limit's and a key's."""


@dataclass
class Room:
    """Memory for so many keys of any limits, of which every one may have to make room for every other one.

    Where several are worth the same, or nearly, it is left open which of them goes: ``peek(limit, key)`` is what the
    limit under test says now.
    """

    size: int
    peek: Callable[[str, str], Said]
    kept: dict[Name, Bucket | Window] = field(default_factory=dict)
    forgotten: int = 0
    lifted: int = 0

    def take(self, limit: str, key: str, now: int, new: Callable[[], Bucket | Window]) -> Said:
        """What a limit says to a request of a key; ``new`` makes what is known of one that was never seen."""
        if (limit, key) not in self.kept:
            self.kept = {name: model for name, model in self.kept.items() if model.expires() > now}
            if len(self.kept) == self.size:
                least = self.least_used(limit, now)
                self.forgotten += 1
                self.lifted += self.kept[least].used(now) > 1 - Fraction(1, self.kept[least].whole)
                del self.kept[least]
            self.kept[limit, key] = new()
        return self.kept[limit, key].take(now)

    def least_used(self, newcomer: str, now: int) -> Name:
        """The key with the least share used, halved for each other key of its limit and for a new one of that."""

        def worth(name: Name) -> Fraction:
            of_its_limit = [limit for limit, _ in self.kept if limit == name[0]]
            return self.kept[name].used(now) / 2 ** (len(of_its_limit) + (name[0] == newcomer))

        least = min(worth(name) for name in self.kept)
        equal = [name for name in self.kept if worth(name) <= least * (1 + Fraction(1, 10**9))]
        if len({name[0] for name in equal}) == 1 and all(worth(name) == least for name in equal):
            soonest = min(self.kept[name].expires() for name in equal)
            equal = [name for name in equal if self.kept[name].expires() == soonest]
        if len(equal) == 1:
            return equal[0]
        (one,) = [name for name in equal if self.peek(*name) != self.kept[name].peek(now)]
        return one


def most_in_a_window(stamps: list[int], per: int) -> int:
    """The largest number of time stamps in any half-open span of this length."""
    stamps = sorted(stamps)
    first = most = 0
    for last, stamp in enumerate(stamps):
        while stamp - stamps[first] >= per:
            first += 1
        most = max(most, last - first + 1)
    return most


def excess_over_bucket(stamps: list[int], rate: int, per: int, burst: int) -> Fraction:
    """By how many the fullest span holds more than ``burst + rate * its length / per``; never more than 0 if exact.

    Over all pairs at once: the count up to a stamp minus what flowed in by then, against the least such value before.
    """
    worst = Fraction(-burst)
    least: Fraction | None = None
    for number, stamp in enumerate(sorted(stamps)):
        level = number - Fraction(stamp * rate, per)
        least = level if least is None else min(least, level)
        worst = max(worst, level - least + 1 - burst)
    return worst


def border_of(limit: FixedWindow) -> int:
    """Where a window of this limit begins, to the nanosecond: the first instant after START that is in another."""

    def end(now: int) -> float:
        return now + limit.peek("border", now_ns=now).reset * S

    per = round(limit.per * S)
    first, low, high = end(START), START, START + per
    while low < high:
        middle = (low + high) // 2
        if end(middle) > first + per / 2:
            high = middle
        else:
            low = middle + 1
    return low
