"""Values of `SharedCache` with tags: a purge holds in all processes, and for what began to be made before it."""

import os
import random
import subprocess
import sys

import pytest
from core.cache_stores import MB
from core.processes import output_of, release

from fastgate.cache import SharedCache


def beside(cache: SharedCache, slot: int | None = None) -> SharedCache:
    return SharedCache.attach(os.dup(cache.fd), slot=slot)


def test_a_purge_takes_what_has_the_tag_and_nothing_else() -> None:
    cache = SharedCache.create(8 * MB, slots=2)
    others = [cache, beside(cache, 1), beside(cache)]
    cache.put(b"page", b"1", tags=["user 7", "pages"])
    cache.put(b"part", b"2", tags=("pages", "ü"))
    cache.put(b"large", bytes(200_000), tags=["user 7"])
    cache.put(b"plain", b"3")
    held = cache.pin(b"large")
    others[2].purge("user 7")
    for each in others:
        assert (each.get(b"page"), each.get(b"large"), b"page" in each) == (None, None, False)
        assert (each.get(b"part"), each.get(b"plain")) == (b"2", b"3")
        assert each.pop(b"page") is None
        assert not each.delete(b"page")
    assert others[1].pin(b"page") is None
    assert b"".join(held.parts) == bytes(200_000), "what is pinned stays as it is"
    held.close()
    # What is stored from now on is found.
    assert others[1].put(b"page", b"again", tags=["user 7"])
    assert cache.get(b"page") == b"again"
    cache.purge("ü")
    assert cache.get(b"part") is None
    cache.purge("pages")
    assert (cache.get(b"page"), cache.get(b"plain")) == (b"again", b"3")
    assert cache.stats()["objects"] == 2, "what was found to be purged is removed"


def test_what_is_met_after_a_purge_is_not_looked_up_again_until_the_next() -> None:
    """It keeps at which purge it was found to be valid."""
    cache = SharedCache.create(4 * MB)
    cache.put(b"key", b"value", tags=["a", "b"])
    for number in range(40):
        cache.purge("other" if number % 2 else f"other {number}")
        for _ in range(3):
            assert cache.get(b"key") == b"value"
    cache.purge("b")
    assert cache.get(b"key") is None


def test_purge_everything_and_clear() -> None:
    cache = SharedCache.create(4 * MB)
    began = cache.moment()
    for ending, late in ((cache.purge_everything, False), (cache.clear, True)):
        cache.put(b"tagged", b"1", tags=["a"])
        cache.put(b"plain", b"2")
        began = cache.moment()
        ending()
        assert (cache.get(b"tagged"), cache.get(b"plain")) == (None, None)
        # What began to be made before: clear() does not know of it.
        assert cache.put(b"late", b"3", since=began) is late
        assert (b"late" in cache) is late
        cache.put(b"plain", b"4")
        assert cache.get(b"plain") == b"4"


def test_a_value_that_was_made_before_a_purge_is_not_stored_after_it() -> None:
    cache = SharedCache.create(4 * MB, slots=2)
    other = beside(cache, 1)
    cache.put(b"key", b"before")
    began = cache.moment()
    other.purge("a")
    assert not cache.put(b"key", b"old", tags=["b", "a"], since=began)
    assert cache.get(b"key") is None, "nor is there what it would have replaced"
    assert cache.put(b"key", b"of something else", tags=["b"], since=began)
    assert other.get(b"key") == b"of something else"
    # A purge that comes after it was stored holds as well.
    other.purge("b")
    assert cache.get(b"key") is None
    assert cache.put(b"key", b"new", tags=["a", "b"], since=cache.moment())
    assert cache.put(b"key", b"new", tags=["a", "b"])
    assert other.get(b"key") == b"new"
    # Of two, the one that began later stays.
    assert cache.put(b"two", b"later", since=cache.moment())
    cache.put(b"two", b"earlier", since=began)
    assert cache.get(b"two") == b"later"


def test_tags_are_bounded_and_have_to_be_texts() -> None:
    cache = SharedCache.create(4 * MB)
    many = [f"{number}" for number in range(64)]
    assert cache.put(b"key", b"value", tags=many)
    for tag in ("other", "64", "063"):
        cache.purge(tag)
        assert cache.get(b"key") == b"value"
    cache.purge("63")
    assert cache.get(b"key") is None
    for wrong in ([*many, "more"], ["\udc80"]):
        with pytest.raises(ValueError, match="at most 64|surrogates"):
            cache.put(b"key", b"", tags=wrong)
    for none in ("tag", b"tag", [1], [None]):
        with pytest.raises(TypeError):
            cache.put(b"key", b"", tags=none)  # type: ignore[arg-type]
    for since in (-1, cache.moment() + 1):
        with pytest.raises(ValueError, match=f"since: {since} is not a moment that has come"):
            cache.put(b"key", b"", since=since)
    with pytest.raises(TypeError):
        cache.purge(b"tag")  # type: ignore[arg-type]
    assert cache.put(b"empty", b"1", tags=[""])
    cache.purge("")
    assert b"empty" not in cache


