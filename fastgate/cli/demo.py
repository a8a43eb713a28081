"""``fastgate demo``: a gateway with a built-in upstream, its configuration, and requests to try."""

import socket
import sys
import tomllib
from typing import TYPE_CHECKING

import click

from fastgate.cli import CommandError

if TYPE_CHECKING:
    from fastgate.config import GatewayConfig

PORTS_TRIED = 20

CONFIGURATION = """\
[gateway]
port = {port}
access_log = {{ format = "combined" }}

[[routes]]
name = "hello"
path = "/hello"
upstream = "demo"

[[routes]]                       # a parameter of the path, sent on as a header field
name = "users"
path = "/users/{{id}}"
methods = ["GET"]
upstream = "demo"
rewrite = {{ pattern = "^/users/", to = "/echo/users/" }}
request_headers = {{ set = {{ x-user = "{{param.id}}" }} }}

[[routes]]                       # the upstream sees /echo/… for /api/…
name = "api"
path = "/api/*"
upstream = "demo"
strip_prefix = "/api"
add_prefix = "/echo"

[[routes]]                       # event streams are forwarded without buffering
name = "events"
path = "/events"
upstream = "demo"

[[routes]]
name = "websocket"
path = "/ws"
upstream = "demo"

[[routes]]                       # an answer that takes longer than 2 s becomes 504
name = "slow"
path = "/slow"
upstream = "demo"
timeouts = {{ read = "2s" }}

[[routes]]
name = "failing"
path = "~^/(fail|cut)$"
upstream = "demo"

[[routes]]
name = "down"
path = "/down"
upstream = "offline"

[upstreams.demo]
targets = ["127.0.0.1:{upstream}"]

[upstreams.offline]              # no server listens on this port
targets = ["127.0.0.1:{unused}"]
"""

REQUESTS = (
    ("curl {url}/hello", ""),
    ("curl {url}/users/42", "the upstream gets x-user: 42"),
    ('curl -d \'{{"name": "Ada"}}\' {url}/api/people', "echoed, with the fields that the gateway added"),
    ("curl -N '{url}/events?count=5&interval=1'", "each event arrives when it is sent"),
    ("curl -i '{url}/slow?seconds=1'", "slow, but within the timeout"),
    ("curl -i '{url}/slow?seconds=3'", "too slow: 504 from the gateway"),
    ("curl -i '{url}/fail?status=503'", "an error of the upstream, forwarded"),
    ("curl -i {url}/cut", "the upstream cuts the body: the client sees an error"),
    ("curl -i {url}/down", "no server listens there: 502"),
    ("curl -i {url}/nowhere", "no route matches: 404"),
    ("python -m websockets {ws}/ws", "an echo (pip install websockets)"),
)


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8080,
    show_default=True,
    help="Listen port; if it is in use, another one.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes.")
def demo(port: int, workers: int) -> None:
    """Run a gateway with a built-in upstream and requests to try.

    Prints its configuration, which you can copy as a start for your own. Ctrl-C stops it.
    """
    from fastgate.cli.demo_upstream import DemoUpstream
    from fastgate.server.supervisor import GatewayServer, StartError

    taken, port = port, free_port(port)
    with DemoUpstream() as upstream, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and never listening: connections to it are refused
        text = CONFIGURATION.format(port=port, upstream=upstream.port, unused=unused.getsockname()[1])
        heading("configuration")
        click.echo(text)
        if port != taken:
            click.echo(f"port {taken} is in use; using {port}", err=True)
        server = GatewayServer(configuration(text, workers))
        try:
            code = server.run(lambda: show_requests(port))
        except StartError as error:
            raise CommandError(str(error)) from None
    sys.exit(code)


def configuration(text: str, workers: int) -> "GatewayConfig":
    """What the printed text says, with that many workers."""
    from msgspec.structs import replace

    from fastgate.config import GatewayConfig

    config = GatewayConfig.from_dict(tomllib.loads(text))
    return replace(config, gateway=replace(config.gateway, workers=workers))


def show_requests(port: int) -> None:
    """Requests that work when they are pasted into a shell."""
    address = f"127.0.0.1:{port}"
    heading("requests to try")
    commands = [command.format(url=f"http://{address}", ws=f"ws://{address}") for command, _ in REQUESTS]
    width = max(map(len, commands))
    for command, (_, comment) in zip(commands, REQUESTS, strict=True):
        click.echo(f"{command:{width}}  # {comment}" if comment else command)
    click.echo()
    heading(f"serving on http://{address}; Ctrl-C stops it")
    sys.stdout.flush()


def heading(text: str) -> None:
    """A line that stands out, and is a comment where it is pasted."""
    click.secho(f"# {text}", bold=True)


def free_port(wanted: int) -> int:
    """``wanted``, or the next port that is free, or any."""
    for port in (*range(wanted, min(wanted + PORTS_TRIED, 65536)), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise CommandError("cannot find a free port on 127.0.0.1")
