"""Bodies that must be valid by a JSON Schema."""

import asyncio
import contextlib
import json
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.policies.request_body import measure
from fastgate.config import BodySchema, ConfigError, GatewayConfig
from fastgate.policies.request_body.body_schema import FEW_VALUES, MAX_DEPTH, body_check, parse
from fastgate.testing import RawClient, RecordingUpstream, proxy_config, start_gateway
from fastgate.testing.http_messages import RecordedResponse

SCHEMA = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$"},
        "a/b~c": {"$ref": "#/$defs/count"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/count"}},
        "self": {"$ref": "#"},
    },
    "$defs": {"count": {"type": "integer", "minimum": 0}},
}


@contextlib.asynccontextmanager
async def checked(
    folder: Path, schema: Any = SCHEMA, **route: Any
) -> AsyncIterator[tuple[RawClient, RecordingUpstream]]:
    (folder / "schema.json").write_text(json.dumps(schema))
    async with RecordingUpstream() as upstream:
        config = proxy_config(upstream.port, route={"body_schema": str(folder / "schema.json"), **route})
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            yield client, upstream


def post(body: bytes, *fields: str, method: str = "POST") -> bytes:
    lines = [f"{method} /a HTTP/1.1", "Host: x", "Content-Type: application/json", *fields]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def problem(answer: RecordedResponse, status: int) -> str:
    told = json.loads(answer.body)
    assert (answer.status, told["status"]) == (status, status)
    assert answer.fields["content-type"] == "application/problem+json"
    detail: str = told["detail"]
    return detail


@pytest.mark.parametrize("delivery", ["whole", "body later", "byte by byte", "chunked"])
async def test_a_valid_body_arrives_as_it_was_sent(delivery: str, tmp_path: Path) -> None:
    body = b' {"name": "abc", "items": [1, 2]}\n'
    async with checked(tmp_path) as (client, upstream):
        for _ in range(2):
            if delivery == "whole":
                await client.send(post(body))
            elif delivery == "body later":
                await client.send(post(body, "Expect: 100-continue").removesuffix(body))
                assert await client.receive(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
                await client.send(body)
            elif delivery == "byte by byte":
                await client.send_pieces(post(body))
            else:
                head = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
                await client.send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            assert (await client.response()).status == 200
        assert [request.body for request in upstream.requests] == [body, body]


async def test_a_long_body_is_looked_at_beside_other_requests(tmp_path: Path) -> None:
    body = json.dumps({"name": "abc", "items": list(range(50_000))}).encode()
    bad = json.dumps({"name": "abc", "items": [*range(50_000), -1]}).encode()
    async with checked(tmp_path) as (client, upstream):
        assert (await client.request(post(body))).status == 200
        assert upstream.requests[0].body == body
        told = problem(await client.request(post(bad)), 422)
        assert told == "At /items/50000: it is less than the minimum of 0."


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, 'At the top level: "name" is a required property.'),
        ({"name": "SECRET"}, 'At /name: it does not match "^[a-z]+$".'),
        ({"name": 7351}, 'At /name: it is not of type "string".'),
        ({"name": "a", "a/b~c": -7351}, "At /a~1b~0c: it is less than the minimum of 0."),
        ({"name": "a", "items": [1, "SECRET"]}, 'At /items/1: it is not of type "integer".'),
        (["SECRET"], 'At the top level: it is not of type "object".'),
        ({"name": 1, "a/b~c": "x"}, 'At /name: it is not of type "string".'),
    ],
)
async def test_a_body_that_is_not_valid(body: Any, told: str, tmp_path: Path) -> None:
    async with checked(tmp_path) as (client, upstream):
        answer = await client.request(post(json.dumps(body).encode()))
        detail = problem(answer, 422)
        assert told in detail
        assert "SECRET" not in detail
        assert "7351" not in detail
        assert (await client.request(post(b'{"name": "a"}'))).status == 200  # the connection is kept
        assert len(upstream.requests) == 1


