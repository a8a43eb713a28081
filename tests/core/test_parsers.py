"""One parser of each kind sees the heads of all connections: what one of them says is not held against the next."""

from core.playbook import World, answer, get, post, status_of, world
from hypothesis import example, given, settings
from hypothesis import strategies as st

OPTIONS = ["close", "keep-alive", "upgrade", "x", "close, keep-alive", "Close", "", ",", "close x", "te, close"]
NAMES = ["Connection", "Proxy-Connection", "proxy-connection", "Keep-Alive", "Upgrade", "Trailer", "TE"]
FIELDS = st.lists(
    st.builds(
        lambda name, value: f"{name}: {value}".encode(),
        st.sampled_from(NAMES),
        st.sampled_from([*OPTIONS, "websocket", "h2c", "timeout=1"]),
    ),
    max_size=4,
)
REQUESTS = st.builds(
    lambda fields, method, version, body: (
        post(body, b"/", *fields) if body else get(b"/", *fields, method=method, version=version)
    ),
    FIELDS,
    st.sampled_from([b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"CONNECT", b"PROPFIND", b"BREW"]),
    st.sampled_from([b"1.1", b"1.0", b"1.2"]),
    st.sampled_from([b"", b"", b"abc"]),
)
RESPONSES = st.builds(
    lambda fields, status, body: answer(body, *fields, status=status),
    FIELDS,
    st.sampled_from([b"200 OK", b"204 No", b"304 Same", b"426 Up", b"101 Switch", b"500 Oh"]),
    st.sampled_from([b"", b"abc"]),
)


def serve(play: World, request: bytes, response: bytes) -> bytes:
    """What a new client gets that asks this, when the upstream answers that."""
    client = play.client()
    client.send(request)
    play.loop.run()
    for upstream in play.upstreams:
        if upstream.taken():
            upstream.send(response)
    play.loop.run()
    got = client.taken()
    client.lose()
    return got


@given(st.lists(st.tuples(REQUESTS, RESPONSES), min_size=1, max_size=4))
@example([(get(b"/", b"Proxy-Connection: close"), answer())])
@example([(get(), answer(b"", b"Proxy-Connection: close"))])
@example([(get(), answer(b"abc", b"Proxy-Connection: close"))])
@example([(get(b"/", b"Connection: close, keep-alive"), answer(b"", b"Connection: upgrade", b"Upgrade: h2c"))])
@settings(deadline=None, max_examples=300)
def test_no_message_makes_the_next_one_be_refused(messages: list[tuple[bytes, bytes]]) -> None:
    with world() as play:
        for request, response in messages:
            serve(play, request, response)
            got = serve(play, get(b"/"), answer(b"mine"))
            assert status_of(got) == 200, (request, response, got)
            assert got.endswith(b"\r\n\r\nmine")
