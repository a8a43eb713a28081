"""The contenders: how each is found, configured and started, and when it answers.

Configurations are committed in ``peers/``; only ports, folders and TLS lines are filled in here.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.load import DOCUMENT, WORK, ask, request_head
from benchmarks.machine import FILES, ROOT, Unavailable, interpreter_of, pinned, raise_file_limit
from benchmarks.processes import Process

PEERS = Path(__file__).resolve().parent / "peers"

def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def fill(text: str, values: Mapping[str, object]) -> str:
    """``text`` with every ``@name@`` of ``values`` replaced (nginx and Caddy use ``$`` and ``{}`` themselves)."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def found(program: str) -> str:
    """Path of an installed program, system folders included; ``Unavailable`` when absent."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        raise Unavailable(f"{program} is not installed")
    return path


@dataclass(frozen=True)
class Certificate:
    """PEM files for the TLS lanes; ``both`` has key and certificate in one file, as HAProxy wants them."""

    cert: Path
    key: Path
    both: Path

    @classmethod
    def make(cls) -> Certificate:
        """A self-signed P-256 certificate for localhost, made once with openssl."""
        cert, key, both = (WORK / name for name in ("cert.pem", "key.pem", "both.pem"))
        if not both.exists():
            WORK.mkdir(exist_ok=True)
            command = [found("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
            command += ["-nodes", "-days", "3650", "-subj", "/CN=localhost"]
            command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
            subprocess.run(command, check=True, capture_output=True)
            both.write_text(cert.read_text() + key.read_text())
        return cls(cert, key, both)


@dataclass(frozen=True)
class Kind:
    """One program: its configuration file in ``peers/``, its command line and its TLS lines."""

    name: str
    file: str
    command: Callable[[Path], list[str]]
    tls: Callable[[Certificate | None], dict[str, object]]
    environment: Mapping[str, str]


def _nginx_tls(certificate: Certificate | None) -> dict[str, object]:
    if certificate is None:
        return {"tls": "", "certificate": ""}
    lines = f"ssl_certificate {certificate.cert}; ssl_certificate_key {certificate.key};"
    return {"tls": "ssl", "certificate": lines}


def _haproxy_tls(certificate: Certificate | None) -> dict[str, object]:
    return {"tls": "" if certificate is None else f"ssl crt {certificate.both} alpn http/1.1"}


def _caddy_tls(certificate: Certificate | None) -> dict[str, object]:
    if certificate is None:
        return {"scheme": "http", "tls": ""}
    return {"scheme": "https", "tls": f"tls {certificate.cert} {certificate.key}"}


def _fastgate_tls(certificate: Certificate | None) -> dict[str, object]:
    if certificate is None:
        return {"tls": ""}
    return {"tls": f'[gateway.tls]\ncertificates = [{{ cert = "{certificate.cert}", key = "{certificate.key}" }}]'}


def _nginx(name: str, file: str) -> Kind:
    return Kind(name, file, lambda path: [found("nginx"), "-p", str(path.parent), "-c", str(path)], _nginx_tls, {})


def _haproxy(name: str, file: str) -> Kind:
    return Kind(name, file, lambda path: [found("haproxy"), "-db", "-f", str(path)], _haproxy_tls, {})


ARGUMENTS = "# varnishd "
"""Begins the line of Varnish's file with its arguments: it has no configuration for them."""


def _varnish(file: Path) -> list[str]:
    line = next(line for line in file.read_text().splitlines() if line.startswith(ARGUMENTS))
    return [found("varnishd"), *shlex.split(line.removeprefix(ARGUMENTS))]


