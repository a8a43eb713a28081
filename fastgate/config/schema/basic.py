"""The keys of ``[auth.basic]``: names and passwords, in the configuration or in a htpasswd file."""

import re
from typing import Annotated

from msgspec import Meta, field

from fastgate.config.schema.kinds import Count, Duration, Path, Positive, about
from fastgate.config.schema.table import Table

# 128 bits of salt are 21 characters and 2 bits of another.
_HASH = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_HIGHEST_COST = 17  # some 8 seconds for each password that is tried
_OTHER_HASHES = {
    "$apr1$": "MD5",
    "$1$": "MD5",
    "{SHA}": "SHA-1",
    "{SSHA}": "SHA-1",
    "$5$": "SHA-256",
    "$6$": "SHA-512",
    "$y$": "yescrypt",
    "$7$": "scrypt",
    "$argon2": "Argon2",
}

UserName = Annotated[str, Meta(min_length=1, max_length=255, extra={"kind": "user name"})]
PasswordHash = Annotated[str, Meta(extra={"kind": "password hash"})]
Realm = Annotated[str, Meta(max_length=128, extra={"kind": "realm"})]


class BasicCache(Table, frozen=True, kw_only=True):
    """Credentials that were verified recently: the gateway computes each hash only once. It keeps no passwords."""

    ttl: Annotated[
        Duration,
        about(
            "How long each worker remembers a verified credential. 0: it computes a hash for each request.",
            also=["duration", "timeout", "expires"],
        ),
    ] = 300.0
    max_entries: Annotated[
        Positive, about("The most credentials that each worker remembers.", also=["size", "max_size"])
    ] = 1000


class Basic(Table, frozen=True, kw_only=True):
    """User names and passwords (RFC 7617). Set at least one of `users` and `file`.

    The configuration stores passwords as bcrypt hashes. A password has at most 72 bytes, because bcrypt does not read
    more.
    """

    users: Annotated[
        dict[UserName, PasswordHash],
        about(
            "User names, each with the hash of its password.",
            examples=[{"alice": "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"}],
            also=["credentials", "accounts", "consumers", "basic_users"],
        ),
    ] = field(default_factory=dict)
    file: Annotated[
        Path,
        about(
            "A file of `htpasswd -B`. The gateway reads it when it starts and at each reload.",
            examples=["htpasswd"],
            also=["htpasswd", "users_file", "auth_basic_user_file", "usersfile", "path"],
        ),
    ] = ""
    realm: Annotated[
        Realm, about("The realm, which browsers may show when they ask for a password.", also=["name"])
    ] = "fastgate"
    hide: Annotated[
        bool,
        about(
            "Do not forward the credential to the upstream.", also=["hide_credentials", "remove_header", "removeheader"]
        ),
    ] = True
    cache: Annotated[
        BasicCache, about("Verified credentials that each worker remembers, to save hashes.", also=["cached"])
    ] = BasicCache()
    threads: Annotated[
        Annotated[int, Meta(ge=1, le=64)],
        about(
            "How many hashes each worker computes at a time, while it serves other requests.",
            also=["workers", "concurrency"],
        ),
    ] = 2
    queue: Annotated[
        Count,
        about("Requests of each worker that may wait for a hash; further ones get 503.", also=["max_queue", "backlog"]),
    ] = 64


def check_user_name(text: str) -> str:
    """The name as it is; ValueError for one that no client can send (RFC 7617, section 2)."""
    if ":" in text:
        raise ValueError("a name must not contain a colon, which ends the name")
    if any(character < " " or character == "\x7f" for character in text):
        raise ValueError("a name must not contain control characters")
    return text


def check_password_hash(text: str) -> str:
    """A bcrypt hash as it is; ValueError for anything else. It never repeats any part of the text."""
    for prefix, name in _OTHER_HASHES.items():
        if text.startswith(prefix):
            raise ValueError(f"the hash is {name}, but the gateway accepts only bcrypt")
    match = _HASH.fullmatch(text)
    if match is None:
        raise ValueError("expected the bcrypt hash of a password; `fastgate keys hash-password` prints one")
    if not 4 <= int(match[1]) <= _HIGHEST_COST:
        raise ValueError(f"the bcrypt cost must be 4 to {_HIGHEST_COST}, got {int(match[1])}")
    return text


def check_realm(text: str) -> str:
    """The realm as it is; ValueError for what cannot stand between quotation marks in a header field."""
    if not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text:
        raise ValueError('a realm must be printable ASCII without " and \\')
    return text


def read_users(basic: Basic) -> tuple[dict[str, str], list[str]]:
    """The hash of each name in the file and in the table, and what is wrong with the file."""
    if not basic.file:
        return dict(basic.users), []
    try:
        with open(basic.file, encoding="utf-8-sig", newline="") as stream:
            users, faults = parse_htpasswd(stream.read())
    except OSError as error:
        return {}, [f"cannot read {basic.file}: {(error.strerror or str(error)).lower()}"]
    except UnicodeDecodeError:
        return {}, [f"{basic.file} is not UTF-8 text"]
    faults += [f'"{name}" is also in users' for name in users if name in basic.users]
    if not users and not basic.users and not faults:
        return {}, [f"{basic.file} has no users"]
    return {**users, **basic.users}, [f"{basic.file}, {fault}" for fault in faults]


def parse_htpasswd(text: str) -> tuple[dict[str, str], list[str]]:
    """The hash of each name in a htpasswd file, and what is wrong with the file, each with its line.

    White space around a line is no part of it: no name begins with some.
    """
    users: dict[str, str] = {}
    lines: dict[str, int] = {}
    faults = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, stored = line.partition(":")
        try:
            if not colon or not name:
                raise ValueError("expected NAME:HASH")
            if not name.isprintable():
                raise ValueError("the name contains invisible characters, such as a byte order mark")
            check_user_name(name)
            check_password_hash(stored)
            if name in users:
                raise ValueError(f'"{name}" is already in line {lines[name]}')
        except ValueError as error:
            faults.append(f"line {number}: {error}")
        else:
            users[name] = stored
            lines[name] = number
    return users, faults
