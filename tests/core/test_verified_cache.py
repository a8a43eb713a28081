"""Identities by credential: never another one's, never after their time, never more than there may be."""

from hypothesis import given
from hypothesis import strategies as st

from fastgate._core.auth.gate import VerifiedCache
from fastgate._core.exchange.identity import Identity

# Credentials that share beginnings and ends, on both sides of every step in which they are read.
KEYS = st.one_of(
    st.builds(lambda length, byte: b"t" * length + byte + b"t" * length, st.integers(0, 40), st.binary(max_size=2)),
    st.builds(lambda length, byte: b"t" * length + byte, st.integers(0, 40), st.binary(max_size=1)),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.integers(0, 20)),
        st.tuples(st.just("get"), KEYS, st.integers(0, 20)),
        st.tuples(st.just("clear"), st.just(b""), st.just(0)),
    ),
    max_size=60,
)


@given(st.integers(0, 12), STEPS)
def test_against_a_model(capacity: int, steps: list[tuple[str, bytes, int]]) -> None:
    cache = VerifiedCache(capacity)
    known: dict[bytes, tuple[Identity, int]] = {}
    for kind, key, time in steps:
        if kind == "put":
            known[key] = Identity(key.hex(), "test"), time
            cache.put(key, *known[key])
        elif kind == "get":
            found = cache.get(key, time)
            if found is not None:
                assert found is known[key][0]
                assert time < known[key][1]
        else:
            cache.clear()
            known.clear()
        assert len(cache) <= capacity + capacity % 2


@given(st.sets(KEYS, max_size=20), st.sets(KEYS, max_size=20))
def test_what_is_in_use_stays(kept: set[bytes], others: set[bytes]) -> None:
    cache = VerifiedCache(100)
    identities = {key: Identity(key.hex(), "test") for key in kept}
    for key, identity in identities.items():
        cache.put(key, identity, 10)
    for turn in range(500):
        cache.put(b"%d of many" % turn, Identity("many", "test"), 10)
        for key, identity in identities.items():
            assert cache.get(key, 9) is identity
    for key in others - kept:
        assert cache.get(key, 9) is None
    for key in kept:
        assert cache.get(key, 10) is None, "its time is over"
