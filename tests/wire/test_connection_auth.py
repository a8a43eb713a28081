"""NTLM and Negotiate authenticate a connection and not a request: such a connection is its client's alone."""

import re

import pytest
from wire.support import served

from fastgate.testing import Answer, RawClient, respond

SCHEMES = ["NTLM", "Negotiate", "negotiate", "nTLM"]


class Domain:
    """An upstream that knows by its connection who asks: a hello, a challenge, then the name."""

    def __init__(self, challenge: str) -> None:
        self.challenge = challenge
        self.names: dict[object, bytes] = {}
        self.served: list[tuple[object, bytes]] = []

    async def __call__(self, exchange) -> None:
        request, connection = exchange.request, exchange.connection
        found = re.search(r"^(?:ntlm|negotiate) (\w+)$", request.fields.get("authorization") or "", re.IGNORECASE)
        if found and found[1] != "hello":
            self.names[connection] = found[1].encode()
        name = self.names.get(connection)
        self.served.append((connection, name or b""))
        if name is None or (found and found[1] == "hello"):
            await exchange.send(respond(b"", "401 Unauthorized", f"WWW-Authenticate: {self.challenge}"))
        else:
            await exchange.send(respond(b"hello " + name))


def ask(credential: str = "", method: str = "GET") -> bytes:
    line = f"Authorization: {credential}\r\n" if credential else ""
    return f"{method} / HTTP/1.1\r\nHost: x\r\n{line}\r\n".encode()


async def log_in(client: RawClient, scheme: str, name: str) -> None:
    await served(client, ask(), 401)
    await served(client, ask(f"{scheme} hello"), 401)
    assert (await served(client, ask(f"{scheme} {name}"))).body == f"hello {name}".encode()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_connection_that_a_client_has_authenticated_serves_no_other(stand, scheme):
    client = await stand.start()
    domain = Domain(scheme)
    stand.upstream.default = Answer(domain)
    await log_in(client, scheme, "alice")
    stranger, bob = await stand.client(), await stand.client()
    await served(stranger, ask(), 401)
    await log_in(bob, scheme, "bob")
    for _ in range(3):
        assert (await served(client, ask())).body == b"hello alice"
        assert (await served(bob, ask(method="POST"))).body == b"hello bob"
        await served(stranger, ask(), 401)
    # Who has left takes the connection along.
    authenticated = next(connection for connection, name in domain.names.items() if name == b"alice")
    client.close()
    assert await authenticated.wait_ended() == "eof"
    await served(await stand.client(), ask(), 401)


@pytest.mark.parametrize(
    "challenges",
    [
        "Negotiate",
        'Basic realm="x", NTLM',
        'Basic realm="x",Negotiate',
        'Basic realm="a, b", charset="UTF-8" , \tnegotiate',
        'Basic realm="x"\r\nWWW-Authenticate: NTLM',
    ],
)
async def test_an_offer_anywhere_in_the_challenges_is_enough(stand, challenges):
    """A client may have been authenticated by what the gateway does not see: the offer alone binds the connection."""
    client = await stand.start()
    stand.upstream.script(respond(b"", "401 Unauthorized", f"WWW-Authenticate: {challenges}"))
    await served(client, ask(), 401)
    other = await stand.client()
    await served(other, ask())
    await served(client, ask())
    assert [len(connection.requests) for connection in stand.upstream.connections] == [2, 1]
    # Nobody is known by it when the client has left.
    client.close()
    stand.upstream.connections[1].wire.close()
    await stand.upstream.connections[1].wait_ended()
    await served(other, ask())
    assert [len(connection.requests) for connection in stand.upstream.connections] == [3, 1]


@pytest.mark.parametrize("challenge", ['Basic realm="negotiate"', "Bearer", 'Digest realm="x", nonce="NTLM"', "NTLMv9"])
async def test_other_schemes_leave_connections_to_everybody(stand, challenge):
    client = await stand.start()
    stand.upstream.script(respond(b"", "401 Unauthorized", f"WWW-Authenticate: {challenge}"))
    await served(client, ask(), 401)
    for credential in ("", "Basic YTpi", "Bearer ntlm", "NTLMv9 x"):
        await served(await stand.client(), ask(credential))
    assert len(stand.upstream.connections) == 1


async def test_credentials_bind_a_connection_that_was_pooled_before(stand):
    client = await stand.start()
    await served(client, ask())
    alice = await stand.client()
    await served(alice, ask("NTLM alice"))
    await served(client, ask())
    assert [len(connection.requests) for connection in stand.upstream.connections] == [2, 1]


async def test_an_upstream_that_ends_such_a_connection_is_asked_on_another(stand):
    client = await stand.start()
    domain = Domain("NTLM")
    stand.upstream.default = Answer(domain)
    await log_in(client, "NTLM", "alice")
    stand.upstream.connections[0].wire.close()
    await stand.upstream.connections[0].wait_ended()
    await served(client, ask(method="POST"), 401)
    await log_in(client, "NTLM", "alice")


async def test_the_connection_stays_with_its_target_whatever_the_balancer_says(stand):
    origins = [await stand.new_upstream() for _ in range(3)]
    client = await stand.start(*(origin.port for origin in origins))
    domain = Domain("NTLM")
    for origin in origins:
        origin.default = Answer(domain)
    await log_in(client, "NTLM", "alice")
    for _ in range(5):
        assert (await served(client, ask())).body == b"hello alice"
    assert sorted(len(origin.requests) for origin in origins) == [0, 0, 8]


async def test_it_outlives_the_idle_timeout_of_the_pool(stand):
    client = await stand.start(upstream={"pool": {"idle_timeout": "50ms"}})
    domain = Domain("NTLM")
    stand.upstream.default = Answer(domain)
    await log_in(client, "NTLM", "alice")
    other = await stand.client()
    # A connection of the pool that is used after it ends first.
    await served(other, ask("Basic YTpi"), 401)
    other.close()
    await stand.upstream.connections[1].wait_ended()
    assert (await served(client, ask())).body == b"hello alice"
