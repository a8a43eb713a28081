"""TLS towards clients: several certificates on one listener, chosen by name (SNI), replaced while it runs.

The listener keeps one context for its whole life. Its ``sni_callback`` always moves the handshake to a context of
the table, also when the client sends no name or the first certificate is meant, so that swapping the table replaces
everything that a certificate file settles: certificate, key and the authorities that clients are verified by. What
OpenSSL takes from the listener's own context (`min_version`, whether clients must have a certificate) holds for
every name alike and is fixed until the listener is opened again.

Names are the DNS names of each certificate's subjectAltName; ``*.example.com`` stands for one label (RFC 9525
section 6.3; the common name is not read). An exact name wins over a wildcard, an earlier certificate over a later
one. A name that no certificate has gets the first.
"""

import asyncio
import datetime as dt
import logging
import ssl
from typing import NamedTuple

from fastgate.config import TLS, ConfigError, Problem
from fastgate.upstreams.tls import fault, load_authorities, load_identity, stamp_files

_log = logging.getLogger("fastgate.tls")

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

_EXPIRES_SOON = dt.timedelta(days=7)


class ServerTLS:
    """The TLS side of a listener: ``[gateway.tls]`` with its files read.

    Building it raises `ConfigError` with every file that cannot be used. A certificate out of its time is only
    warned about.
    """

    def __init__(self, tls: TLS, where: str = "gateway.tls") -> None:
        self._tls = tls
        self._where = where
        self._files = _files_of(tls)
        self._stamp = self._seen = stamp_files(self._files)
        self._table = self._read()
        self.context: ssl.SSLContext = self._new_context(0)
        self.context.sni_callback = self._choose

    @property
    def names(self) -> list[str]:
        """Every name that a certificate answers to, in the order of the certificates."""
        return list(self._table.names)

    @property
    def checks_server_name(self) -> bool:
        """True with ``client_auth``: a request whose Host is not the SNI name is misdirected (421)."""
        return self._tls.client_auth != "none"

    def take_over(self, other: "ServerTLS") -> None:
        """Certificates and authorities of another configuration from now on, for the same listener."""
        self._tls, self._files, self._table = other._tls, other._files, other._table
        self._stamp, self._seen = other._stamp, other._seen

    def reload(self) -> None:
        """Reads all files again; new handshakes use them, open connections stay as they are.

        On failure the old certificates stay and `ConfigError` is raised.
        """
        stamp = stamp_files(self._files)
        self._table = self._read()
        self._stamp = self._seen = stamp

    def poll(self) -> bool:
        """Reloads when a file has changed, and says whether it did; costs one stat a file. May run in any thread.

        A change counts when two polls in a row have seen it the same, so that a certificate is not read before its
        key has been written. What cannot be used is logged once, and the old certificates stay until the files
        change again.
        """
        stamp = stamp_files(self._files)
        settled, self._seen = stamp == self._seen, stamp
        if stamp == self._stamp or not settled:
            return False
        try:
            self.reload()
        except ConfigError as error:
            self._stamp = stamp
            _log.error("the certificates are not replaced: %s", "; ".join(str(problem) for problem in error.problems))
            return False
        _log.info("certificates replaced: %s", ", ".join(self._table.names) or "no names")
        return True

    async def watch(self, interval: float = 10.0) -> None:
        """Polls every ``interval`` seconds until it is cancelled; files are read in a thread."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(interval)
            await loop.run_in_executor(None, self.poll)

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
        if name is not None:
            name = name.lower().removesuffix(".")
            if not all(0 < len(label) < 64 for label in name.split(".")):
                return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        # uvloop and asyncio give this very object out as ``ssl_object`` of the transport.
        connection.sni_name = name  # type: ignore[union-attr]
        connection.context = self._table.find(name)
        return None

    def _read(self) -> "_Table":
        problems: list[Problem] = []
        table = _Table()
        for index, entry in enumerate(self._tls.certificates):
            where = f"{self._where}.certificates[{index}]"
            try:
                context = self._new_context(index)
                names = _names_of(entry.cert, f"{where}.cert")
            except ConfigError as error:
                problems.extend(error.problems)
            else:
                if not table.add(names, context) and index:
                    _log.warning("%s: %s has no name of its own and is never chosen", where, entry.cert)
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))
        return table

    def _new_context(self, index: int) -> ssl.SSLContext:
        tls = self._tls
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Python 3.11.2 and 3.11.3 set it: a connection that is cut would look like one that ended.
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        context.minimum_version = _VERSIONS[tls.min_version]
        context.set_alpn_protocols(["http/1.1"])
        context.options |= ssl.OP_NO_RENEGOTIATION
        if tls.client_auth != "none":
            if not tls.client_ca:
                raise fault(f"{self._where}.client_ca", f'is needed with client_auth = "{tls.client_auth}"')
            load_authorities(context, tls.client_ca, f"{self._where}.client_ca")
            context.verify_mode = _CLIENT_AUTH[tls.client_auth]
            # A resumed session is not verified again, whatever happened to client_ca since.
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
        entry = tls.certificates[index]
        where = f"{self._where}.certificates[{index}]"
        load_identity(context, entry.cert, entry.key, f"{where}.cert", f"{where}.key")
        return context


class _Table:
    """What a handshake chooses from; never changed once it is in use."""

    def __init__(self) -> None:
        self._exact: dict[str, ssl.SSLContext] = {}
        self._wildcards: dict[str, ssl.SSLContext] = {}
        self._default: ssl.SSLContext | None = None
        self.names: list[str] = []

    def add(self, names: list[str], context: ssl.SSLContext) -> bool:
        """False when every name is taken by an earlier certificate."""
        if self._default is None:
            self._default = context
        added = False
        for name in names:
            table, key = (self._wildcards, name[2:]) if name.startswith("*.") else (self._exact, name)
            if key not in table:
                table[key] = context
                self.names.append(name)
                added = True
        return added

    def find(self, name: str | None) -> ssl.SSLContext:
        assert self._default is not None
        if name is None:
            return self._default
        return self._exact.get(name) or self._wildcards.get(name.partition(".")[2]) or self._default


class _Certificate(NamedTuple):
    names: list[str]
    not_before: dt.datetime
    not_after: dt.datetime


def sni_name(connection: object) -> str | None:
    """The name that the client asked for in its handshake, ASCII in lower case; None when it sent none.

    ``connection`` is the transport's ``ssl_object``, of a listener whose context came from `ServerTLS`.
    """
    name: str | None = getattr(connection, "sni_name", None)
    return name


def _files_of(tls: TLS) -> list[str]:
    files = [file for entry in tls.certificates for file in (entry.cert, entry.key) if file]
    return [*files, tls.client_ca] if tls.client_ca else files


def _names_of(file: str, where: str) -> list[str]:
    """The names of a certificate; warns when it is out of its time or soon will be."""
    certificate = _inspect(file, where)
    now = dt.datetime.now(dt.UTC)
    if certificate.not_after <= now:
        _log.warning("%s: %s expired on %s", where, file, certificate.not_after.date())
    elif certificate.not_before > now:
        _log.warning("%s: %s is not valid before %s", where, file, certificate.not_before)
    elif certificate.not_after - now < _EXPIRES_SOON:
        _log.warning("%s: %s expires on %s", where, file, certificate.not_after.date())
    return certificate.names


def _inspect(file: str, where: str) -> _Certificate:
    from cryptography import x509  # 11 MB and 30 ms that a gateway without certificates need not pay

    try:
        with open(file, "rb") as stream:
            leaf = x509.load_pem_x509_certificates(stream.read())[0]
        try:
            extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            names = [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]
        except x509.ExtensionNotFound:
            names = []
        return _Certificate(names, leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    except (ValueError, OSError) as error:
        raise fault(where, f"{file} cannot be read as a certificate ({error})") from error
