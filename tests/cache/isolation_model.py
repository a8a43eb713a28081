"""Which client may get bytes that were made for another one: a plain reading of the rules, and random worlds for it.

A *world* is a gateway with a few routes that cache in different ways. Requests are made of a few values each, so that
many of them meet. The origin writes all that it saw into each body. `forbidden` says why the bytes that were made for
one request may not be given to another; it looks at what clients sent, at what the routes say, and at the answer.
"""

import base64
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from core import reference_cache as reference
from core import reference_freshness, reference_key
from policies.passwords import ALICE, BOB
from policies.tokens import SECRET, hs256

DROPPED = {"x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"}
KEYS = {"team-a": "fg_" + "a" * 43, "alice": "fg_" + "b" * 43}
PASSWORDS = {"alice": "secret", "bob": "other"}
PLACES = {"key": ("x-api-key", "api-key", "bearer", "query"), "basic": ("basic",), "jwt": ("bearer", "cookie", "query")}
QUERY_NAMES = {"key": "api_key", "jwt": "token"}
Pairs = list[tuple[str, str]]


@dataclass
class Rules:
    """A route."""

    number: int
    auth: list[str]
    cache: dict[str, Any]
    split: bool
    strips: bool

    @property
    def judged(self) -> reference_freshness.Rules:
        names = {"methods", "key", "vary", "vary_except", "ttl", "honor", "private", "shared", "set_cookie", "bypass"}
        names |= {"stale_while_revalidate", "stale_if_error"}
        return reference_freshness.Rules(**{name: value for name, value in self.cache.items() if name in names})

    def by_identity(self) -> bool:
        return bool(self.cache.get("private")) or "identity" in self.cache.get("key", ())


@dataclass
class Asked:
    """A request of a client, and what of it is known besides."""

    number: int
    route: Rules
    method: str
    path: str
    query: str
    fields: Pairs
    body: bytes = b""
    identity: tuple[str, str] | None = None
    credential: str = ""
    place: str = ""
    scope: str | None = None

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key.lower() == name), None)


@dataclass
class Made:
    """An answer of the origin."""

    number: int
    asked: int
    upstream: str
    fields: Pairs
    body: bytes
    seen: Pairs
    target: str
    status: int = 200


@dataclass
class World:
    seed: int
    hide_key: bool
    hide_basic: bool
    routes: list[Rules]
    port: int = 0
    requests: dict[int, Asked] = field(default_factory=dict)
    made: dict[int, Made] = field(default_factory=dict)

    def config(self, ports: Mapping[str, int]) -> dict[str, Any]:
        routes = []
        for rules in self.routes:
            route: dict[str, Any] = {"name": f"r{rules.number}", "path": f"/r{rules.number}/*", "cache": rules.cache}
            if rules.split:
                route["split"] = [{"upstream": "one", "weight": 1}, {"upstream": "two", "weight": 1}]
                route["split"][0]["sticky"] = "header:x-user"
            else:
                route["upstream"] = "one"
            route |= {"auth": {"any": rules.auth}} if rules.auth else {}
            route |= {"strip_prefix": f"/r{rules.number}"} if rules.strips else {}
            routes.append(route)
        return {
            "gateway": {
                "host": "127.0.0.1", "port": 0, "access_log": {"path": ""}, "trusted_proxies": ["127.0.0.1"],
                "keys": {name: {"hash": sha256(secret.encode()).hexdigest()} for name, secret in KEYS.items()},
            },
            "auth": {
                "key": {"query": "api_key", "hide": self.hide_key},
                "basic": {"users": {"alice": ALICE, "bob": BOB}, "hide": self.hide_basic},
                "jwt": {
                    "algorithms": ["HS256"], "secret": SECRET,
                    "from": ["header:authorization", "cookie:token", "query:token"],
                },
            },
            "routes": routes,
            "upstreams": {name: {"targets": [{"host": "127.0.0.1", "port": port}]} for name, port in ports.items()},
        }  # fmt: skip


# -- random worlds


def some(draw: random.Random, *values: Any) -> list[Any]:
    """Usually none of them, sometimes one, seldom two."""
    return draw.sample(values, min(len(values), draw.choice((0, 0, 0, 1, 1, 2))))


