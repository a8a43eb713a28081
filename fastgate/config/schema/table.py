"""The base of every table of the configuration."""

from collections.abc import Iterator

from msgspec import Struct

from fastgate.config.errors import PathKeys


class Table(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One table: its attributes are its keys.

    A class attribute ``one_of`` names keys of which exactly one must be given.
    """

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """Keys of this table that contradict each other, each with what is wrong with it.

        Is asked of half-read tables too, with `INVALID` (see `fastgate.config.read.walker`) in the place of what could
        not be read: false, and smaller or greater than nothing. So a fault must rest on a comparison that is true.
        """
        yield from ()

    def warnings(self) -> Iterator[tuple[PathKeys, str]]:
        """What is allowed and suspicious of a key of a route, as far as its table alone can know it."""
        yield from ()
