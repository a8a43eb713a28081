"""Purges against a model that remembers every one; between processes: test_purges_processes.py."""

import random
from typing import Any

import pytest
from core.purge_workers import LAYOUT, purges_in
from core.reference_purges import Made, ReferencePurges
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.memory.cache.purges import Purges, purges_size
from fastgate._core.memory.region import SegmentError
from fastgate._core.probes.purge_probe import buckets_of, damage, everything_of, look, rules_of, sizes_of
from fastgate._core.probes.shared import region_in

WORSE = ("valid", "stale", "purged")
SMALL = 1 << 17     # a very small store: 80 tags, and a quarter of a map is 512 URIs


class Pair:
    """Purges, and the model of them; objects that both look at."""

    def __init__(self, store: int) -> None:
        self.purges = purges_in(store)
        self.model = ReferencePurges()
        self.objects: list[Made] = []

    def purge(self, kind: str, what: Any, path: bool, soft: bool) -> None:
        number = self.purges.number + 1
        if kind == "tag":
            self.purges.purge_tag(what, soft=soft)
            self.model.purge_tag(number, what, soft)
        elif kind == "prefix":
            self.purges.purge_prefix(what, path=path, soft=soft)
            self.model.purge_prefix(number, what, path, soft)
        elif kind == "everything":
            self.purges.purge_everything(soft=soft)
            self.model.purge_everything(number, soft)
        elif self.purges.invalidate(what):
            self.model.purge_tag(number, what, False)
        else:
            # Unneeded: there is nothing of this URI that could still be used.
            assert self.purges.number == number - 1
            assert all(self.state(made) == "purged" for made in self.objects if made.uri == what)

    def make(self, uri: int, tags: list[int], address: bytes, path: int) -> None:
        number = self.purges.begin(uri)
        self.objects.append(Made(number, uri, tags, address, path, number))

    def state(self, made: Made) -> str:
        state, made.checked = look(
            self.purges, made.number, [made.uri, *made.tags], made.address, made.path, made.checked
        )
        return state

    def look_at(self, made: Made) -> bool:
        """Nothing is missed; what is worse than it should be is so for a floor, a common prefix or a turn of maps."""
        state, right = self.state(made), self.model.state(made)
        assert WORSE.index(state) >= WORSE.index(right), made
        if state != right:
            hard, soft = self.excuses(made)
            assert made.number < (hard if state == "purged" else soft), made
        return state == right

    def excuses(self, made: Made) -> tuple[int, int]:
        """The highest numbers that have a right to meet it without being meant for it."""
        floors = [floor for tag in [made.uri, *made.tags] for _, floor, _ in buckets_of(self.purges, tag)]
        merged = [
            numbers
            for (text, path), numbers in rules_of(self.purges).items()
            if (text, path) not in self.model.prefixes and made.address[made.path if path else 0 :].startswith(text)
        ]
        found = [*floors, *merged, everything_of(self.purges)]
        return max(hard for hard, _ in found), max(soft for _, soft in found)


# -- with room for all: exact ------------------------------------------------------------------------------------------

TEXTS = st.sampled_from([b"", b"/", b"/a", b"/a/b", b"/b", b"http://x/", b"http://x/a", b"http://", b"https://y/a/b/c"])
ADDRESSES = st.sampled_from([(b"http://x/a/b?c", 8), (b"http://x/", 8), (b"https://y/a/b/c", 9), (b"", 0), (b"/a", 0)])
TAGS = st.integers(1, 12)
STEPS = st.one_of(
    st.tuples(st.just("make"), TAGS, st.lists(TAGS, max_size=4), ADDRESSES),
    st.tuples(st.just("tag"), TAGS, st.booleans(), st.booleans()),
    st.tuples(st.just("prefix"), TEXTS, st.booleans(), st.booleans()),
    st.tuples(st.sampled_from(["everything", "look", "look"]), st.none(), st.booleans(), st.booleans()),
    st.tuples(st.just("invalidate"), TAGS, st.booleans(), st.booleans()),
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=80))
def test_a_table_with_room_is_exact(steps: list[Any]) -> None:
    pair = Pair(1 << 20)
    for kind, what, more, last in steps:
        if kind == "make":
            pair.make(what, more, *last)
        elif kind == "look":
            for made in pair.objects:
                assert pair.look_at(made)
        else:
            pair.purge(kind, what, more, last)
    for made in pair.objects:
        assert pair.look_at(made)
    stats = pair.purges.stats()
    assert (stats.floors_raised, stats.prefixes_merged, stats.turns) == (0, 0, 0)


