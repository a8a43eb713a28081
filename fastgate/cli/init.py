"""``fastgate init``: a commented starter file."""

import os

import click

from fastgate.cli import CommandError
from fastgate.cli.configuration import DEFAULT_FILE

STARTER = """\
# A gateway. Every key, its default and its meaning: docs/configuration.md, or `fastgate schema` for your editor.
#   fastgate check {file}    says what is wrong with this file
#   fastgate serve {file}    runs it

[gateway]
host = "127.0.0.1"            # "0.0.0.0" to be reached from other machines
port = 8080
# workers = "auto"            # one for each CPU
# max_connections_per_client = 200   # of one address in each worker, so that nobody takes all connections
# trusted_proxies = ["10.0.0.0/8"]   # load balancers in front, whose X-Forwarded-For is believed

# [gateway.tls]
# certificates = [{{ cert = "server.pem", key = "server.key" }}]

[gateway.access_log]
path = "-"                    # standard output; a file; "" for none

# Which requests go where. The most specific route wins, whatever the order here.
[[routes]]
name = "api"
path = "/api/*"               # "/exact", "/users/{{id}}", "/files/{{path*}}", "/prefix/*", "~^/regular/[a-z]+$"
upstream = "backend"
# methods = ["GET", "POST"]
# hosts = ["api.example.com"]
# strip_prefix = "/api"       # the backend sees /users for /api/users
# timeouts = {{ read = "30s" }}
# rate_limit = {{ rate = 100, burst = 200 }}   # a second, for each client
# auth = {{ any = ["key"] }}    # who may use it; `fastgate keys new --id ID --write` makes a key
# request_headers = {{ set = {{ x-client = "{{client_ip}}" }}, remove = ["x-internal"] }}

# The servers behind the gateway.
[upstreams.backend]
targets = ["127.0.0.1:5000"]  # several: requests take turns. "https://api.example.com", "unix:/run/app.sock"
# health.active = {{ path = "/healthz" }}      # a target that does not answer is left out
"""


@click.command()
@click.argument("file", default=DEFAULT_FILE, type=click.Path(dir_okay=False))
def init(file: str) -> None:
    """Write a commented starter configuration to FILE, by default fastgate.toml. Never overwrites."""
    if not file.lower().endswith(".toml"):
        raise click.UsageError(f'the starter configuration is TOML: name it "{os.path.splitext(file)[0]}.toml"')
    try:
        with open(file, "x", encoding="utf-8") as stream:
            stream.write(STARTER.format(file=file))
    except FileExistsError:
        raise CommandError(f"{file} exists already and is left as it is") from None
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {(error.strerror or str(error)).lower()}") from None
    click.echo(f"{file} is written. Name your own server in [upstreams.backend], then: fastgate serve {file}")