async def test_what_is_told_is_bounded(tmp_path: Path) -> None:
    body = json.dumps({"x" * 10_000: 1, **{f"p{number}": 1 for number in range(1000)}}).encode()
    async with checked(tmp_path) as (client, _):
        assert len(problem(await client.request(post(body)), 422)) < 1000


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "it is empty"),
        (b"{", "expecting property name enclosed in double quotes at line 1, column 2"),
        (b'{"name":\n "a",}', "at line 2, column 6"),
        (b'{"name": "a"} x', "extra data at line 1, column 15"),
        (b'{"name": "a", "name": "b"}', "an object has the same name twice"),
        (b'{"name": NaN}', "NaN is not a valid number"),
        (b'{"name": "\xff"}', "byte 10 is not UTF-8"),
        (b'\xef\xbb\xbf{"name": "a"}', "at line 1, column 1"),
        ('{"name": "a"}'.encode("utf-16"), "byte 0 is not UTF-8"),
        (b'{"name": ' + b"1" * 5000 + b"}", "The request body is not JSON"),
        (b"[" * 100_000, f"it is nested deeper than {MAX_DEPTH}"),
        (b'{"self":' * 100_000, f"it is nested deeper than {MAX_DEPTH}"),
        (b'{"name": "a\x00b"}', "invalid control character at line 1, column 12"),
        (b'{"name": "\\ud800"}', "a string has half of a surrogate pair"),
    ],
)
async def test_a_body_that_is_not_json(body: bytes, told: str, tmp_path: Path) -> None:
    async with checked(tmp_path) as (client, upstream):
        assert told in problem(await client.request(post(body)), 400)
        assert (await client.request(post(b'{"name": "a"}'))).status == 200  # the connection is kept
        assert len(upstream.requests) == 1


async def test_methods_that_send_nothing_pass(tmp_path: Path) -> None:
    async with checked(tmp_path) as (client, upstream):
        for method in ("GET", "DELETE", "OPTIONS", "HEAD"):
            assert (await client.request(f"{method} /a HTTP/1.1\r\nHost: x\r\n\r\n".encode())).status == 200
        for method in ("POST", "PUT", "PATCH"):
            problem(await client.request(f"{method} /a HTTP/1.1\r\nHost: x\r\n\r\n".encode()), 400)
        problem(await client.request(post(b"7", method="DELETE")), 422)
        assert len(upstream.requests) == 4


async def test_what_is_no_json_by_its_type_is_not_looked_at(tmp_path: Path) -> None:
    async with checked(tmp_path) as (client, _):
        answer = await client.request(post(b"{}").replace(b"application/json", b"text/plain"))
        assert (answer.status, answer.fields["accept"]) == (415, "application/json, application/*+json")
        answer = await client.request(post(b"{}", "Content-Encoding: gzip"))
        assert (answer.status, answer.fields["accept-encoding"]) == (415, "identity")


async def test_a_body_that_is_too_large(tmp_path: Path) -> None:
    async with checked(tmp_path, max_body=10) as (client, upstream):
        assert (await client.request(post(b'{"name": "abc"}'))).status == 413
    async with checked(tmp_path, max_body=10) as (client, upstream):
        head = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        await client.send(head + b'8\r\n{"name":\r\n')
        await client.send(b'8\r\n"abcdef"\r\n')
        assert (await client.response()).status == 413
        assert not upstream.requests