def new_world(seed: int) -> World:
    draw = random.Random(seed)
    routes = []
    for number in range(draw.randint(2, 4)):
        auth = draw.choice([[], [], ["key"], ["basic"], ["jwt"], ["key", "basic", "jwt"]])
        cache: dict[str, Any] = {}
        if auth:
            cache |= draw.choice([{}, {}, {"private": True}, {"shared": True}])
        key = some(draw, "header:x-a", "cookie:sid", "client_ip", "header:accept-language")
        if auth and draw.random() < 0.3:
            key.append(draw.choice(["identity", "claim:scope"]))
        cache |= {"key": key} if key else {}
        cache |= {"set_cookie": draw.choice(["bypass", "strip", "store"])} if draw.random() < 0.4 else {}
        cache |= {"vary": vary} if (vary := some(draw, "x-b", "accept-encoding")) else {}
        cache |= {"vary_except": names} if (names := some(draw, "x-a", "accept-language")) else {}
        cache |= (
            {"bypass": names} if (names := some(draw, "cookie:other", "header:x-b")) and draw.random() < 0.4 else {}
        )
        cache |= draw.choice([{}, {}, {"query": {"except": ["utm_*"]}}, {"query": {"only": ["q"]}}])
        cache |= draw.choice([{}, {}, {"query": {"sort": True, "except": ["utm_*"]}}])
        cache |= draw.choice([{}, {}, {"ttl": 60}, {"ttl": 60, "honor": False}, {"honor": "response"}])
        cache |= draw.choice([{}, {}, {"stale_while_revalidate": 600, "stale_if_error": 600}])
        cache |= draw.choice([{}, {}, {"methods": ["GET", "HEAD", "POST", "QUERY"]}])
        cache |= draw.choice([{}, {}, {}, {"collapse": False}, {"etag": True}])
        routes.append(Rules(number, auth, cache, draw.random() < 0.3, draw.random() < 0.4))
    return World(seed, draw.random() < 0.6, draw.random() < 0.6, routes)


def tokens() -> dict[str, tuple[str, str]]:
    """Tokens, with names and scopes; two of them are of one client with different rights."""
    lasts = int(time.time()) + 3600
    who = [("alice", "read"), ("alice", "write"), ("bob", "read")]
    made = [hs256({"alg": "HS256"}, {"sub": name, "scope": scope, "exp": lasts}) for name, scope in who]
    return dict(zip(made, who, strict=True))


TOKENS = tokens()


FIELDS: dict[str, tuple[str | None, ...]] = {
    "Host": ("a.com", "b.com", "a.com:81"),
    "X-Forwarded-Proto": (None, "https", "http"),
    "X-Forwarded-Host": (None, "c.com", "a.com", "c.com:443"),
    "X-Forwarded-Port": (None, "81", "443"),
    "X-Forwarded-For": ("10.0.0.1", "10.0.0.2"),
    "X-A": (None, "1", "2"),
    "X-B": (None, "1", "2"),
    "Accept-Language": (None, "de, en", "en, de", "DE,en"),
    "Accept-Encoding": (None, "gzip, br", "br,gzip", "gzip"),
    "X-User": ("1", "2", "3", "4"),
    "X-Original-URL": (None, "/other"),
    "Cache-Control": (None, None, None, "no-cache", "no-store", "max-stale", "max-age=0"),
    "Range": (None, "bytes=10-99"),
    "If-None-Match": (None, '"1"', '"20"', '"50"'),
}
PARTS: dict[str, tuple[Any, ...]] = {
    "method": ("GET", "GET", "GET", "HEAD", "POST", "QUERY"),
    "path": ("/x", "/y"),
    "query": ("", "q=1", "q=2&utm_x=1", "utm_x=2&q=2", "p=1&q=1", "q=1&p=1"),
    "sid": (None, "sid=1", "sid=2"),
    "other": (None, "other=1"),
    "body": (b"1", b"2"),
}
"""What a request is made of. The first value is the usual one."""


def new_choice(world: World, draw: random.Random) -> dict[str, Any]:
    """Anything, but often the usual."""
    every = FIELDS | PARTS
    choice = {name: values[0] if draw.random() < 0.7 else draw.choice(values) for name, values in every.items()}
    return {**choice, "route": draw.choice(world.routes), "credential": draw.random()}


