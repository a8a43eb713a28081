"""Heads and field values for the tests of the cache's rules, drawn with a seed that is printed."""

import random
from collections.abc import Callable, Iterator, Sequence

from core.reference_cache import Fields

HEADS = 10_000
"""Generated heads a run."""

MUTATED = 20_000
MUTATED_LONG = 1_000_000


def seeded(seed: int | None = None) -> random.Random:
    """A generator whose seed is printed: pytest shows it where a test fails."""
    seed = random.randrange(2**32) if seed is None else seed
    print(f"seed {seed}")
    return random.Random(seed)


def answer_head(fields: Fields, status: int = 200) -> bytes:
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"HTTP/1.1 %d \r\n%b\r\n" % (status, lines)


def request_head(fields: Fields, method: bytes = b"GET", target: bytes = b"/") -> bytes:
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"%b %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, target, lines)


def mutated(draw: random.Random, text: bytes, alphabet: bytes) -> bytes:
    """A text with some bytes replaced, inserted, removed or doubled."""
    data = bytearray(text)
    for _ in range(draw.randint(1, 3)):
        at = draw.randint(0, len(data))
        kind = draw.randrange(5)
        if kind == 0 and data:
            data[at - 1] = draw.choice(alphabet)
        elif kind == 1:
            data.insert(at, draw.choice(alphabet))
        elif kind == 2 and data:
            del data[at - 1]
        elif kind == 3:
            data[at:at] = data[at : at + draw.randint(1, 8)]
        else:
            del data[at:]
    return bytes(data)


def mutations(
    draw: random.Random, count: int, seeds: Sequence[bytes] | Callable[[], bytes], alphabet: bytes
) -> Iterator[bytes]:
    """Mutated texts; ``alphabet`` has the bytes that mean something to the parser."""
    for _ in range(count):
        seed = seeds() if callable(seeds) else draw.choice(seeds)
        yield mutated(draw, seed, alphabet)


def in_a_field(text: bytes) -> bytes:
    """What of a text can stand in a field: white space at the ends is not part of the value."""
    return bytes(byte for byte in text if byte == 9 or 32 <= byte != 127).strip(b" \t")
