"""No client gets bytes that were made for another one, unless the rules allow it: on generated requests.

``FASTGATE_SEED`` repeats one world; ``-m long`` runs many more.
"""

import asyncio
import json
import random
from collections import Counter

import pytest
from cache import isolation_model as model
from cache.isolation_model import Asked, Made, World
from cache.looking import status_of
from cache.support import Origin, some_seeds

from fastgate.testing import RawClient, RecordedResponse, UpstreamExchange, start_gateway

DIRECTIVES = (
    *["max-age=60"] * 8,
    *["public, max-age=60"] * 4,
    *["private, max-age=60"] * 3,
    "s-maxage=60",
    "max-age=60, must-revalidate",
    "no-cache, max-age=60",
    "no-cache",
    "no-store",
    "no-store, max-age=60",
    "",
    "",
    'private="x-mine", max-age=60',
    "max-age=0",
    "public",
)
VARIES = (
    *[""] * 10, "x-a", "x-b", "accept-language, x-a", "cookie", "authorization", "Accept-Encoding", "x-api-key",
    "x-a, *", "x-forwarded-for",
)  # fmt: skip


class Upstream:
    """One side of the origin: it answers with all that it sees."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.origin = Origin()
        self.origin.play = self.play

    async def play(self, exchange: UpstreamExchange) -> None:
        world, request = self.world, exchange.request
        number = len(world.made)
        draw = random.Random(f"{world.seed} {number}")
        if (found := self.confirmed(request.fields.get("if-none-match"))) is not None and draw.random() < 0.7:
            lines = [(name, value) for name, value in found.fields if name in ("Cache-Control", "Vary", "ETag")]
            await exchange.send(compose(304, lines, b""))
            return
        asked = request.fields["x-marker"]
        fields = [("X-Made", str(number)), ("X-Mine", asked), ("Content-Type", "application/json")]
        if said := draw.choice(DIRECTIVES):
            fields.append(("Cache-Control", said))
        if vary := draw.choice(VARIES):
            fields.append(("Vary", vary))
        if draw.random() < 0.12:
            fields.append(("Set-Cookie", f"who={asked}"))
        if draw.random() < 0.5:
            fields.append(("ETag", f'"{number}"'))
        if draw.random() < 0.15:
            fields.append(("Age", "70"))
        pad = draw.choice((0, 0, 20000, 40000))
        body = model.body_of(number, asked, self.name, request.target, request.method, request.fields.pairs, pad)
        world.made[number] = Made(
            number, int(asked), self.name, [*fields, ("Content-Length", str(len(body)))], body, request.fields.pairs,
            request.target,
        )  # fmt: skip
        await asyncio.sleep(draw.choice((0, 0, 0.001, 0.003)))
        text = compose(200, world.made[number].fields, b"" if request.method == "HEAD" else body)
        half = len(text) // 2 if pad else len(text)
        await exchange.send(text[:half])
        await asyncio.sleep(draw.choice((0, 0.002)))
        await exchange.send(text[half:])

    def confirmed(self, tags: str | None) -> Made | None:
        number = (tags or "").strip('"')
        return self.world.made[int(number)] if number.isdigit() and int(number) in self.world.made else None


def compose(status: int, fields: model.Pairs, body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} Words", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def send(world: World, asked: Asked) -> RecordedResponse:
    world.requests[asked.number] = asked
    target = f"/r{asked.route.number}{asked.path}" + (f"?{asked.query}" if asked.query else "")
    lines = [f"{asked.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in asked.fields)]
    if asked.method in ("POST", "QUERY"):
        lines.append(f"Content-Length: {len(asked.body)}")
    async with RawClient(world.port) as client:
        await client.send("\r\n".join([*lines, "", ""]).encode("latin-1") + asked.body)
        return await client.response(asked.method)


class Judge:
    """Looks at each answer, and remembers what later ones have to agree with."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.counts: Counter[str] = Counter()
        self.sides: dict[str, str] = {}

    def look(self, client: Asked, answer: RecordedResponse) -> None:
        world = self.world
        if answer.status in (401, 403):
            assert client.route.auth
            self.counts["refused"] += 1
            return
        assert answer.status in (200, 206, 304), self.told(client, answer, None, f"{answer.status}")
        if answer.status == 304 and "hit" not in status_of(answer):
            # By the origin itself, or by what it has just said.
            self.counts["304"] += 1
            return
        number = answer.fields["etag"].strip('"') if answer.status == 304 else answer.fields["x-made"]
        if not number.isdigit():
            # A tag of the cache's own.
            return
        made = world.made[int(number)]
        body = made.body[10:100] if answer.status == 206 else made.body
        if answer.status != 304:
            if client.method != "HEAD":
                assert answer.body == body, self.told(client, answer, made, "the body is not what the origin sent")
            assert answer.fields["content-length"] == str(len(body))
        said = status_of(answer)
        own = made.asked == client.number
        if own:
            self.check_model(client, made, stored="stored" in said)
        else:
            known = "hit" in said or "collapsed" in said or said.get("fwd-status") == 304
            assert known, self.told(client, answer, made, "bytes of another client, as if the upstream had sent them")
            why = model.forbidden(world, made, client, said)
            assert why is None, self.told(client, answer, made, why)
            self.check_fields(client, answer, made)
        how = "collapsed" if "collapsed" in said else "hit" if "hit" in said else "validated"
        self.counts["own" if own else how] += 1
        if client.route.split:
            side = self.sides.setdefault(f"{client.route.number} {client.get('x-user')}", made.upstream)
            assert side == made.upstream, self.told(client, answer, made, "the answer of the other side of a split")

    def check_model(self, client: Asked, made: Made, *, stored: bool) -> None:
        """What the origin saw is what the model thinks it sees. Of what is not stored it may see the whole query."""
        seen = {name.lower(): value for name, value in made.seen}
        names = {name.lower() for name, _ in client.fields} | {"authorization", "cookie", "x-api-key", "api-key"}
        names -= {
            "host",
            "cache-control",
            "range",
            "if-none-match",
            *(f"x-forwarded-{part}" for part in ("proto", "host", "port", "for")),
        }
        wanted = {name.lower(): value for name, value in model.forwarded(self.world, client)}
        assert {name: seen.get(name) for name in names} == {name: wanted.get(name) for name in names}
        if stored:
            assert made.target == model.target_forwarded(self.world, client)
        told = tuple(seen[f"x-forwarded-{part}"] for part in ("proto", "host", "port"))
        assert told == model.told(self.world, client)

    def check_fields(self, client: Asked, answer: RecordedResponse, made: Made) -> None:
        """What of a head is not for all."""
        if client.route.cache.get("set_cookie") != "store":
            assert "set-cookie" not in answer.fields, self.told(client, answer, made, "the cookie of another client")
        if 'private="x-mine"' in dict(made.fields).get("Cache-Control", ""):
            assert "x-mine" not in answer.fields, self.told(client, answer, made, "a field for one client")

    def told(self, client: Asked, answer: RecordedResponse, made: Made | None, why: str) -> str:
        """Both requests, and the answer."""
        owner = self.world.requests[made.asked] if made is not None else None
        shown = [why, f"seed {self.world.seed}", f"asked  {client}", f"got    {answer.head!r}"]
        shown += [f"made   {made.fields} {made.target}", f"for    {owner}"] if made is not None else []
        return "\n".join(shown)


