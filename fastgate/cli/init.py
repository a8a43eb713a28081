"""``fastgate init``: a commented starter file."""

import os

import click

from fastgate.cli import CommandError
from fastgate.cli.configuration import DEFAULT_FILE

STARTER = """\
# A gateway. docs/configuration.md describes every key; `fastgate schema` prints a JSON Schema for your editor.
#   fastgate check {file}    lists every error in this file
#   fastgate serve {file}    runs the gateway

[gateway]
host = "127.0.0.1"            # "0.0.0.0" accepts connections from other machines
port = 8080
# workers = "auto"            # one worker for each CPU
# max_connections_per_client = 200   # for each client address, in each worker
# trusted_proxies = ["10.0.0.0/8"]   # load balancers whose X-Forwarded-For the gateway trusts

# [gateway.tls]
# certificates = [{{ cert = "server.pem", key = "server.key" }}]

[gateway.access_log]
path = "-"                    # "-" is standard output, a path is a file, "" switches the log off

# Routes choose an upstream for each request. The most specific route wins; the order in this file does not matter.
[[routes]]
name = "api"
path = "/api/*"               # "/exact", "/users/{{id}}", "/files/{{path*}}", "/prefix/*", "~^/regular/[a-z]+$"
upstream = "backend"
# methods = ["GET", "POST"]
# hosts = ["api.example.com"]
# strip_prefix = "/api"       # the upstream gets /users for /api/users
# timeouts = {{ read = "30s" }}
# rate_limit = {{ rate = 100, burst = 200 }}   # requests per second, for each client
# auth = {{ any = ["key"] }}    # clients must send a key; `fastgate keys new --id ID --write` creates one
# request_headers = {{ set = {{ x-client = "{{client_ip}}" }}, remove = ["x-internal"] }}

# The servers behind the gateway.
[upstreams.backend]
targets = ["127.0.0.1:5000"]  # one or several; also "https://api.example.com", "unix:/run/app.sock"
# health.active = {{ path = "/healthz" }}      # probes each target; a target that fails gets no requests
"""


@click.command()
@click.argument("file", default=DEFAULT_FILE, type=click.Path(dir_okay=False))
def init(file: str) -> None:
    """Write a commented starter configuration to FILE, by default fastgate.toml. Never overwrites."""
    if not file.lower().endswith(".toml"):
        raise click.UsageError(f'the starter configuration is TOML; name it "{os.path.splitext(file)[0]}.toml"')
    try:
        with open(file, "x", encoding="utf-8") as stream:
            stream.write(STARTER.format(file=file))
    except FileExistsError:
        raise CommandError(f"{file} already exists; nothing was written") from None
    except OSError as error:
        raise CommandError(f"cannot write {file}: {(error.strerror or str(error)).lower()}") from None
    click.echo(f"{file} was written. Set your own server in [upstreams.backend], then run: fastgate serve {file}")
