"""Heads: every one whole, byte by byte, in random pieces and with bytes after it, against a plain reading."""

from itertools import pairwise
from typing import Any

import pytest
from core.reference_head import read
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastgate._core.probes.core import host, known_name, read_head, token
from fastgate._core.probes.indexed_heads import same_name

COMPARED = (
    "method", "target", "status", "reason", "minor", "minor_sent", "fields", "content_length", "chunked", "close",
    "keep_alive", "host", "upgrade", "upgrades", "upgrade_named", "expect", "has_forwarded", "length",
)


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def request(*lines: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, *lines, b"", b""])


def verdict(data: bytes, **options: Any) -> str | None:
    """The cause, equal whole, byte by byte and with bytes after the head."""
    whole = read_head([data], **options)
    assert read_head(bytewise(data), **options)["cause"] == whole["cause"]
    if whole["length"]:
        for after in (b"\0", b"GET / HTTP/1.1\r\n\r\n", b"x" * 5000):
            assert read_head([data + after], **options) | {"taken": 0} == whole | {"taken": 0}
    cause: str | None = whole["cause"]
    return cause


def accepted(data: bytes, **options: Any) -> dict[str, Any]:
    assert verdict(data, **options) is None
    head = read_head([data], **options)
    assert head["length"] == len(data)
    return head


ODD = b"!#$%&'*+.^_`|~"
WORDS = {
    "names": [
        b"Host", b"host", b"HOST", b"Connection", b"Content-Length", b"content-length", b"Transfer-Encoding", b"Expect",
        b"Upgrade", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Trailer", b"Authorization", b"X-Forwarded-For",
        b"X-Forwarded-Proto", b"Forwarded", b"X-Other", b"x_under", b"content_length", b"Accept", b"Cookie", b"a",
        b"Date", b"X-Request-Id", b"transfer_encoding", b"HTTP2-Settings", b"Proxy", b"X.Forwarded_For",
        b"x-forwarded-a.b", b"x.other", b"Content+Length", b"host.", b"x-forwarded-~",
    ],
    "bad_names": [b"", b" X", b"X ", b"X\t", b"(x)", b"X\x80", b"a b", b'"x"', b"\tfold", b"X@"],
    "values": [
        b"", b"x", b"close", b"keep-alive", b"Close, Keep-Alive", b"chunked", b"Chunked", b"gzip", b"gzip, chunked",
        b"chunked, gzip", b",chunked", b"chunked,", b"chunked chunked", b"chunked;q=1", b"identity", b"0", b"5", b"007",
        b"+5", b"-1", b"5 5", b"2, 2", b"0x5", b"9" * 18, b"9" * 19, b"upgrade", b"websocket", b"h2c", b"x-other",
        b"host", b"Authorization", b"x-forwarded-for", b"date, , close", b"100-continue", b"a b\tc", b"\xe4\xff",
        b"timeout=5", b"\x00", b"a\x01b", b"\x7f", b" inner  spaces ", b"a\rb", b"a\nb",
    ],
    "methods": [b"GET", b"POST", b"get", b"M-SEARCH", b"X", b"A" * 63, b"A" * 65, b"G@T", b"", b"\0", b" GET"],
    "targets": [
        b"/", b"/a?b=c", b"*", b"http://h/p", b"/a b", b"", b"/#f", b"/\\", b"/\x80", b"/\x7f", b"/\t",
        b"/" + b"x" * 300,
        b'/<>"{}|^`',
    ],
    "versions": [
        b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1", b"http/1.1",
        b"RTSP/1.0",
        b"HTTP/1.10", b"", b"HTTP/1.1 ", b"HTTP/A.1", b"ICE/1.0", b"HTTP/11",
    ],
    "statuses": [
        b"200 OK", b"200", b"200 ", b"099 x", b"100 Continue", b"599 x", b"600 x", b"20 x", b"2000", b"abc",
        b"204  two",
        b"200 \xe4", b"200 a\x01", b"2a0 x", b"", b" 200 OK", b"200\tOK",
    ],
}

PLAIN_NAMES = [word for word in WORDS["names"] if b"-" in word and not set(word) & set(ODD)]

seldom = st.integers(0, 19).map(lambda number: number == 0)


def word(kind: str, common: int) -> st.SearchStrategy[bytes]:
    """One of the first few, seldom one of the others."""
    return seldom.flatmap(lambda rare: st.sampled_from(WORDS[kind] if rare else WORDS[kind][:common]))


