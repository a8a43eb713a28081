"""SHA-256 against hashlib, and the table of keys against a dict."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate._core.auth.api_key import KeyEntry, KeyMethod, KeyTable
from fastgate._core.exchange.identity import Identity
from fastgate._core.probes.core import sha_256


def entry(name: str) -> KeyEntry:
    return KeyEntry(Identity(name, "key"))


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ],
)
def test_the_examples_of_the_standard(message: bytes, digest: str) -> None:
    assert sha_256(message).hex() == digest


def test_every_length_around_the_borders_of_blocks() -> None:
    for length in range(600):
        message = random.Random(length).randbytes(length)
        assert sha_256(message) == hashlib.sha256(message).digest(), length


@given(st.binary(max_size=700))
def test_any_message(message: bytes) -> None:
    assert sha_256(message) == hashlib.sha256(message).digest()


@st.composite
def digests(draw: st.DrawFn) -> bytes:
    """Digests of which many begin with the same bytes, so that they stand at the same place."""
    first = draw(
        st.sampled_from([b"\0" * 8, b"\xff" * 8, b"\x01" + b"\0" * 7, b"\xfe" + b"\xff" * 7])
        | st.binary(min_size=8, max_size=8)
    )
    return first + draw(st.sampled_from([b"\0" * 23, b"\xff" * 23])) + bytes([draw(st.integers(0, 255))])


@given(st.sets(digests(), max_size=60), st.lists(digests(), max_size=60))
def test_the_table_finds_what_a_dict_finds(there: set[bytes], asked: list[bytes]) -> None:
    model = {digest: entry(digest.hex()) for digest in there}
    table = KeyTable(model.items())
    assert len(table) == len(model)
    for digest in [*asked, *there]:
        assert table.get(digest) is model.get(digest)


def test_a_digest_that_differs_in_one_bit_is_another_one() -> None:
    digest = hashlib.sha256(b"secret").digest()
    table = KeyTable([(digest, entry("a"))])
    for bit in range(256):
        other = bytearray(digest)
        other[bit >> 3] ^= 1 << (bit & 7)
        assert table.get(bytes(other)) is None


def test_thousands_of_keys() -> None:
    model = {hashlib.sha256(b"%d" % number).digest(): entry(str(number)) for number in range(5000)}
    table = KeyTable(model.items())
    assert all(table.get(digest) is found for digest, found in model.items())
    assert all(table.get(hashlib.sha256(b"x%d" % number).digest()) is None for number in range(5000))


def test_an_empty_table() -> None:
    assert len(KeyTable()) == 0
    assert KeyTable().get(bytes(32)) is None


def test_what_cannot_be_a_table() -> None:
    with pytest.raises(ValueError, match="two keys have the same digest"):
        KeyTable([(bytes(32), entry("a")), (bytes(32), entry("b"))])
    with pytest.raises(ValueError, match="32 bytes"):
        KeyTable([(bytes(31), entry("a"))])
    with pytest.raises(ValueError, match="32 bytes"):
        KeyTable().get(bytes(33))
    with pytest.raises(TypeError):
        KeyTable([(bytes(32), "a")])  # type: ignore[list-item]


def test_an_entry_says_whose_it_is() -> None:
    made = KeyEntry(Identity("team-a", "key"), routes=["a", "b"], expires=1.5, disabled=True)
    assert (made.identity.id, made.routes, made.expires, made.disabled) == ("team-a", {"a", "b"}, 1500, True)
    assert repr(made) == "<KeyEntry 'team-a'>"
    assert entry("a").routes is None


def test_a_method_is_made_of_a_table() -> None:
    table = KeyTable()
    method = KeyMethod(table, header="X-Key", query="k", hide=False)
    assert (method.name, method.table, method.header, method.parameter, method.hide) == (
        "key", table, b"x-key", b"k", False
    )  # fmt: skip
    assert KeyMethod(table).parameter is None
    with pytest.raises(TypeError):
        KeyMethod(None)  # type: ignore[arg-type]
