"""Hosts: which are any, and the one form in which they are compared, against a plain reading."""

import ipaddress
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastgate._core.probes.core import host, host_form

NAME = re.compile(rb"[!$%&'()*+;=_~0-9A-Za-z-]+(\.[!$%&'()*+;=_~0-9A-Za-z-]+)*\.?")
PORT = re.compile(rb"(:[0-9]{0,5})?")
ZONE = re.compile(rb"(%25[!$%&'()*+.;=_~0-9A-Za-z-]+)?")


def plain(text: bytes) -> bytes | None:
    """The form of a host by the book; None: it is none."""
    if text.startswith(b"["):
        inside, bracket, rest = text[1:].partition(b"]")
        address, percent, zone = inside.partition(b"%")
        if not bracket or not ZONE.fullmatch(percent + zone):
            return None
        try:
            form = ipaddress.IPv6Address(address.decode("ascii"))
        except ValueError:
            return None
        name = b"[%b]" % str(form).encode()
    else:
        name, colon, port = text.partition(b":")
        rest = colon + port
        if not NAME.fullmatch(name):
            return None
        name = name.lower().removesuffix(b".")
    if not PORT.fullmatch(rest) or int(rest[1:] or b"0") > 65535:
        return None
    return name


pieces = st.sampled_from([
    b"a", b"B", b"test", b".", b"..", b":", b"80", b"443", b"65535", b"65536", b"[", b"]", b"::1", b"0:0", b"::",
    b"ffff", b"FE80", b"%25", b"eth0", b"%", b"192.0.2.1", b"_", b"-", b"/", b"@", b" ", b"\0", b"\xe4", b"[::1]",
    b"[fe80::1%25x]", b"xn--a",
])


@settings(max_examples=1500, deadline=None)
@given(st.one_of(st.lists(pieces, max_size=7).map(b"".join), st.binary(max_size=8)))
@example(b"[" + b"0:" * 40 + b"]")
@example(b"[::1%25]")
def test_what_is_a_host_and_its_form(text: bytes) -> None:
    form = plain(text)
    assert host(text) == (form is not None)
    if form is not None and (not form.startswith(b"[") or b"." not in form):
        assert host_form(text) == form
        assert host_form(form) == form


@given(st.ip_addresses(v=6), st.sampled_from(["", ":80", ":"]))
def test_a_literal_has_one_form(address: ipaddress.IPv6Address, port: str) -> None:
    spellings = (str(address), address.exploded, address.exploded.upper())
    forms = {host_form(f"[{spelled}]{port}".encode()) for spelled in spellings}
    assert len(forms) == 1
    form = forms.pop()
    assert form is not None
    assert ipaddress.IPv6Address(form[1:-1].decode()) == address


def test_a_name_that_is_too_long_has_no_form() -> None:
    assert host_form(b"a" * 255) == b"a" * 255
    assert host_form(b"a" * 255 + b".:80") == b"a" * 255
    assert host_form(b"a" * 256) is None