@pytest.mark.parametrize("size", [64 * MB, 1_610_000], ids=["all fits", "much too small"])
def test_a_dictionary_and_the_cache_say_the_same(size: int) -> None:
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    draw = random.Random(seed)
    cache = SharedCache.create(size, slots=2)
    both, fits = (cache, beside(cache, 1)), size > 8 * MB
    model: dict[bytes, tuple[bytes, int, set[str]]] = {}
    purged: dict[str, int] = {}
    everything = moment = hits = refused = 0
    names = [f"tag {number}" for number in range(12)]

    def is_good(since: int, tags: set[str]) -> bool:
        return since >= max([everything, *(purged.get(tag, 0) for tag in tags)])

    for _ in range(15_000):
        key, each = b"key %d" % draw.randrange(150), draw.choice(both)
        match draw.randrange(12):
            case 0 | 1 | 2 | 3:
                value = draw.randbytes(draw.choice((draw.randrange(100), draw.randrange(20_000))))
                tags = set(draw.sample(names, draw.randrange(4)))
                # In the small one it is not known whether what began later is still there.
                since = max(moment - draw.choice((0, 0, 0, 1, 5)), 0) if fits else moment
                stored = each.put(key, value, tags=tags, since=since if draw.random() < 0.7 or since < moment else None)
                assert not stored or is_good(since, tags)
                refused += not stored
                if not stored:
                    assert not (fits and is_good(since, tags))
                    model.pop(key, None)
                elif key not in model or model[key][1] <= since:
                    model[key] = value, since, tags
            case 4 if draw.random() < 0.3:
                name = draw.choice(names)
                each.purge(name)
                moment += 1
                purged[name] = moment
            case 5 if draw.random() < 0.02:
                each.purge_everything()
                moment += 1
                everything = moment
            case 6:
                there = each.delete(key)
                known = model.pop(key, None)
                assert there == (known is not None and is_good(*known[1:])) or not (there or fits)
            case _:
                found, expected = each.get(key), model.get(key)
                if found is None:
                    # A purged one is removed when it is met; what was stored meanwhile with an earlier moment is not.
                    assert not fits or expected is None or not is_good(*expected[1:])
                    model.pop(key, None)
                else:
                    assert expected is not None
                    assert found == expected[0]
                    assert is_good(*expected[1:])
                    hits += 1
        assert each.moment() == moment
    assert hits > 1000
    assert refused > 20 or not fits


SHARE = """
import mmap, random, time
from fastgate.cache import SharedCache
words = memoryview(mmap.mmap({board}, 4096)).cast("Q")
cache = SharedCache.attach({fd}, slot={slot})
draw = random.Random({slot})
print("ready", flush=True)
input()
found = made = wrong = 0
end = time.monotonic() + 0.8
while time.monotonic() < end:
    for _ in range(50):
        tag = draw.randrange(8)
        if tag % 4 == {slot} and draw.random() < 0.2:
            # The truth changes, then what was made of it is purged, then it is said that it was.
            words[tag] += 1
            cache.purge(f"tag {{tag}}")
            words[64 + tag] = words[tag]
        least = words[64 + tag]
        value = cache.get(b"%d" % tag)
        if value is None:
            since = cache.moment()
            value = b"%d" % words[tag]
            if draw.random() < 0.3:
                time.sleep(0.0001)
            cache.put(b"%d" % tag, value, tags=["other", f"tag {{tag}}"], since=since)
            made += 1
        else:
            found += 1
            wrong += int(value) < least
print(found, made, wrong)
"""


def race() -> list[int]:
    """Hits, values that were made, and hits that were older than a purge that had returned before."""
    cache = SharedCache.create(8 * MB, slots=5, slot=4)
    memory = os.memfd_create("truth")
    os.ftruncate(memory, 4096)
    try:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", SHARE.format(board=memory, fd=cache.fd, slot=slot)],
                pass_fds=[memory, cache.fd],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
            for slot in range(4)
        ]
        release(processes)
        return [sum(column) for column in zip(*(map(int, output_of(each).split()) for each in processes), strict=True)]
    finally:
        os.close(memory)


def test_processes_that_purge_and_store_at_once_never_find_what_is_older_than_a_purge() -> None:
    found, made, wrong = race()
    assert wrong == 0
    assert min(found, made) > 1000