async def run(seed: int, count: int) -> Counter[str]:
    """So many requests in one world."""
    world = model.new_world(seed)
    one, two = Upstream(world, "one"), Upstream(world, "two")
    draw = random.Random(seed + 1)
    judge = Judge(world)
    async with one.origin, two.origin:
        config = world.config({"one": one.origin.port, "two": two.origin.port})
        async with start_gateway(config) as gateway:
            world.port = gateway.port
            choice = model.new_choice(world, draw)
            while len(world.requests) < count:
                begin = len(world.requests)
                crowd = []
                for number in range(begin, begin + draw.choice((1, 1, 2, 8, 12))):
                    if draw.random() < 0.1:
                        choice = model.new_choice(world, draw)
                    one = choice if draw.random() < 0.4 else model.near(world, draw, choice)
                    crowd.append(model.new_request(one, number))
                answers = await asyncio.gather(*(send(world, asked) for asked in crowd))
                for asked, answer in zip(crowd, answers, strict=True):
                    judge.look(asked, answer)
    return judge.counts


async def run_many(seeds: list[int], count: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    for seed in seeds:
        print(f"FASTGATE_SEED={seed}")
        counts += await run(seed, count)
    print(json.dumps(counts))
    return counts


async def test_no_client_gets_what_was_made_for_another() -> None:
    seeds = some_seeds(16)
    counts = await run_many(seeds, 120)
    if len(seeds) > 1:
        assert counts["own"] > 50
        assert counts["hit"] > 20
        assert counts["hit"] + counts["collapsed"] + counts["validated"] > 50


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_no_client_of_many_gets_what_was_made_for_another() -> None:
    counts = await run_many(some_seeds(150), 200)
    assert min(counts["own"], counts["hit"], counts["collapsed"], counts["validated"]) > 100
