"""``fastgate demo``: what it prints works when it is pasted, and Ctrl-C ends it."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from fastgate.cli.demo import CONFIGURATION, REQUESTS, configuration, free_port

EXPECTED = {
    "/hello": 200,
    "/users/42": 200,
    "/api/people": 200,
    "/events": 200,
    "/slow?seconds=1": 200,
    "/slow?seconds=3": 504,
    "/fail?status=503": 503,
    "/cut": 200,
    "/down": 502,
    "/nowhere": 404,
}


class Demo:
    """A running ``fastgate demo`` and what it has printed before it was ready."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from fastgate.cli import main; main()", "demo", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if found := re.search(r"serving on (http://127\.0\.0\.1:(\d+))", line):
                self.url, self.port = found[1], int(found[2])
                return
        raise AssertionError(f"it did not start: {self.lines} {self.process.communicate()[1]}")

    @property
    def requests(self) -> list[str]:
        return [line for line in self.lines if line.startswith("curl ")]

    def end(self) -> tuple[int, str]:
        """Ctrl-C; the exit code and what standard error got."""
        self.process.send_signal(signal.SIGINT)
        errors = self.process.communicate(timeout=20)[1]
        return self.process.returncode, errors


@contextlib.contextmanager
def running(*options: str) -> Iterator[Demo]:
    demo = Demo(*options)
    try:
        yield demo
    finally:
        demo.process.kill()
        demo.process.communicate()


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with running("--port", str(free_port(18080 + os.getpid() % 900))) as demo:
        yield demo


def run(line: str) -> subprocess.CompletedProcess[str]:
    """The line as it would be pasted, with the status written behind the output."""
    return subprocess.run(
        ["bash", "-c", re.sub(r"^curl ", "curl -s -w '\\\\n%{http_code}' ", line)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_the_printed_configuration_is_the_one_that_runs() -> None:
    text = CONFIGURATION.format(port=8080, upstream=5000, unused=1)
    assert tomllib.loads(text)["gateway"]["port"] == 8080
    config = configuration(text, 3)
    assert config.gateway.workers == 3
    assert {route.name for route in config.routes} >= {"hello", "users", "events", "slow"}


@pytest.mark.needs("curl")
@pytest.mark.parametrize(("path", "status"), EXPECTED.items())
def test_every_printed_request_works_when_pasted(demo: Demo, path: str, status: int) -> None:
    (line,) = [line for line in demo.requests if line.split("#")[0].rstrip().endswith((path, f"{path}'"))] or [
        line for line in demo.requests if f"{path}?" in line
    ]
    done = run(line.replace("interval=1", "interval=0.01"))
    assert done.stdout.splitlines()[-1] == str(status)
    assert (done.returncode == 18) == (path == "/cut"), "curl notices what is cut, and nothing else"


def test_every_printed_request_has_its_test() -> None:
    printed = [command.format(url="", ws="").split()[-1].strip("'") for command, _ in REQUESTS]
    assert {path for path in printed if path not in EXPECTED} == {"/events?count=5&interval=1", "/ws"}


@pytest.mark.needs("curl")
def test_what_the_upstream_is_told(demo: Demo) -> None:
    assert '"x-user": "42"' in run(demo.requests[1]).stdout
    assert '"target": "/echo/people"' in run(demo.requests[2]).stdout


def test_messages_are_echoed(demo: Demo) -> None:
    with connect(f"ws://127.0.0.1:{demo.port}/ws") as client:
        for message in ("hello", "", "x" * 200, "y" * 70_000, b"bytes"):
            client.send(message)
            assert client.recv(5) == message
        assert client.ping().wait(5)


def test_a_port_that_is_taken_is_not_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running("--port", str(port)) as demo:
            assert demo.port != port
            assert f"port = {demo.port}" in demo.lines
            code, errors = demo.end()
    assert code == 0
    assert f"port {port} is in use; using {demo.port}" in errors
    assert "Traceback" not in errors


def test_ctrl_c_ends_it() -> None:
    with running("--port", str(free_port(19080 + os.getpid() % 900))) as second:
        code, errors = second.end()
    assert code == 0
    assert "Traceback" not in errors
