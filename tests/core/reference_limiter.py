"""What the three kinds of limit mean, in plain Python: exact numbers, no clock, no sharing, no end of memory."""

from bisect import bisect_left
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
    overdraft: int = 0
    tokens: Fraction = field(init=False)
    at: int = 0

    def __post_init__(self) -> None:
        self.tokens = Fraction(self.burst)

    def fill(self, now: int) -> None:
        self.tokens = min(Fraction(self.burst), self.tokens + Fraction((now - self.at) * self.rate, self.per))
        self.at = now

    def fits(self, amount: int) -> bool:
        """More than a whole bucket waits for a full one."""
        return self.tokens >= min(amount, self.burst)

    def use(self, amount: int) -> None:
        self.tokens = max(min(self.tokens - amount, Fraction(self.burst)), min(self.tokens, Fraction(-self.overdraft)))

    def say(self, admitted: bool, amount: int) -> Said:
        lacking = max(min(amount, self.burst) - self.tokens, Fraction(0))
        return Said(
            admitted=admitted,
            remaining=max(floor(self.tokens), 0),
            reset=up_ms((self.burst - self.tokens) * self.per / self.rate),
            retry_after=0 if admitted else up_ms(lacking * self.per / self.rate),
        )

    def take(self, now: int, amount: int = 1) -> Said:
        self.fill(now)
        if not self.fits(amount):
            return self.say(False, amount)
        self.use(amount)
        return self.say(True, amount)

    def peek(self, now: int, amount: int = 1) -> Said:
        self.fill(now)
        return self.say(self.fits(amount), amount)

    def put_back(self, now: int) -> None:
        self.adjust(now, 1, 0, now)

    def adjust(self, taken_at: int, taken: int, actual: int, now: int) -> None:
        self.fill(now)
        self.use(actual - taken)

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
        remaining = max(self.rate - self.counts.get(self.number(now), 0), 0)
        return Said(admitted, remaining, left, 0 if admitted else left)

    def fits(self, now: int, amount: int) -> bool:
        """More than the limit waits for a window in which nothing was admitted."""
        count = self.counts.get(self.number(now), 0)
        return count == 0 or count + amount <= self.rate

    def take(self, now: int, amount: int = 1) -> Said:
        fits = self.fits(now, amount)
        if fits:
            self.counts[self.number(now)] = self.counts.get(self.number(now), 0) + amount
        return self.say(now, fits)

    def peek(self, now: int, amount: int = 1) -> Said:
        return self.say(now, self.fits(now, amount))

    def put_back(self, now: int) -> None:
        self.adjust(now, 1, 0, now)

    def adjust(self, taken_at: int, taken: int, actual: int, now: int) -> None:
        number = self.number(taken_at)
        self.counts[number] = max(self.counts.get(number, 0) + actual - taken, 0)

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

    def inside(self, now: int) -> list[int]:
        return [stamp for stamp in self.stamps if now - stamp < self.per]

    def say(self, now: int, admitted: bool, amount: int) -> Said:
        inside = self.inside(now)[-self.rate :]
        # Enough have left when that one has.
        wait = up_ms(self.stamps[-(self.rate - amount + 1)] + self.per - now) if not admitted else 0
        return Said(admitted, self.rate - len(inside), up_ms(inside[0] + self.per - now) if inside else 0, wait)

    def fits(self, now: int, amount: int) -> bool:
        return len(self.inside(now)) + amount <= self.rate

    def take(self, now: int, amount: int = 1) -> Said:
        """More than the limit at one time is no more than all of it: it would leave together."""
        amount = min(amount, self.rate)
        fits = self.fits(now, amount)
        if fits:
            self.stamps += [now] * amount
        return self.say(now, fits, amount)

    def peek(self, now: int, amount: int = 1) -> Said:
        amount = min(amount, self.rate)
        return self.say(now, self.fits(now, amount), amount)

    def put_back(self, now: int) -> None:
        if self.stamps:
            self.stamps.pop()

    def adjust(self, taken_at: int, taken: int, actual: int, now: int) -> None:
        if now - taken_at >= self.per:
            return
        more = min(actual, self.rate) - min(taken, self.rate)
        if more > 0:
            self.stamps += [max(taken_at, *self.stamps[-1:])] * more
        else:
            first = min(bisect_left(self.stamps, taken_at), len(self.stamps) + more)
            del self.stamps[first : first - more]


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