def near(world: World, draw: random.Random, choice: dict[str, Any]) -> dict[str, Any]:
    """The same but for one thing, which is how mistakes are found."""
    name = draw.choice([*FIELDS, *PARTS, *["credential"] * 6])
    if name == "credential":
        return {**choice, name: draw.random()}
    return {**choice, name: draw.choice((FIELDS | PARTS)[name])}


def new_request(choice: dict[str, Any], number: int) -> Asked:
    rules: Rules = choice["route"]
    fields: Pairs = [(name, value) for name in FIELDS if (value := choice[name]) is not None]
    fields.append(("X-Marker", str(number)))
    cookies = [choice[name] for name in ("sid", "other") if choice[name] is not None]
    query = choice["query"].split("&")
    asked = Asked(number, rules, choice["method"], choice["path"], "", fields)
    if asked.method in ("POST", "QUERY"):
        asked.body = choice["body"]
    draw = random.Random(choice["credential"])
    if rules.auth or draw.random() < 0.25:
        give_credential(asked, draw, rules.auth or ["key", "basic", "jwt"], cookies, query)
    if cookies:
        fields.append(("Cookie", "; ".join(cookies)))
    asked.query = "&".join(part for part in query if part)
    return asked


def give_credential(
    asked: Asked, draw: random.Random, methods: list[str], cookies: list[str], query: list[str]
) -> None:
    """In one of the places where its method looks for it."""
    method = draw.choice(methods)
    if method == "basic":
        name = draw.choice(list(PASSWORDS))
        text = base64.b64encode(f"{name}:{PASSWORDS[name]}".encode()).decode()
    else:
        name, text = draw.choice([(TOKENS[text][0], text) for text in TOKENS] if method == "jwt" else [*KEYS.items()])
    asked.place = draw.choice(PLACES[method])
    asked.credential = text
    if asked.route.auth:
        asked.identity = (method, name)
        asked.scope = TOKENS[text][1] if method == "jwt" else None
    if asked.place == "query":
        query.insert(draw.randint(0, len(query)), f"{QUERY_NAMES[method]}={text}")
    elif asked.place == "cookie":
        cookies.append(f"token={text}")
    elif asked.place in ("basic", "bearer"):
        asked.fields.append(("Authorization", f"{asked.place.capitalize()} {text}"))
    else:
        asked.fields.append((asked.place, text))
        if draw.random() < 0.2:
            asked.fields.append(("Authorization", "Other thing"))


# -- what an upstream gets


def is_hidden(world: World, asked: Asked) -> bool:
    """Whether the gateway removes the credential by which it knows the client."""
    if asked.identity is None:
        return False
    return {"key": world.hide_key, "basic": world.hide_basic, "jwt": False}[asked.identity[0]]


def forwarded(world: World, asked: Asked) -> Pairs:
    """The client's own fields, as the upstream gets them."""
    gone = set(DROPPED)
    if is_hidden(world, asked) and asked.place != "query":
        gone.add("authorization" if asked.place in ("bearer", "basic") else asked.place)
    return [(name, value) for name, value in asked.fields if name.lower() not in gone]


def query_forwarded(world: World, asked: Asked) -> bytes | None:
    """None: there is none."""
    parts = asked.query.split("&")
    if is_hidden(world, asked) and asked.place == "query":
        parts = [part for part in parts if not part.startswith("api_key=")]
    if not asked.query or not parts:
        return None
    rules = asked.route.cache.get("query", {})
    text = "&".join(parts).encode()
    return reference_key.query(text, only=rules.get("only"), without=rules.get("except"), sort=rules.get("sort", False))


def target_forwarded(world: World, asked: Asked) -> str:
    query = query_forwarded(world, asked)
    path = asked.path if asked.route.strips else f"/r{asked.route.number}{asked.path}"
    return path if query is None else f"{path}?{query.decode()}"