def _fastgate(name: str, template: str, checkout: Path = ROOT, python: str = sys.executable) -> Kind:
    # A safe path has no folder that happens to be the current one before those of PYTHONPATH.
    path = os.pathsep.join(filter(None, [str(checkout), os.environ.get("PYTHONPATH", "")]))
    return Kind(
        name,
        template,
        lambda file: [python, "-c", "from fastgate.cli import main; main()", "serve", str(file)],
        _fastgate_tls,
        {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
    )


def earlier(kind: Kind, checkout: Path) -> Kind:
    """Our own ``kind`` with the gateway of another checkout."""
    return _fastgate(kind.name, kind.file, checkout, str(interpreter_of(checkout)))


KINDS = {
    kind.name: kind
    for kind in (
        _nginx("nginx", "nginx.conf"),
        _nginx("nginx-traffic", "nginx-traffic.conf"),
        _nginx("nginx-many", "nginx-many.conf"),
        _nginx("nginx-log", "nginx-log.conf"),
        _nginx("nginx-cache", "nginx-cache.conf"),
        _haproxy("haproxy", "haproxy.cfg"),
        _haproxy("haproxy-cache", "haproxy-cache.cfg"),
        Kind("varnish", "varnish.vcl", _varnish, lambda _: {}, {}),
        Kind(
            "caddy",
            "Caddyfile",
            lambda path: [found("caddy"), "run", "--config", str(path), "--adapter", "caddyfile"],
            _caddy_tls,
            {"GOMAXPROCS": "1"},
        ),
        _fastgate("fastgate", "fastgate.toml"),
        *(
            _fastgate(f"fastgate-{rules}", f"fastgate-{rules}.toml")
            for rules in ("traffic", "many", "key", "jwt", "browser", "plugin", "log", "chain", "cache", "crowd")
        ),
    )
}


class Proxy:
    """A contender that runs, in front of the origin at ``origin``. A context manager.

    ``core`` pins it; ``None`` leaves it to the scheduler. ``label`` tells two of a kind apart; ``head`` is the request
    that it is asked first, where not every request is answered; ``values`` are filled into its configuration too;
    ``checkout`` is where our own gateway is taken from, in place of this one.
    Raises ``Unavailable`` when the program is absent or does not answer within ten seconds, with its own last words.
    """

    def __init__(
        self,
        kind: str,
        origin: int,
        core: int | None,
        *,
        label: str = "",
        certificate: Certificate | None = None,
        head: bytes = b"",
        values: Mapping[str, object] | None = None,
        checkout: Path | None = None,
        wait: bool = True,
    ) -> None:
        self.kind = KINDS[kind] if checkout is None else earlier(KINDS[kind], checkout)
        self.head = head or request_head()
        self.label = label or kind
        self.port = free_port()
        self.certificate = certificate
        self._folder = tempfile.TemporaryDirectory(prefix=f"benchmark-{kind}-")
        self.folder = folder = Path(self._folder.name)
        folder.chmod(0o755)
        file = folder / self.kind.file
        filled = {"port": self.port, "origin": origin, "folder": folder, **self.kind.tls(certificate), **(values or {})}
        filled["connections"] = (raise_file_limit(FILES) - 200) // 2
        file.write_text(fill((PEERS / self.kind.file).read_text(), filled))
        try:
            command = self.kind.command(file)
            environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), **self.kind.environment}
            self.process = Process(
                command if core is None else pinned(core, command), folder / "output", environment=environment
            )
        except Unavailable:
            self._folder.cleanup()
            raise
        if wait:
            try:
                self.wait()
                if checkout is not None:
                    self.check(checkout)
            except BaseException:
                self.close()
                raise

    def check(self, checkout: Path) -> None:
        """Raise ``Unavailable`` when the gateway that serves is not that of ``checkout``."""
        core = checkout / "fastgate" / "_core"
        if str(core) not in Path(f"/proc/{self.process.worker()}/maps").read_text():
            raise Unavailable(f"{self.label} does not run what is in {core}")

    def wait(self, limit: float = 10.0, pause: float = 0.02) -> None:
        """Return when the origin has been reached through this proxy once."""
        end = time.monotonic() + limit
        while True:
            try:
                if self.certificate is None:
                    answer = ask(self.port, self.head)
                    if answer.status == 200 and len(answer.body) == DOCUMENT:
                        return
                    reason = f"answered {answer.status} with {len(answer.body)} bytes"
                else:
                    socket.create_connection(("127.0.0.1", self.port), 1).close()
                    return
            except OSError as error:
                reason = str(error)
            if not self.process.running:
                raise Unavailable(f"{self.label} ended at once: {self.process.words() or 'without a word'}")
            if time.monotonic() > end:
                raise Unavailable(f"{self.label} does not answer ({reason}): {self.process.words()}")
            time.sleep(pause)

    def close(self) -> None:
        """End the proxy and remove its folder."""
        self.process.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