@st.composite
def heads(draw: st.DrawFn, request: bool) -> bytes:
    """Heads that are right, nearly right and wrong."""
    if request:
        common = {"methods": 2, "targets": 4, "versions": 4}
        lines = [b" ".join([draw(word(kind, count)) for kind, count in common.items()])]
    else:
        lines = [draw(word("versions", 4)) + b" " + draw(word("statuses", 2))]
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from(WORDS["bad_names"] if draw(seldom) else WORDS["names"]))
        space = draw(st.sampled_from([b"", b" ", b"\t", b"  "]))
        value = draw(st.sampled_from(WORDS["values"]))
        lines.append(name + b":" + space + value + draw(st.sampled_from([b"", b" ", b"\t "])))
    wrong = st.sampled_from([b"\n", b"\r", b"\r\r\n"])
    ends = [draw(wrong) if draw(seldom) and draw(seldom) else b"\r\n" for _ in lines]
    data = b"".join(line + end for line, end in zip(lines, ends, strict=True)) + b"\r\n"
    if draw(seldom):
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(max_size=2)) + data[at + draw(st.integers(0, 2)) :]
    return data


cuts = st.lists(st.integers(0, 400), max_size=6)


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    points = [0, *sorted(point % (len(data) + 1) for point in at), len(data)]
    return [data[start:end] for start, end in pairwise(points)]


@pytest.mark.parametrize("is_request", [True, False], ids=["request", "response"])
@settings(max_examples=200, deadline=None)
@given(data=st.data(), at=cuts, after=st.binary(max_size=40), field_names=st.sampled_from(["drop", "pass", "reject"]))
def test_every_head_is_read_as_the_reference_reads_it(
    is_request: bool, data: st.DataObject, at: list[int], after: bytes, field_names: str
) -> None:
    head = data.draw(heads(is_request))
    expected = read(head, request=is_request, field_names=field_names)
    for fed in ([head], bytewise(head), pieces(head, at), [head + after] if expected is not None else [head]):
        found = read_head(fed, request=is_request, field_names=field_names, limit=100)
        if expected is None:
            assert (found["cause"], found["length"]) == (None, 0)
        elif isinstance(expected, str):
            assert found["cause"] == expected
        else:
            assert found["cause"] is None
            assert {key: found[key] for key in COMPARED if key in found} == expected


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=60), cuts)
@example(b"\r\n\r\n", [])
@example(b"GET / HTTP/1.1\r\n\r", [])
def test_noise_is_read_alike_in_any_pieces(data: bytes, at: list[int]) -> None:
    for is_request in (True, False):
        whole = read_head([data], request=is_request)
        for fed in (bytewise(data), pieces(data, at)):
            assert read_head(fed, request=is_request) | {"taken": 0} == whole | {"taken": 0}


# -- as soon as the byte is seen

@pytest.mark.parametrize(
    ("before", "byte", "cause"),
    [
        (b"", b"\n", "bare_lf"), (b"", b"\0", "bad_character"), (b"", b" ", "bad_method"), (b"", b"\x80", "bad_method"),
        (b"\r", b"x", "bare_cr"), (b"GE", b"@", "bad_method"), (b"GET", b"\t", "bad_character"),
        (b"GET /", b"\n", "bare_lf"), (b"GET /", b"\t", "bad_character"), (b"GET / HTTP/1.1", b"\n", "bare_lf"),
        (b"GET / HTTP/1.1\r", b"x", "bare_cr"), (b"GET / HTTP/1.1\r\nHost: x", b"\n", "bare_lf"),
        (b"GET / HTTP/1.1\r\nHost: x\r", b"\r", "bare_cr"), (b"GET / HTTP/1.1\r\nHost: ", b"\0", "bad_character"),
        (b"GET / HTTP/1.1\r\nA: 1\r\n\r", b"x", "bare_cr"), (b"GET / HTTP/1.1\r\nA", b"\x7f", "bad_character"),
        (b"GET  / HTTP/1.1\r", b"\n", "bad_start_line"), (b"GET / HTTP/1.1 \r", b"\n", "bad_start_line"),
        (b"A" * 64, b"A", "bad_method"),
    ],
)
def test_what_cannot_become_a_head_is_refused_with_the_byte_that_shows_it(
    before: bytes, byte: bytes, cause: str
) -> None:
    assert read_head(bytewise(before))["cause"] is None
    found = read_head(bytewise(before + byte + b"more"))
    assert (found["cause"], found["taken"]) == (cause, len(before) + 1)
    assert read_head([before + byte + b"more"])["cause"] == cause


def test_a_version_of_another_protocol_is_told_so_when_its_line_is_complete() -> None:
    for version in (b"HTTP/2.0", b"HTTP/0.9", b"RTSP/1.0", b"ICE/1.0"):
        line = b"GET / " + version + b"\r\n"
        found = read_head([*bytewise(line), b"more"])
        assert (found["cause"], found["taken"]) == ("bad_version", len(line))
    assert verdict(request(line=b"GET /")) == "bad_start_line"


