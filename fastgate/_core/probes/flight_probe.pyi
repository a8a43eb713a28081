from fastgate._core.memory.cache.flights import Flights, Waiter

def enter(
    flights: Flights, hash: int, number: int = 0, retired: tuple[int, int] | None = None, now: int | None = None
) -> tuple[str, tuple[int, int]]:
    """ "lead", "follow", "alone" or "full", and the ticket: row and life."""

def look(flights: Flights, ticket: tuple[int, int]) -> tuple[str, int, int, int, int, tuple[int, int, int, int]]:
    """State, slot of the owner, number, bytes filled, cause, place."""

def answered(
    flights: Flights, ticket: tuple[int, int], place: tuple[int, int, int, int] = (0, 0, 0, 0), filled: int = 0
) -> bool: ...
def fill(flights: Flights, ticket: tuple[int, int], filled: int) -> bool: ...
def complete(flights: Flights, ticket: tuple[int, int]) -> bool: ...
def refuse(flights: Flights, ticket: tuple[int, int], until_ms: int) -> bool: ...
def fail(flights: Flights, ticket: tuple[int, int], cause: int) -> bool: ...
def give_up(flights: Flights, ticket: tuple[int, int]) -> bool: ...
def take_over(flights: Flights, ticket: tuple[int, int], number: int) -> bool: ...
def dawdle(flights: Flights) -> None:
    """From now on a waiter gives the processor away between its last look and the bit that it sets."""

class Follower(Waiter):
    """Waits for news of a flight, and knows what it said at last."""

    flights: Flights
    def __init__(self, flights: Flights, ticket: tuple[int, int]) -> None: ...
    def look(self) -> tuple[str, int]:
        """State and bytes filled, which it knows from now on."""
    def wait(self) -> bool:
        """True: it waits; False: there is something else than what it knows."""
    def leave(self) -> None: ...
    def has_news(self) -> bool:
        """Whether there is something else than what it knows."""
    def is_waiting(self) -> bool: ...
    def on_told(self, state: str, filled: int) -> None:
        """What a test does with the news."""

def flood_flights(
    flights: Flights, seed: int, until_ms: int, keys: int, board: memoryview
) -> tuple[int, int, int, int]:
    """Leads and follows flights of one bucket without a pause until this time of CLOCK_MONOTONIC.

    How often it led, followed and did neither, and how often another one led meanwhile. ``board`` has a 64-bit word for
    each key: who leads.
    """

def waiting(flights: Flights) -> int:
    """How many wait in this process."""

def swap(board: memoryview, index: int, expected: int, new: int) -> bool:
    """Swaps a 64-bit word if it is as expected."""

def add(board: memoryview, index: int, amount: int) -> int:
    """Adds to a 64-bit word; what it was before."""