def test_an_object_is_looked_at_once_a_purge() -> None:
    purges = purges_in(1 << 20)
    number = purges.begin(1)
    assert look(purges, number, [1]) == ("valid", 0)
    purges.purge_tag(2)
    purges.purge_tag(3)
    assert look(purges, number, [1]) == ("valid", 2)
    # What was checked at the number of now is not looked at: here it would be found.
    assert look(purges, number, [2], checked=2) == ("valid", 2)
    assert look(purges, number, [2], checked=1) == ("purged", 1)
    assert look(purges, 2, [2]) == ("valid", 2)
    purges.purge_tag(1, soft=True)
    assert look(purges, number, [1]) == ("stale", 0)
    purges.purge_tag(1)
    assert look(purges, number, [1]) == ("purged", 0)
    assert purges.stats()[:4] == (4, 4, 0, 0)


def test_what_was_sent_before_a_purge_is_purged_and_what_was_sent_after_it_is_not() -> None:
    purges = purges_in(1 << 20)
    before = purges.begin(7)
    purges.purge_tag(7)
    after = purges.begin(7)
    assert [look(purges, number, [7])[0] for number in (before, after)] == ["purged", "valid"]


def test_kinds_of_tags_are_apart_and_hashes_are_the_same_in_all_processes() -> None:
    one, other = purges_in(1 << 20), purges_in(1 << 22)
    kinds = ("uri", "route", "host", "tag", "group")
    assert len({one.tag(kind, b"text") for kind in kinds}) == 5
    assert [one.tag(kind, b"text") for kind in kinds] == [other.tag(kind, b"text") for kind in kinds]
    with pytest.raises(ValueError, match="'color' is not a kind of tag: uri, route"):
        one.tag("color", b"text")
    with pytest.raises(ValueError, match="0 is not a valid tag"):
        one.purge_tag(0)


def test_a_prefix_that_is_too_long_purges_more() -> None:
    purges = purges_in(1 << 20)
    number = purges.begin(1)
    purges.purge_prefix(b"/" + b"a" * 300 + b"/x")
    assert look(purges, number, [], b"/" + b"a" * 227)[0] == "purged"
    assert look(purges, number, [], b"/" + b"a" * 226)[0] == "valid"


# -- without room: never missed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tags", "prefixes", "uris", "all"])
def test_a_table_without_room_misses_nothing(kind: str) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    draw = random.Random(seed)
    pair = Pair(SMALL)
    tags = [draw.randrange(1, 1 << 64) for _ in range(300)]
    uris = [draw.randrange(1, 1 << 64) for _ in range(100 if kind in ("tags", "prefixes") else 4000)]
    right = looked = 0

    def path() -> bytes:
        return b"".join(b"/%d" % draw.randrange(12) for _ in range(draw.choice([1, *8 * [2], *40 * [3]])))

    def make() -> None:
        address = draw.choice([b"http://x", b"http://y"]) + path()
        pair.make(draw.choice(uris), draw.sample(tags, draw.randrange(4)), address, 8)

    weights = {"tags": (8, 0, 0), "prefixes": (0, 8, 0), "uris": (0, 0, 8), "all": (3, 12, 3)}[kind]
    for step in range(5000 if kind == "uris" else 2000):
        make()
        what = draw.choices(["tag", "prefix", "invalidate", "nothing"], (*weights, 1 if kind == "prefixes" else 6))[0]
        soft = draw.random() < 0.3
        if what == "tag":
            pair.purge("tag", draw.choice(tags), False, soft)
        elif what == "prefix":
            on_path = draw.random() < 0.5
            pair.purge("prefix", path() if on_path else b"http://x" + path(), on_path, soft)
        elif what == "invalidate":
            pair.purge("invalidate", draw.choice(uris), False, False)
        if step % 100 == 0:
            pair.objects = pair.objects[-600:]
            for made in draw.sample(pair.objects, min(len(pair.objects), 150)):
                looked += 1
                right += pair.look_at(made)
            check_floors(pair, tags)
    stats = pair.purges.stats()
    print(f"{right} of {looked} as in the model; {stats}")
    assert stats.floors_raised > 0 or kind == "prefixes"
    assert stats.prefixes_merged > 0 or kind in ("tags", "uris")
    assert stats.turns > 0 or kind in ("tags", "prefixes")
    assert stats.unneeded > 0 or kind in ("tags", "prefixes")
    assert right > looked // 4


