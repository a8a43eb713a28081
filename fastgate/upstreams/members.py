"""The addresses of an upstream: what its targets in the configuration are, once their names have been resolved.

A name stands for every address that it resolves to, each a target of its own. When the last good answer is too old it
is none. Until the first answer it is one target under its name, which is resolved for each connection. That is not so
where the configuration says how it is to be resolved (a DNS server, an address family, an SRV record): the system could
answer with the address of another server, so such a name is no target before it is known.
"""

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

from fastgate.config import DNS, Target, Upstream


class Address(NamedTuple):
    """One answer to a name. A port of 0 and a weight of 0 are those of the target that was named."""

    host: str
    port: int = 0
    weight: int = 0
    backup: bool = False
    authority: str = ""
    """The name that an SRV record gives, for Host and TLS; empty: that of the target."""


AddressesByName = dict[str, list[Address]]
"""What the names of one upstream resolve to, by `question_of`. Nothing is there before the first answer."""


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


def question_of(target: Target, dns: DNS) -> str:
    """What has to be resolved for a target, and by whom; empty for an address or a socket.

    Other settings make another question, to which the answers of the one before are none.
    """
    if target.unix or (not target.srv and _is_address(target.host)):
        return ""
    name = f"srv:{target.srv}" if target.srv else target.host
    return f"{name} {dns.server} {dns.family}" if is_awaited(target, dns) else name


def is_awaited(target: Target, dns: DNS) -> bool:
    """Whether nothing but an answer to its question says where a target with a name is."""
    return bool(target.srv or dns.server) or dns.family in ("ipv4", "ipv6")


def awaits_names(upstream: Upstream, found: AddressesByName) -> bool:
    """Whether an upstream may get targets with the first answer for one of its names."""
    questions = (question_of(target, upstream.dns) for target in upstream.targets if is_awaited(target, upstream.dns))
    return any(question and question not in found for question in questions)


def members_of(upstream: Upstream, found: AddressesByName) -> list[Member]:
    """The addresses of an upstream, each once, in the order of its targets."""
    members: dict[str, Member] = {}
    for target in upstream.targets:
        for member in _members_of(target, upstream.dns, found):
            members.setdefault(member.name, member)
    return list(members.values())


def _members_of(target: Target, dns: DNS, found: AddressesByName) -> Iterable[Member]:
    question = question_of(target, dns)
    answers = found.get(question)
    if target.unix:
        name = f"unix:{target.unix}"
        yield Member(name, "", 0, target.unix, target.tls, "localhost", "localhost", target.weight, target.backup)
    elif not question or (answers is None and not is_awaited(target, dns)):
        yield _member(target, Address(target.host))
    else:
        for answer in answers or ():
            yield _member(target, answer)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


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
