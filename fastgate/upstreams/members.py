"""The addresses of an upstream: what its targets in the configuration are, once their names have been resolved.

A name stands for every address that it resolves to, each a target of its own. Until the first answer it is one target
under its name, which is then resolved by whoever connects; when the last good answer is too old it is none.
"""

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

from fastgate.config import Target, Upstream


class Address(NamedTuple):
    """One answer to a name. A port of 0 and a weight of 0 are those of the target that was named."""

    host: str
    port: int = 0
    weight: int = 0
    backup: bool = False
    authority: str = ""
    """The name that an SRV record gives, for Host and TLS; empty: that of the target."""


Found = dict[str, list[Address]]
"""What the names of one upstream resolve to, by `question_of`."""


class Member(NamedTuple):
    """One address that requests can go to. ``name`` is what logs call it, and its identity in shared memory."""

    name: str
    host: str
    port: int
    unix: str
    tls: bool
    authority: str
    tls_name: str
    weight: int
    backup: bool


def question_of(target: Target) -> str:
    """The name that has to be resolved for a target: empty for an address or a socket; ``srv:`` before a service."""
    if target.srv:
        return f"srv:{target.srv}"
    if target.unix:
        return ""
    try:
        ipaddress.ip_address(target.host)
    except ValueError:
        return target.host
    return ""


def members_of(upstream: Upstream, found: Found) -> list[Member]:
    """The addresses of an upstream, each once, in the order of its targets."""
    members: dict[str, Member] = {}
    for target in upstream.targets:
        for member in _members_of(target, found):
            members.setdefault(member.name, member)
    return list(members.values())


def _members_of(target: Target, found: Found) -> Iterable[Member]:
    question = question_of(target)
    answers = found.get(question)
    if target.unix:
        name = f"unix:{target.unix}"
        yield Member(name, "", 0, target.unix, target.tls, "localhost", "localhost", target.weight, target.backup)
    elif not question or (answers is None and not target.srv):
        yield _member(target, Address(target.host))
    else:
        for answer in answers or ():
            yield _member(target, answer)


def _member(target: Target, address: Address) -> Member:
    port = address.port or target.port
    named = address.authority or target.host
    authority = _bracketed(named)
    if port != (443 if target.tls else 80):
        authority = f"{authority}:{port}"
    return Member(
        name=f"{_bracketed(address.host)}:{port}",
        host=address.host,
        port=port,
        unix="",
        tls=target.tls,
        authority=authority,
        tls_name=named,
        weight=address.weight or target.weight,
        backup=address.backup or target.backup,
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
