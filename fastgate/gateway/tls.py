"""TLS towards clients: several certificates on one listener, chosen by name (SNI), replaced while it runs.

Each handshake begins with ``context``, whose ``sni_callback`` always moves it to a context of the table, also when
the client sends no name or the first certificate is meant, so that swapping the table replaces everything that a
certificate file settles: certificate, key and the authorities that clients are verified by. What OpenSSL takes from
the first context (`min_version`, whether clients must have a certificate) holds for every name alike and is fixed
until the listener is opened again.

A session that is resumed is not verified again, and OpenSSL keeps sessions in the context that a handshake began with.
So with ``client_auth`` a reload makes that context anew: what was verified by the authorities of before cannot be
resumed. Open connections know which authorities they rely on (`verified`) and are asked after a reload (`withdrawn`).

Names are the DNS names of each certificate's subjectAltName; ``*.example.com`` stands for one label (RFC 9525
section 6.3; the common name is not read). An exact name wins over a wildcard, an earlier certificate over a later
one. A name that no certificate has gets the first.
"""

import asyncio
import datetime as dt
import hashlib
import logging
import ssl
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from fastgate.config import TLS, ConfigError, Problem
from fastgate.upstreams.tls import fault, load_authorities, load_identity, stamp_files

_log = logging.getLogger("fastgate.tls")

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

_EXPIRES_SOON = dt.timedelta(days=7)

_SESSIONS = 20_480  # as many as a context of OpenSSL keeps
_DER = 2  # _ssl.ENCODING_DER
_UNKNOWN = frozenset([b""])  # not among any authorities


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
        self.context: ssl.SSLContext = self._first_context()
        self.changed: Callable[[], object] = lambda: None
        """Called when certificates or authorities were replaced, by `watch` and whoever calls `reload` or `poll`."""
        self._authorities = self._read_authorities()
        self._sessions: OrderedDict[bytes, frozenset[bytes]] = OrderedDict()

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
        self._tls, self._files = other._tls, other._files
        self._stamp, self._seen = other._stamp, other._seen
        self._replace(other._table)

    def reload(self) -> None:
        """Reads all files again; new handshakes use them, open connections stay as they are.

        On failure the old certificates stay and `ConfigError` is raised.
        """
        stamp = stamp_files(self._files)
        self._replace(self._read())
        self._stamp = self._seen = stamp

    def _replace(self, table: "_Table") -> None:
        self._table = table
        if self.checks_server_name:
            self._authorities = self._read_authorities()
            self._sessions = OrderedDict()
            self.context = self._first_context()

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
            _log.error("keeping the previous certificates: %s", "; ".join(str(problem) for problem in error.problems))
            return False
        _log.info("reloaded the certificates: %s", ", ".join(self._table.names) or "no names")
        return True

    async def watch(self, interval: float = 10.0) -> None:
        """Polls every ``interval`` seconds until it is cancelled; files are read in a thread."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(interval)
            if await loop.run_in_executor(None, self.poll):
                self.changed()

    # -- certificates of clients

    def verified(self, connection: ssl.SSLObject) -> frozenset[bytes] | None:
        """What the verification of a client's certificate relies on; None: the client has shown none.

        That is the authority that its chain ends with, and what stands between that it did not send itself.
        """
        if not self.checks_server_name or not connection.getpeercert(binary_form=True):
            return None
        session = connection.session.id if connection.version() == "TLSv1.2" and connection.session else b""
        if connection.session_reused:
            # The chain is not kept with a session.
            return self._sessions.get(session, _UNKNOWN)
        chain = _chain(connection, "get_verified_chain")
        sent = set(_chain(connection, "get_unverified_chain"))
        relied = _digests([*(each for each in chain[1:-1] if each not in sent), *chain[-1:]])
        if session:
            self._sessions[session] = relied
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        return relied or _UNKNOWN

    def withdrawn(self, verified: frozenset[bytes]) -> bool:
        """Whether something that a verification relied on has been taken away since."""
        return not verified <= self._authorities

    def _read_authorities(self) -> frozenset[bytes]:
        return _digests(self._table.find(None).get_ca_certs(binary_form=True))

    def _first_context(self) -> ssl.SSLContext:
        context = self._new_context(0)
        context.sni_callback = self._choose
        return context

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
        if name is not None:
            name = name.lower().removesuffix(".")
            if not all(0 < len(label) < 64 for label in name.split(".")):
                return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        # This very object is the ``ssl_object`` of the transport.
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
                    _log.warning("%s: other certificates have all names of %s; it is never used", where, entry.cert)
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
                raise fault(f"{self._where}.client_ca", f'is required with client_auth = "{tls.client_auth}"')
            load_authorities(context, tls.client_ca, f"{self._where}.client_ca")
            context.verify_mode = _CLIENT_AUTH[tls.client_auth]
            # What a ticket holds cannot be taken back; sessions of TLS 1.2 are: see the module.
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


def _chain(connection: ssl.SSLObject, method: str) -> list[bytes]:
    """The certificates of a chain, encoded; Python before 3.13 has this one floor below and as objects."""
    find = getattr(connection, method, None) or getattr(connection._sslobj, method)  # type: ignore[attr-defined]
    chain = find() or ()
    return [each if isinstance(each, bytes) else each.public_bytes(_DER) for each in chain]


def _digests(certificates: Iterable[bytes]) -> frozenset[bytes]:
    return frozenset(hashlib.sha256(each).digest() for each in certificates)


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
        raise fault(where, f"cannot read a certificate from {file} ({error})") from error
