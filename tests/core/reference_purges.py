"""What was purged, exactly: every purge is remembered, and an object is compared with all of them."""

from dataclasses import dataclass, field


@dataclass
class Made:
    """An object: the number at which its request was sent, and what it may be purged by."""

    number: int
    uri: int
    tags: list[int]
    address: bytes
    path: int
    checked: int


@dataclass
class ReferencePurges:
    tags: dict[int, list[int]] = field(default_factory=dict)
    prefixes: dict[tuple[bytes, bool], list[int]] = field(default_factory=dict)
    everything: list[int] = field(default_factory=lambda: [0, 0])

    def purge_tag(self, number: int, tag: int, soft: bool) -> None:
        self.tags.setdefault(tag, [0, 0])[soft] = number

    def purge_prefix(self, number: int, prefix: bytes, path: bool, soft: bool) -> None:
        self.prefixes.setdefault((prefix, path), [0, 0])[soft] = number

    def purge_everything(self, number: int, soft: bool) -> None:
        self.everything[soft] = number

    def numbers(self, made: Made) -> tuple[int, int]:
        """The highest hard and soft number that meet an object."""
        found = [self.everything, *(self.tags.get(tag, [0, 0]) for tag in [made.uri, *made.tags])]
        for (prefix, path), numbers in self.prefixes.items():
            if made.address[made.path if path else 0 :].startswith(prefix):
                found.append(numbers)
        return max(hard for hard, _ in found), max(soft for _, soft in found)

    def state(self, made: Made) -> str:
        hard, soft = self.numbers(made)
        return "purged" if made.number < hard else "stale" if made.number < soft else "valid"
