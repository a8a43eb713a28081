class Histogram:
    """Durations in microseconds, counted in buckets; any percentile of them is within 1 % of the truth."""

    def __init__(self) -> None: ...
    def record(self, microseconds: int) -> None:
        """Counts one duration. Raises ValueError when it is negative."""
    def merge(self, other: Histogram) -> None:
        """Adds what the other one counted."""
    def percentile(self, percent: float) -> float:
        """The duration in microseconds that ``percent`` of the recorded ones do not exceed; 0.0 when there is none.

        It is the nearest rank: ``percentile(50)`` of 1, 2, 3, 4 is 2. Raises ValueError outside 0 to 100.
        """
    def buckets(self) -> list[tuple[int, int, int]]:
        """The buckets that counted something, in order: (lowest value, highest value, count)."""
    def count_up_to(self, microseconds: int) -> int:
        """How many were recorded in the buckets up to the one of this value, that one included."""
    @property
    def count(self) -> int:
        """How many durations were recorded."""
    @property
    def sum(self) -> int:
        """All durations together, in microseconds; exact."""
    @property
    def mean(self) -> float:
        """The average in microseconds; 0.0 when nothing was recorded."""
    def __len__(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...
