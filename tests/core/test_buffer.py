"""The block that heads and log lines are assembled in: nothing is ever written beyond it, whatever a caller counts."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate._core.probes.core import Block

NUMBERS = st.one_of(
    st.integers(0, 2**64 - 1), st.integers(0, 20).flatmap(lambda digits: st.sampled_from([10**digits - 1, 10**digits]))
).filter(lambda number: number < 2**64)
SIZES = st.one_of(st.integers(0, 40), st.integers(0, 5000), st.sampled_from([63, 64, 65, 4095, 4096, 4097, 100_000]))


@st.composite
def fillings(draw: st.DrawFn) -> tuple[int, bytes]:
    most = draw(SIZES)
    return most, b"f" * draw(st.integers(0, most))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), SIZES.map(lambda size: b"p" * size)),
        st.tuples(st.just("put_number"), NUMBERS),
        st.tuples(st.just("put_hex"), NUMBERS),
        st.tuples(st.just("put_length"), NUMBERS),
        st.tuples(st.just("fill"), fillings()),
        st.tuples(st.just("reserve"), SIZES),
        st.tuples(st.just("clear"), st.none()),
    ),
    max_size=30,
)


@given(STEPS)
def test_it_holds_what_was_put(steps: list[tuple[str, object]]) -> None:
    block, model = Block(), b""
    for kind, value in steps:
        if kind == "put":
            assert isinstance(value, bytes)
            block.put(value)
            model += value
        elif kind == "fill":
            assert isinstance(value, tuple)
            block.fill(*value)
            model += value[1]
        elif kind == "clear":
            block.clear()
            model = b""
        else:
            assert isinstance(value, int)
            getattr(block, kind)(value)
            shape = {"put_number": "%d", "put_hex": "%x", "put_length": "Content-Length: %d\r\n"}.get(kind)
            model += b"" if shape is None else (shape % value).encode()
        assert block.contents == model


@pytest.mark.parametrize("size", [-1, -(2**63), 2**62, 2**63 - 1])
def test_a_length_that_cannot_be_is_refused(size: int) -> None:
    block = Block()
    block.put(b"kept")
    for ask in (block.reserve, lambda most: block.fill(most, b"")):
        with pytest.raises(MemoryError):
            ask(size)
    assert block.contents == b"kept"


@pytest.mark.parametrize("beyond", [1, 7, 50, 3000])
def test_who_writes_more_than_was_asked_for_is_ended(beyond: int) -> None:
    """The block is larger than what was asked for, so that nothing else would show it."""
    steps = f"b = Block(); b.reserve(5000); b.fill(100, bytes({100 + beyond}))"
    program = f"from fastgate._core.probes.core import Block; {steps}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            # What is reported here was meant: `make asan` must not find it.
            "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0",
        },
    )
    assert done.returncode != 0
    assert "a buffer was filled beyond the room that was asked for" in done.stderr or "AddressSanitizer" in done.stderr
