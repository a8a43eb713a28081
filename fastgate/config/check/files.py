"""The files that a configuration names, looked at before anything is started: they are there and can be read."""

import os
from collections.abc import Iterator

from fastgate.config.errors import PathKeys
from fastgate.config.schema.basic import read_users
from fastgate.config.schema.root import Root


def check_files(config: Root) -> list[tuple[PathKeys, str]]:
    """What is wrong with the files, those of users with every line; others are read by those who use them."""
    found: list[tuple[PathKeys, str]] = []
    for keys, path in read_files(config):
        reason = _unreadable(path)
        if reason:
            found.append((keys, f"{path} {reason}"))
    if config.auth.basic is not None:
        found += [(("auth", "basic", "file"), fault) for fault in read_users(config.auth.basic)[1]]
    for name in ("log", "access_log"):
        path = getattr(config.gateway, name).path
        reason = "" if path in ("", "-") else _unwritable(path)
        if reason:
            found.append((("gateway", name, "path"), f"{path} {reason}"))
    return found


def read_files(config: Root) -> Iterator[tuple[PathKeys, str]]:
    """Every file that is read, with its key."""
    tls = config.gateway.tls
    if tls is not None:
        for number, certificate in enumerate(tls.certificates):
            yield ("gateway", "tls", "certificates", number, "cert"), certificate.cert
            yield ("gateway", "tls", "certificates", number, "key"), certificate.key
        if tls.client_ca:
            yield ("gateway", "tls", "client_ca"), tls.client_ca
    for number, route in enumerate(config.routes):
        if route.body_schema:
            yield ("routes", number, "body_schema"), route.body_schema.file
    if config.auth.jwt is not None and config.auth.jwt.ca:
        yield ("auth", "jwt", "ca"), config.auth.jwt.ca
    if config.auth.forward is not None and config.auth.forward.tls is not None:
        for key in ("ca", "cert", "key"):
            path = getattr(config.auth.forward.tls, key)
            if path:
                yield ("auth", "forward", "tls", key), path
    for name, upstream in config.upstreams.items():
        if upstream.tls is not None:
            for key in ("ca", "cert", "key"):
                path = getattr(upstream.tls, key)
                if path:
                    yield ("upstreams", name, "tls", key), path


def _unreadable(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            stream.read(1)
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {(error.strerror or str(error)).lower()}"
    return ""


def _unwritable(path: str) -> str:
    if os.path.isdir(path):
        return "is a folder"
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        return f"cannot be written: the folder {folder} does not exist"
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        return "cannot be written: permission denied"
    return ""