def check_floors(pair: Pair, tags: list[int]) -> None:
    """The oldest of a bucket is what goes: a floor is not above what stayed. A tag is in one place."""
    places: dict[int, set[int]] = {}
    for tag in tags:
        for number, floor, held in buckets_of(pair.purges, tag):
            for each, numbers in held.items():
                places.setdefault(each, set()).add(number)
                assert max(floor) <= max(numbers)
    assert all(len(numbers) == 1 for numbers in places.values())


def test_a_floor_is_raised_by_the_oldest() -> None:
    """One more than there is room for: what is forgotten is what was purged first."""
    purges = purges_in(SMALL)
    tags = random.Random(4).sample(range(1, 1 << 62), 1000)
    for number, tag in enumerate(tags):
        purges.purge_tag(tag)
        assert look(purges, number, [tag])[0] == "purged"
        assert look(purges, number + 1, [tag])[0] == "valid"
        if purges.stats().floors_raised:
            break
    assert 40 < number < 80 * 8
    floors = [floor for tag in tags for _, floor, _ in buckets_of(purges, tag)]
    assert 0 < max(hard for hard, _ in floors) < number // 2


def test_the_oldest_prefixes_become_their_common_one() -> None:
    purges = purges_in(1 << 20)
    for number in range(256):
        purges.purge_prefix(b"/%03d" % number)
    assert len(rules_of(purges)) == 256
    purges.purge_prefix(b"/new")
    rules = rules_of(purges)
    assert len(rules) == 256
    assert rules[b"/00", False] == (2, 0)
    assert look(purges, 1, [], b"/009")[0] == "purged"      # for nothing
    assert look(purges, 2, [], b"/00x")[0] == "valid"
    assert look(purges, 9, [], b"/009")[0] == "purged"      # 10 is its own
    assert purges.stats().prefixes_merged == 1
    # A shorter one that is newer makes the others unneeded.
    purges.purge_prefix(b"/")
    assert rules_of(purges) == {(b"/", False): (258, 0)}


def test_prefixes_with_nothing_in_common_become_everything() -> None:
    purges = purges_in(1 << 20)
    for number in range(257):
        purges.purge_prefix(bytes([number % 256]) + b"/%d" % number, soft=number == 1)
    assert everything_of(purges) == (1, 2)
    assert len(rules_of(purges)) == 255
    assert look(purges, 1, [], b"?")[0] == "stale"
    assert look(purges, 0, [], b"?")[0] == "purged"


def test_a_soft_prefix_does_not_replace_a_hard_one() -> None:
    purges = purges_in(1 << 20)
    number = purges.begin(1)
    purges.purge_prefix(b"/a/b")
    purges.purge_prefix(b"/a", soft=True)
    assert look(purges, number, [], b"/a/b")[0] == "purged"
    assert look(purges, number, [], b"/a/c")[0] == "stale"


# -- presence ----------------------------------------------------------------------------------------------------------


