"""SipHash-1-3 against CPython, which hashes bytes with it, and SipHash-2-4 against what its authors published."""

import os
import random
import subprocess
import sys

import pytest

from fastgate._core.probes.limits import siphash_2_4, siphash_13, siphash_continued


def key_of_seed(seed: int) -> bytes:
    """The key that PYTHONHASHSEED makes: a linear congruential generator, or zeros for 0."""
    state, key = seed, bytearray()
    for _ in range(16):
        state = (state * 214013 + 2531011) & 0xFFFFFFFF
        key.append(state >> 16 & 0xFF)
    return bytes(key) if seed else bytes(16)


@pytest.mark.skipif(sys.hash_info.algorithm != "siphash13", reason="this Python hashes otherwise")
@pytest.mark.parametrize("seed", [0, 1, 4294967295])
def test_it_hashes_as_cpython_does(seed: int) -> None:
    texts = [random.Random(length).randbytes(length) for length in range(1, 70)]
    program = "import sys; print(*[hash(bytes.fromhex(line.strip())) for line in sys.stdin])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="\n".join(text.hex() for text in texts),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
    )
    theirs = [int(word) % (1 << 64) for word in done.stdout.split()]
    assert [siphash_13(key_of_seed(seed), text) for text in texts] == theirs


def test_a_hash_goes_on_behind_a_beginning_that_was_read_before() -> None:
    for length in range(70):
        text = random.Random(length).randbytes(length)
        key = random.Random(-length).randbytes(16)
        whole = siphash_13(key, text)
        assert [siphash_continued(key, text, begin) for begin in range(length + 1)] == [whole] * (length + 1)


def test_a_key_has_sixteen_bytes() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        siphash_13(bytes(15), b"")
    with pytest.raises(ValueError, match="16 bytes"):
        siphash_2_4(bytes(17), b"")


def test_the_values_that_the_paper_and_the_reference_code_give() -> None:
    """Appendix A of the paper, and the first of the reference implementation's vectors, for the key 00 01 … 0f."""
    key = bytes(range(16))
    assert siphash_2_4(key, bytes(range(15))) == 0xA129CA6149BE45E5
    assert siphash_2_4(key, b"") == 0x726FDB47DD0E0E31
    assert siphash_2_4(key, b"\0") == 0x74F839C593DC67FD
