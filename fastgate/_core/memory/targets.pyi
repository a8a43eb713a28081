from fastgate._core.memory.region import Region

class TargetRows:
    """The rows of a region, ``size`` of them for ``slots`` workers. Raises SegmentError for a region of anything else.

    A row is what workers share about a target ("UPSTREAM\\0TARGET"), or about an upstream ("UPSTREAM\\0").
    """

    region: Region
    slots: int
    size: int
    def __init__(self, region: Region) -> None: ...
    def row(self, name: str) -> int:
        """The row of this name, which is entered when it is new. Every process gets the same answer.

        Raises SegmentError when the table is full.
        """
    def requests_in_flight(self, row: int) -> int:
        """The requests that all workers together have with a target at this moment."""
    def release(self, slot: int) -> None:
        """Nothing is in flight any more in this slot. To be called when the process of its worker is gone."""