# -- limits

@pytest.mark.parametrize("size", [100, 101, 127, 128, 1000])
def test_a_head_may_be_exactly_as_long_as_the_limit(size: int) -> None:
    fixed = len(request(b"a: "))
    for length, cause in ((size, None), (size + 1, "head_too_large"), (size + 2, "head_too_large")):
        data = request(b"a: " + b"x" * (length - fixed))
        assert len(data) == length
        assert verdict(data, max_bytes=size) == cause


def test_a_head_that_grows_over_the_limit_is_refused_before_it_is_complete() -> None:
    found = read_head([b"GET / HTTP/1.1\r\n", b"a: " + b"x" * 981, b"x", b"x", b"x"], max_bytes=1000)
    assert (found["cause"], found["taken"]) == ("head_too_large", 1000)


def test_as_many_fields_as_the_limit_says() -> None:
    for limit in (1, 15, 16, 17, 100):
        assert len(accepted(request(*[b"a: b"] * limit), limit=limit)["fields"]) == limit
        assert verdict(request(*[b"a: b"] * (limit + 1)), limit=limit) == "too_many_fields"
    response = b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 256 + b"\r\n"
    assert len(accepted(response, request=False, limit=256)["fields"]) == 256


def test_a_target_may_be_8192_bytes_long() -> None:
    assert verdict(request(line=b"GET /" + b"x" * 8191 + b" HTTP/1.1")) is None
    assert verdict(request(line=b"GET /" + b"x" * 8192 + b" HTTP/1.1")) == "target_too_long"
    found = read_head([b"GET /", *[b"x" * 100] * 90])
    assert (found["cause"], found["taken"] < 8400) == ("target_too_long", True)


def test_a_method_may_be_64_bytes_long() -> None:
    assert accepted(request(line=b"M" * 64 + b" / HTTP/1.1"))["method"] == b"M" * 64
    assert verdict(request(line=b"M" * 65 + b" / HTTP/1.1")) == "bad_method"


# -- what the gateway reads in them

def test_every_known_name_is_known_in_any_case_and_no_other() -> None:
    numbers = set()
    for name in (*WORDS["names"], b"Via", b"Server", b"User-Agent", b"Referer", b"Content-Type", b"X-Forwarded-Port"):
        number, dropped, ruled = known_name(name)
        assert (number, dropped, ruled) == known_name(name.upper()) == known_name(name.lower())
        assert not (dropped and ruled)
        if number:
            numbers.add(number)
            for other in (name + b"x", name[:-1], b"x" + name, name.replace(b"-", b"_") + b"_"):
                assert known_name(other)[0] != number
    assert len(numbers) > 20
    assert known_name(b"") == known_name(b"x" * 70000) == (0, False, False)


def test_a_byte_that_differs_from_a_letter_by_more_than_its_case_makes_another_name() -> None:
    for name in WORDS["names"]:
        number = known_name(name)[0]
        if not number:
            continue
        for at, byte in enumerate(name):
            for other in {byte ^ 1 << bit for bit in range(8)} | {ord("-"), ord("_"), 0}:
                changed = name[:at] + bytes([other]) + name[at + 1:]
                assert (known_name(changed)[0] == number) == (changed.lower() == name.lower()), changed


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=24))
def test_a_name_is_known_only_when_it_is_one(name: bytes) -> None:
    known = {word.lower() for word in WORDS["names"] if not set(word) & set(b"_.+~")} - {b"x-other", b"a"}
    known |= {b"x-forwarded-host", b"x-forwarded-port", b"proxy-authenticate", b"proxy-authorization"}
    known |= {b"via", b"server", b"user-agent", b"referer", b"content-type"}
    assert (known_name(name)[0] != 0) == (name.lower() in known)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), name=st.sampled_from(PLAIN_NAMES))
def test_no_spelling_of_a_known_name_passes(data: st.DataObject, name: bytes) -> None:
    places = [at for at, byte in enumerate(name) if byte == ord("-")]
    spelled = bytearray(data.draw(st.sampled_from([name, name.upper(), name.lower()])))
    for at in data.draw(st.lists(st.sampled_from(places), min_size=1)):
        spelled[at] = data.draw(st.sampled_from(ODD))
    line = bytes(spelled) + b": 1"
    (field,) = accepted(request(line), field_names="pass")["fields"]
    assert field[2] == (known_name(name)[0] != 0)
    assert accepted(request(line))["fields"][0][2]
    assert verdict(request(line), field_names="reject") == "rejected_field_name"
    # Answers are the upstream's own affair.
    (field,) = accepted(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n\r\n", request=False)["fields"]
    assert not field[2]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=20))