@pytest.mark.parametrize("size", [2, 20_000])
async def test_a_check_that_fails_by_itself(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(body: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("fastgate.policies.request_body.body_schema.body_check", lambda settings: fail)
    async with checked(tmp_path) as (client, upstream):
        assert problem(await client.request(post(b"7" * size)), 500) == "A policy of this route failed."
        assert problem(await client.request(post(b"7")), 500)  # the connection is kept
        assert not upstream.requests


async def test_a_client_that_leaves_in_the_middle_of_its_body(tmp_path: Path) -> None:
    async with checked(tmp_path) as (client, upstream):
        async with RawClient(client.address) as other:
            await other.send(post(b'{"name": "a"}')[:-3])
            await asyncio.sleep(0)
            other.reset()
        assert (await client.request(post(b'{"name": "a"}'))).status == 200
        assert len(upstream.requests) == 1


async def test_older_drafts_by_their_name(tmp_path: Path) -> None:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}
    async with checked(tmp_path, schema) as (client, _):
        problem(await client.request(post(b"[1]")), 422)
        assert (await client.request(post(b'["a", 1]'))).status == 200


def write_file(folder: Path, schema: Any) -> str:
    path = folder / "schema.json"
    path.write_text(schema if isinstance(schema, str) else json.dumps(schema))
    return str(path)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("{", "is not JSON: expecting property name"),
        ("[]", "is not a valid JSON Schema: it must be an object or a boolean"),
        (
            {"$ref": "https://example.test/a.json"},
            'refers to "https://example.test/a.json": a reference must begin with',
        ),
        ({"items": {"$ref": "other.json#/a"}}, 'refers to "other.json#/a"'),
        ({"items": {"$ref": "#/$defs/none"}}, "is not a valid JSON Schema: "),
        ({"type": "text"}, "is not a valid JSON Schema: at /type"),
        ({"pattern": "(?=a)b"}, "not a valid regular expression; look-around and back-references are not supported"),
        ({"pattern": "("}, "not a valid regular expression"),
        ({"$schema": "https://example.test/meta"}, "is not a valid JSON Schema: "),
        (" " * (1024 * 1024 + 1), "is larger than 1048576 bytes"),
    ],
)
async def test_schemas_that_cannot_be_used(schema: Any, said: str, tmp_path: Path) -> None:
    path = write_file(tmp_path, schema)
    with pytest.raises(ConfigError) as caught:
        async with start_gateway(proxy_config(1, route={"body_schema": path})):
            pass
    (told,) = caught.value.problems
    assert told.path == "routes[0].body_schema"
    assert told.message.startswith(f"{path} ")
    assert said in told.message


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="body_schema: cannot read nowhere.json: no such file or directory"):
        body_check(BodySchema(file="nowhere.json"))


def test_without_the_library_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    with pytest.raises(ValueError, match=r"body_schema: needs jsonschema-rs: pip install 'fastgate\[schema\]'"):
        body_check(BodySchema(file=write_file(tmp_path, {})))


def test_a_body_without_bound_cannot_be_kept() -> None:
    with pytest.raises(ConfigError, match=r"body_schema: needs a max_body other than 0"):
        GatewayConfig.from_dict(proxy_config(1, route={"body_schema": "s.json", "max_body": 0}))


@pytest.mark.parametrize("write", [json.dumps, lambda value: json.dumps(value, indent=2, ensure_ascii=False)])
def test_brackets_in_strings_do_not_nest(write: Callable[[Any], str]) -> None:
    value = {'"[[\\': "[" * 1000 + '"\\"{' * 100, "ä": [[1, 2.5e3, None, True, "\\"]]}
    assert parse(write(value).encode()) == value


def test_a_pattern_cannot_run_away(tmp_path: Path) -> None:
    check = body_check(BodySchema(file=write_file(tmp_path, {"pattern": "^(a+)+$"})))
    with pytest.raises(Exception, match="bad_content"):
        check(json.dumps("a" * 100_000 + "b").encode())


# -- bounds

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