def test_an_uri_that_was_never_asked_for_costs_no_entry() -> None:
    purges = purges_in(1 << 20)
    uris = random.Random(1).sample(range(1, 1 << 62), 100_000)
    for uri in uris:
        purges.invalidate(uri)
    assert purges.stats()[:6] == (0, 0, 0, 0, 100_000, 0)
    number = purges.begin(uris[0])
    assert purges.invalidate(uris[0])
    assert look(purges, number, [uris[0]])[0] == "purged"


@pytest.mark.parametrize("store", [SMALL, 1 << 25], ids=["a slice", "several slices"])
def test_maps_turn_and_what_only_the_old_one_knew_is_purged(store: int) -> None:
    purges = purges_in(store)
    _, width, _ = sizes_of(purges)
    assert (width > 32768) == (store > SMALL)
    draw = random.Random(2)
    first = draw.randrange(1, 1 << 64)
    number = purges.begin(first)
    turns = 0
    kept: list[tuple[int, int]] = [(first, number)]
    while turns < 5:
        uri = draw.randrange(1, 1 << 64)
        kept.append((uri, purges.begin(uri)))
        if purges.stats().turns > turns:
            turns += 1
            if turns == 1:
                assert look(purges, number, [first])[0] == "valid"
                assert purges.invalidate(first)
            # Every URI whose object still counts is known to be present.
            sample = draw.sample(kept, 200) + kept[-200:]
            valid = [each for each in sample if look(purges, each[1], [each[0]])[0] == "valid"]
            assert len(valid) >= 200
            for uri, _ in valid:
                assert purges.invalidate(uri)
            if turns >= 2:
                assert look(purges, number, [first])[0] == "purged"
    assert purges.stats().turns == 5
    # A turn takes a quarter of the bits.
    assert 5 * width * 2 * 0.99 < len(kept) < 5 * width * 2 * 1.5


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [SMALL, SMALL + 64, 1 << 20, (1 << 20) + 4097, 1 << 28, 1 << 34])
def test_all_of_it_lies_in_its_region(store: int) -> None:
    size = purges_size(store)
    buckets, width, end = sizes_of(purges_in(store))
    assert end <= size
    assert size - end < 1024
    assert buckets * 8 > store / 64 / 27
    assert width * 2 > store / 256 * 0.9 or store < 1 << 20
    assert size <= store // 64 + store // 256 + 80_000


def test_a_region_that_is_too_small_or_another_one_is_refused() -> None:
    with pytest.raises(SegmentError, match="needs"):
        purges_in(0)
    with pytest.raises(SegmentError, match="'flights', not 'purges'"):
        Purges(region_in(-1, "flights", LAYOUT, 1 << 20, 1))
    with pytest.raises(SegmentError, match="two versions of fastgate met"):
        Purges(region_in(-1, "purges", LAYOUT + 1, 1 << 20, 1))


def test_memory_that_is_damaged_is_not_left() -> None:
    """Whatever stands in it: nothing is read or written elsewhere (the sanitizers see to that), and every call ends."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    draw = random.Random(seed)
    purges = purges_in(SMALL)
    for _ in range(1500):
        data = draw.choice([draw.randbytes(draw.randrange(1, 600)), b"\xff" * 300, b"\0" * 300])
        damage(purges, draw.choice([draw.randrange(88), draw.randrange(88, 68_000)]), data)
        text = draw.randbytes(draw.randrange(4)) + b"/a" * draw.randrange(150)
        for _ in range(3):
            purges.purge_prefix(text, path=draw.random() < 0.5, soft=draw.random() < 0.5)
            purges.purge_tag(draw.randrange(1, 1 << 64), soft=draw.random() < 0.5)
            purges.invalidate(draw.randrange(1, 1 << 64))
            number = purges.begin(draw.randrange(1, 1 << 64))
            assert look(purges, number, [draw.randrange(1, 1 << 64)], text, draw.randrange(400))[0] in WORSE
