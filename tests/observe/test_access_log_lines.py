"""A line for every exchange, however it ends and whatever its bytes: whole, readable, and nothing beside it is written.

The log's block is checked by itself in debug and sanitizer builds (`make debug`, `make asan`); elsewhere a line that
was given too little room ends the process.
"""

import json
import re
from typing import Any, Literal, TypeAlias

import pytest
from core.playbook import World, world
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastgate._core.observe.access_log import AccessLog

Format: TypeAlias = Literal["json", "combined"]
KEYS = [
    "time", "id", "client", "method", "host", "path", "query", "version", "status", "bytes_in", "bytes_out", "route",
    "identity", "upstream", "attempts", "cache", "head_ms", "policies_ms", "connect_ms", "response_ms", "body_ms",
    "total_ms", "end", "user_agent", "referer",
]  # fmt: skip
COMBINED = re.compile(
    r'203\.0\.113\.7 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] '
    r'"(?P<request>-|[!-~]+ [!-~]* HTTP/1\.\d)" (?P<status>\d{3}) \d+ "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"'
)


class Lines:
    """The writer of a log: keeps what it is given."""

    descriptor = -1

    def __init__(self) -> None:
        self.collect: Any = None
        self.blocks: list[bytes] = []
        self.count = 0

    def append(self, lines: bytes, count: int = 1) -> bool:
        self.blocks.append(lines)
        self.count += count
        return True

    def wake(self) -> None:
        pass

    def take(self) -> list[str]:
        self.collect()
        text = b"".join(self.blocks)
        assert text == b"" or text.endswith(b"\n")
        self.blocks.clear()
        return text.decode("utf-8").split("\n")[:-1]


def logging(play: World, form: Format) -> Lines:
    lines = Lines()
    play.engine.runtime.observers = [AccessLog(lines, form)]
    return lines


def plain(text: bytes) -> str:
    """What a line may show of bytes that are all ASCII."""
    return text.decode("latin-1")


def check(line: str, form: Format, sent: bytes) -> None:
    """The line can be read, and says nothing that was not sent."""
    raw = plain(sent)
    if form == "json":
        found = json.loads(line)
        assert list(found) == KEYS
        assert found["client"] == "203.0.113.7"
        assert isinstance(found["status"], int)
        for key in ("method", "host"):
            assert found[key] is None or found[key] in raw
    else:
        match = COMBINED.fullmatch(line)
        assert match is not None, line
        assert line.isascii()
        assert line.isprintable()


def unescaped(text: str) -> str:
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)


# Bytes that grow when they are escaped, bytes that are copied, and how often: up to 32 KB of a target or a field.
TARGETS = st.lists(
    st.tuples(st.sampled_from([b'"', b"a", b"%2f", b"/", b"?", b"&b=", b"{", b"~"]), st.integers(0, 3000)), max_size=4
).map(lambda parts: b"/" + b"".join(part * count for part, count in parts))
VALUES = st.lists(
    st.tuples(
        st.sampled_from([b'"', b"\\", b"\xff", b"\xc2\x9b", b"\xe2\x82\xac", b"\t", b"a", b"\xf0"]),
        st.integers(0, 3000),
    ),
    max_size=4,
).map(lambda parts: b"".join(part * count for part, count in parts))
HOSTS = st.sampled_from([b"h", b"\xff" * 900, b'"' * 5000, b"[::1]:80", b"", b"a" * 3000])
FORMATS: st.SearchStrategy[Format] = st.sampled_from(["json", "combined"])
# What becomes of the bytes of the head, and how the client goes on.
DAMAGES = st.sampled_from(["none", "cut", "changed", "fields"])
ENDINGS = st.sampled_from(["eof", "lost", "time", "more"])


def head(target: bytes, host: bytes, agent: bytes, referer: bytes) -> bytes:
    fields = [b"Host: " + host, b"User-Agent: " + agent, b"Referer: " + referer]
    return b"\r\n".join([b"GET %b HTTP/1.1" % target, *fields, b"", b""])


@settings(max_examples=300, deadline=None)
@given(TARGETS, HOSTS, VALUES, VALUES, DAMAGES, st.floats(0, 1), st.integers(0, 255), ENDINGS, FORMATS)
@example(b"/" + b'"' * 8100, b"h", b"", b"", "fields", 0.0, 0, "eof", "json")
@example(b"/" + b'"' * 8100, b"h", b"", b"", "fields", 0.0, 0, "eof", "combined")
@example(b"/", b"h", b"\xff" * 8000, b'"' * 8000, "none", 0.0, 0, "lost", "json")
def test_however_an_exchange_ends(
    target: bytes,
    host: bytes,
    agent: bytes,
    referer: bytes,
    damage: str,
    where: float,
    byte: int,
    end: str,
    form: Format,
) -> None:
    sent = head(target, host, agent, referer)
    at = int(where * (len(sent) - 1))
    if damage == "cut":
        sent = sent[:at]
    elif damage == "changed":
        sent = sent[:at] + bytes([byte]) + sent[at + 1 :]
    elif damage == "fields":
        sent = sent[:-2] + b"x: y\r\n" * 200 + b"\r\n"
    with world() as play:
        lines = logging(play, form)
        client = play.client()
        client.send(*(sent[i : i + 1460] for i in range(0, len(sent), 1460)))
        if end == "eof":
            client.eof()
        elif end == "lost":
            client.lose()
        elif end == "time":
            play.pass_time(61)
        else:
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 3)
        play.engine.abort_connections()
        play.loop.run()
        found = lines.take()
        assert len(found) == lines.count
        for line in found:
            check(line, form, sent + b"GET / HTTP/1.1\r\nHost: h")


@pytest.mark.parametrize("form", ["json", "combined"])
@pytest.mark.parametrize("bad", [b"\x00", b"\n", b"\xff", b" "])
def test_refused_at_each_byte(form: Format, bad: bytes) -> None:
    """Every place where reading can stop: what the line has then is what had been read."""
    sent = head(b'/a"b?c=d', b"h", b'agent "1"', b"http://from/")
    with world() as play:
        lines = logging(play, form)
        for at in range(len(sent)):
            changed = sent[:at] + bad + sent[at + 1 :]
            client = play.client()
            client.send(changed)
            client.lose()
            for line in lines.take():
                check(line, form, changed)
    assert lines.count >= len(sent) - 4, "a byte may be what it is changed into"


@pytest.mark.parametrize("form", ["json", "combined"])
@pytest.mark.parametrize("size", [1, 1000, 2000, 8000])
def test_the_target_of_a_refused_head_is_in_its_line(form: Format, size: int) -> None:
    """It is all that was read of the head, and as long as one that is complete."""
    target = b"/" + b'"' * size
    with world() as play:
        lines = logging(play, form)
        for _ in range(30):
            client = play.client()
            client.send(b"GET %b HTTP/1.1\r\nHost: x\x01\r\n\r\n" % target)
            client.lose()
        found = lines.take()
    assert len(found) == lines.count == 30
    for line in found:
        if form == "json":
            assert json.loads(line)["path"] == target.decode()
        else:
            match = COMBINED.fullmatch(line)
            assert match is not None
            assert unescaped(match["request"]) == f"GET {target.decode()} HTTP/1.1"