def counted(value: Any) -> tuple[int, int]:
    """How deep it is nested, and how many values and names there are."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    found = [counted(each) for each in inner]
    depth = max((depth for depth, _ in found), default=0) + isinstance(value, dict | list)
    return depth, 1 + sum(values for _, values in found) + (len(value) if isinstance(value, dict) else 0)


@settings(max_examples=300, deadline=None)
@given(JSON_VALUES, st.sampled_from([None, 2, "\t"]), st.booleans(), st.integers(0, 3), st.integers(0, 10))
def test_a_text_is_measured_before_it_is_read(value: Any, indent: Any, ascii: bool, depth: int, values: int) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    expected = counted(value)
    assert measure(text, 1000, 10_000) == expected
    # The look ends early, and never before it knows that a bound is passed.
    found = measure(text, depth, values)
    assert (found[0] > depth or found[1] > values) == (expected[0] > depth or expected[1] > values)


async def test_a_body_with_too_many_values(tmp_path: Path) -> None:
    schema = {"file": str(tmp_path / "schema.json"), "max_values": 1000}
    async with checked(tmp_path, {"type": "array"}, body_schema=schema) as (client, upstream):
        for size in (1000, 30_000):
            answer = await client.request(post(json.dumps([1] * size).encode()))
            assert problem(answer, 413) == "The request body has more than 1000 values."
            assert (await client.request(post(json.dumps([1] * 999).encode()))).status == 200  # the connection is kept
        assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("general", "route", "most"),
    [(None, None, 1 << 20), (0, None, 1 << 20), (5000, None, 5000), (5000, 9000, 9000), (None, 3 << 20, 3 << 20)],
)
async def test_how_large_a_body_may_be_that_is_checked(
    general: int | None, route: int | None, most: int, tmp_path: Path
) -> None:
    (tmp_path / "schema.json").write_text("true")
    keys = {"body_schema": str(tmp_path / "schema.json"), **({} if route is None else {"max_body": route})}
    gateway = {} if general is None else {"max_body": general}
    async with RecordingUpstream() as upstream:
        config = proxy_config(upstream.port, route=keys, gateway=gateway)
        async with start_gateway(config) as running, RawClient(running.port) as client:
            assert (await client.request(post(b'"' + b"a" * (most - 2) + b'"'))).status == 200
            await client.send(post(b"").replace(b"Content-Length: 0", b"Content-Length: %d" % (most + 1)))
            assert (await client.response()).status == 413
            assert [len(request.body) for request in upstream.requests] == [most]


@pytest.mark.parametrize("text", ["{},", "[],", '{"":0},', "1,", '"ab",', "-1.5e3,"])
def test_the_memory_of_a_check_is_bounded(text: str, tmp_path: Path) -> None:
    """The largest body that may come by default, and the largest with as many values as may be."""
    check = body_check(BodySchema(file=write_file(tmp_path, {"type": "array"})))
    full = b"[" + (text * (1 << 20)).encode()[: (1 << 20) - 10].rsplit(b",", 1)[0] + b"]"
    each = counted(json.loads(f"[{text[:-1]}]"))[1] - 1
    most = b"[" + (text * (99_998 // each)).encode()[:-1] + b"]"
    tracemalloc.start()
    try:
        with pytest.raises(Exception, match="body_too_large"):
            check(full)
        assert tracemalloc.get_traced_memory()[1] < 100_000
        tracemalloc.reset_peak()
        check(most)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("bad", [3, 50, 5000])
def test_a_body_with_many_errors_is_told_of_by_a_few(bad: int, tmp_path: Path) -> None:
    """Each error that is found costs far more than the value that it is about."""
    schema = {"items": {"anyOf": [{"type": "string"}, {"minimum": 1}]}}
    check = body_check(BodySchema(file=write_file(tmp_path, schema)))
    with pytest.raises(Exception, match="bad_content") as caught:
        check(json.dumps([0] * bad).encode())
    assert caught.value.detail.count("At /") == (3 if bad < FEW_VALUES else 1)  # type: ignore[attr-defined]


async def test_long_bodies_are_checked_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way: list[bytes] = []
    most = []

    def check(body: bytes) -> None:
        under_way.append(body)
        most.append(len(under_way))
        threading.Event().wait(0.01)
        under_way.remove(body)

    monkeypatch.setattr("fastgate.policies.request_body.body_schema.body_check", lambda settings: check)
    async with checked(tmp_path) as (client, _):
        async with contextlib.AsyncExitStack() as stack:
            others = [await stack.enter_async_context(RawClient(client.address)) for _ in range(8)]
            answers = await asyncio.gather(*(other.request(post(b"7" * 20_000)) for other in others))
        assert [answer.status for answer in answers] == [200] * 8
        assert most == [1] * 8


def test_a_schema_is_a_path_or_a_table(tmp_path: Path) -> None:
    path = write_file(tmp_path, {})
    for written, expected in (
        (path, BodySchema(file=path)),
        ({"file": path}, BodySchema(file=path)),
        ({"file": path, "max_values": 7}, BodySchema(file=path, max_values=7)),
        (False, None),
    ):
        config = GatewayConfig.from_dict(proxy_config(1, route={"body_schema": written}))
        assert config.routes[0].body_schema == expected
    for wrong, told in (
        (1, "expected a string or a table with file, got the number 1"),
        ("", "body_schema: must not be empty"),
        ({"max_values": 0, "file": "a"}, "body_schema.max_values: must be 1 to 100000000, got 0"),
        ({}, "body_schema.file: is missing"),
    ):
        with pytest.raises(ConfigError, match=told):
            GatewayConfig.from_dict(proxy_config(1, route={"body_schema": wrong}))
