"""What an answer of the gateway's own looks like when something is wrong."""

import json
import re

import pytest
from wire.support import GET, by_id, check_problem, head, served

ERRORS = {
    "404": ({"route": {"path": "/x"}}, GET, 404),
    "400": ({}, b"GET / HTTP/1.1\r\n\r\n", 400),
    "417": ({}, head("Expect: x"), 417),
}


@pytest.mark.parametrize(("options", "data", "status"), **by_id(ERRORS))
async def test_errors_are_problems(stand, options, data, status):
    """Errors are `application/problem+json` (RFC 9457: type, title, status, detail, instance, `request_id`)"""
    client = await stand.start(**options)
    response = await client.request(data)
    problem = check_problem(response, status)
    assert problem["title"]
    assert response.fields["content-length"] == str(len(response.body))
    if status != 400:
        assert problem["instance"] in ("/path", "/path?query", "/")


async def test_error_for_a_browser(stand):
    """HTML for a browser's Accept"""
    client = await stand.start(route={"path": "/x"}, gateway={"error_format": "html"})
    response = await client.request(head("Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"))
    assert (response.status, response.fields["content-type"].split(";")[0]) == (404, "text/html")
    assert b"<" in response.body
    check_problem(await client.request(head("Accept: application/json")), 404)


async def test_an_error_page_does_not_repeat_what_was_sent(stand):
    client = await stand.start(route={"path": "/x"}, gateway={"error_format": "html"})
    response = await client.request(head("Accept: text/html", target="/<script>alert(1)</script>"))
    assert b"<script>" not in response.body


async def test_no_body_to_head(stand):
    """no body to HEAD"""
    client = await stand.start(route={"path": "/x"})
    response = await client.request(head(method="HEAD"))
    assert (response.status, response.body) == (404, b"")
    await client.assert_silent()
    await served(client, head(target="/x"))


REFUSED_HEADS = {
    "two Hosts": b"HEAD / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "control": b"HEAD / HTTP/1.1\r\nHost: a\x01\r\n\r\n",
    "target": b"HEAD /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "long": b"HEAD /" + b"a" * 9000,
    "fields": b"HEAD / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    "path": b"HEAD /a/../../b HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("data", REFUSED_HEADS.values(), ids=REFUSED_HEADS)
async def test_no_body_to_head_that_is_refused_before_it_is_read(stand, data):
    client = await stand.start()
    await client.send(data)
    answered = await client.rest()
    assert answered.startswith(b"HTTP/1.1 4")
    assert answered.endswith(b"\r\n\r\n")
    assert int(re.search(rb"\r\nContent-Length: (\d+)", answered)[1]) > 100


async def test_no_message_tells_of_what_is_behind(stand):
    """No message tells a client about addresses or names behind the gateway"""
    port = stand.refusing_port()
    client = await stand.start(f"127.0.0.1:{port}")
    response = await client.request(GET)
    text = json.dumps(response.fields.pairs) + response.body.decode()
    assert response.status == 502
    assert str(port) not in text
    assert "127.0.0.1" not in text
    assert "backend" not in text
