"""What the three kinds of limit mean, in plain Python: exact numbers, no clock, no sharing, no end of memory."""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

from fastgate._core.limiter import FixedWindow

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
