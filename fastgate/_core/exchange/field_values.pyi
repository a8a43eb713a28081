from collections.abc import Iterable

VARIABLES: dict[str, int]
"""The variables of a `Template` by the names that a configuration uses."""

class Template:
    """A field value: literal bytes and (variable, argument) pairs, a variable being one of `VARIABLES`."""

    def __init__(self, parts: Iterable[bytes | tuple[int, str]]) -> None: ...
    @property
    def parts(self) -> tuple[bytes | tuple[int, str], ...]: ...