def test_a_token_is_what_rfc_9110_says(text: bytes) -> None:
    allowed = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert token(text) == (len(text) > 0 and all(byte in allowed for byte in text))


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (b"example.com", True), (b"example.com:80", True), (b"a", True), (b"127.0.0.1:65535", True), (b"[::1]", True),
        (b"[::1]:80", True), (b"[fe80::1%25eth0]", True), (b"my_service:8080", True), (b"xn--bcher-kva.example", True),
        (b"a%20b", True), (b"example.com:", True), (b"", False), (b":80", False), (b"a:65536", False),
        (b"a:999999999999", False), (b"a:x", False), (b"a:80:80", False), (b".", False), (b"..", False), (b"a.", True),
        (b"a..", False), (b".a", False), (b"a..b", False), (b"a.:80", True), (b".:80", False), (b"[::g]", False),
        (b"[a.test]", False), (b"[v1.x]", False), (b"[1.2.3.4]", False), (b"[::ffff:1.2.3.4]", True),
        (b"[::1%25]", False), (b"[::1%eth0]", False), (b"[1::2::3]", False), (b"[:]", False),
        (b"[" + b"0" * 60 + b"::1]", False), (b"[::1\0]", False), (b"a b", False), (b"a,b", False), (b"a/b", False),
        (b"a@b", False), (b"[::1", False), (b"::1", False), (b"[]", False), (b"[::1]x", False), (b"a?b", False),
        (b"a#b", False), (b"\x80", False), (b"a\\b", False), (b"a\tb", False), (b"a:-1", False), (b"a:000080", False),
    ],
)
def test_what_can_stand_in_host(text: bytes, is_one: bool) -> None:
    assert host(text) == is_one


def test_a_version_from_1_2_on_is_read_as_1_1() -> None:
    for minor in range(10):
        head = accepted(request(line=b"GET / HTTP/1.%d" % minor))
        assert (head["minor"], head["minor_sent"], head["close"]) == (min(minor, 1), minor, minor == 0)


def test_fields_that_connection_names_are_dropped() -> None:
    head = accepted(request(b"X-A: 1", b"Connection: x-b, close", b"X-B: 2", b"x-b: 3", b"Connection: X-A"))
    assert [(name, gone) for name, _, gone, _ in head["fields"]] == [
        (b"X-A", True), (b"Connection", True), (b"X-B", True), (b"x-b", True), (b"Connection", True),
    ]
    for name in (b"host", b"Content-Length", b"AUTHORIZATION", b"x-forwarded-for", b"X-Forwarded-Port"):
        assert verdict(request(b"Connection: keep-alive, " + name)) == "bad_connection"


def test_the_time_that_a_peer_keeps_a_connection() -> None:
    def seconds(*lines: bytes) -> int | None:
        answer = b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""])
        found: int | None = accepted(answer, request=False)["keep_alive_timeout"]
        return found

    assert seconds() is None
    assert seconds(b"Keep-Alive: timeout=5") == 5
    assert seconds(b"keep-alive: max=100, Timeout=75") == 75
    assert seconds(b"Keep-Alive: timeout=0") == 0
    assert seconds(b"Keep-Alive: max=3") is None
    assert seconds(b"Keep-Alive: timeout=") in (0, None)
    assert seconds(b"Keep-Alive: timeout=" + b"9" * 40) >= 1000000  # type: ignore[operator]


def test_a_reason_that_is_not_visible_ascii_is_forgotten() -> None:
    for reason, kept in ((b"OK", b"OK"), (b"", b""), (b"Not Found", b"Not Found"), (b"\xe4", b""), (b"a\xc3\xa9", b"")):
        assert accepted(b"HTTP/1.1 200 %b\r\n\r\n" % reason, request=False)["reason"] == kept


@pytest.mark.parametrize("length", range(20))
def test_a_name_is_the_same_in_any_case_and_by_no_other_byte(length: int) -> None:
    lower = bytes(b"abcdefghijklmnopqrstuvwxyz0189-_~^`{@[\xe1\x01"[(5 * length + i) % 40] for i in range(length))
    assert same_name(lower, lower)
    assert same_name(lower.upper(), lower) == (lower.upper().lower() == lower)
    assert not same_name(lower + b"a", lower)
    assert not same_name(lower, lower + b"a")
    for at in range(length):
        for byte in range(256):
            text = lower[:at] + bytes([byte]) + lower[at + 1 :]
            assert same_name(text, lower) == (text.lower() == lower), (text, lower)