def told(world: World, asked: Asked) -> tuple[str, str, str]:
    """Scheme, host and port."""
    scheme, host, port = (asked.get(f"x-forwarded-{part}") for part in ("proto", "host", "port"))
    shown = host or asked.get("host") or ""
    if port is None and (scheme is not None or host is not None):
        port = shown.partition(":")[2] or ("443" if scheme == "https" else "80")
    return scheme or "http", shown, port or str(world.port)


def shows_credential(world: World, asked: Asked) -> bool:
    """Whether the upstream sees one: that by which the client is known, or Authorization."""
    if "authorization" in {name.lower() for name, _ in forwarded(world, asked)}:
        return True
    return asked.identity is not None and asked.place != "query" and not is_hidden(world, asked)


# -- who may have what


def as_bytes(pairs: Pairs) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def key_part(asked: Asked, fields: Pairs, part: str) -> object:
    kind, _, name = part.partition(":")
    if kind == "header":
        return reference_key.selecting_value(as_bytes(fields), name.encode())
    if kind == "cookie":
        return reference_key.cookies(as_bytes(fields), name.encode())
    if kind == "claim":
        return asked.scope
    return asked.get("x-forwarded-for") if kind == "client_ip" else asked.identity


def judge(world: World, asked: Asked, made: Made) -> reference_freshness.Judged:
    now = int(time.time())
    request = reference_freshness.Asked(
        as_bytes(asked.fields),
        "GET" if asked.method == "HEAD" else asked.method,
        identity=asked.identity is not None,
        forwarded=shows_credential(world, asked),
    )
    answer = reference_freshness.Answered(
        made.status, as_bytes(made.fields), wall=now, asked=now * 1000, received=now * 1000
    )
    return reference_freshness.judge(asked.route.judged, request, answer)


def forbidden(world: World, made: Made, client: Asked, said: Mapping[str, Any]) -> str | None:
    """Why the bytes made for one request may not answer another one; None: they may. ``said``: Cache-Status."""
    owner = world.requests[made.asked]
    rules = owner.route
    if client.route is not rules:
        return "another route"
    methods = {"GET" if each.method == "HEAD" else each.method for each in (owner, client)}
    if len(methods) > 1 or owner.method == "HEAD":
        return "another method"
    if owner.method in ("POST", "QUERY") and owner.body != client.body:
        return "another body"
    if told(world, owner) != told(world, client):
        return "another scheme, host or port"
    if owner.path != client.path or query_forwarded(world, owner) != query_forwarded(world, client):
        return "another path or query"
    ours, theirs = forwarded(world, owner), forwarded(world, client)
    for part in rules.cache.get("key", ()):
        if key_part(owner, ours, part) != key_part(client, theirs, part):
            return f"another {part}"
    if rules.by_identity():
        if owner.identity != client.identity:
            return "another identity"
        if shows_credential(world, owner) and owner.credential != client.credential:
            return "another credential of the same identity, which the upstream sees"
    judged = judge(world, owner, made)
    if judged.obstacle is not None:
        return f"it may not be stored: {judged.obstacle}"
    if any(reference_freshness.Asked(as_bytes(client.fields)).has(part) for part in rules.cache.get("bypass", ())):
        return "the client bypasses the store"
    for name in reference_freshness.selecting(rules.judged, as_bytes(made.fields)) or ():
        values = [reference_key.selecting_value(as_bytes(fields), name) for fields in (ours, theirs)]
        if values[0] != values[1]:
            return f"another {name.decode()}, by which it varies"
    return unfit(judged, client, said)


def unfit(judged: reference_freshness.Judged, client: Asked, said: Mapping[str, Any]) -> str | None:
    """Why it may not be given without asking the upstream; None: it may, or that was asked."""
    if "fwd-status" in said:
        return None
    if "validate" in judged.flags:
        return "it was to be validated"
    if "collapsed" in said and judged.fresh_until <= judged.born:
        return "it was not fresh when it came"
    request = reference.request_said(as_bytes(client.fields))[0]
    if client.route.cache.get("honor", True) is True and "no-cache" in request:
        return "the client wanted it validated"
    return None


def body_of(number: int, asked: str, upstream: str, target: str, method: str, seen: Pairs, pad: int) -> bytes:
    said = {"made": number, "asked": asked, "upstream": upstream, "target": target, "method": method, "seen": seen}
    return json.dumps(said).encode() + b" " * pad
