"""TLS towards upstreams, and the reading of certificate files that both sides share.

An upstream's certificate is verified unless its configuration says ``verify = false``: against the system's
authorities, or against ``ca`` alone where that is given. The name that must be in the certificate is
``server_name``, else the target's host.

Building a context costs milliseconds (the system's authorities are some hundred certificates), so there is one for
each setting; it is built anew when one of its files has changed.
"""

import codecs
import os
import ssl

from fastgate.config import ConfigError, Problem, UpstreamTLS

Stamp = tuple[tuple[int, int, int] | None, ...]

_contexts: dict[UpstreamTLS | None, tuple[Stamp, ssl.SSLContext]] = {}


def client_context(tls: UpstreamTLS | None, where: str = "tls") -> ssl.SSLContext:
    """The context for connections to an upstream; None: verified by the system's authorities.

    ``where`` is the configuration path that errors are reported under. Raises `ConfigError` when a file cannot be
    used.
    """
    files = [] if tls is None else [file for file in (tls.ca, tls.cert, tls.key) if file]
    stamp = stamp_files(files)
    known = _contexts.get(tls)
    if known is not None and known[0] == stamp:
        return known[1]
    context = _build(tls, where)
    _contexts[tls] = (stamp, context)
    return context


def server_name(tls: UpstreamTLS | None, host: str) -> str:
    """The name sent as SNI and looked for in the certificate: ``server_name`` where it is set, else the host."""
    name = tls.server_name if tls is not None and tls.server_name else host
    return name.strip("[]").removesuffix(".")


def _build(tls: UpstreamTLS | None, where: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Python 3.11.2 and 3.11.3 set it: a connection that is cut would look like one that ended.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if tls is None:
        context.load_default_certs()
        return context
    problems: list[Problem] = []
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca:
        try:
            load_authorities(context, tls.ca, f"{where}.ca")
        except ConfigError as error:
            problems += error.problems
        # Who names a certificate trusts that certificate, be it a root, an intermediate or the server's own.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    else:
        context.load_default_certs()
    if tls.key and not tls.cert:
        raise fault(f"{where}.key", 'needs "cert" too')
    if tls.cert:
        try:
            load_identity(context, tls.cert, tls.key or "", f"{where}.cert", f"{where}.key")
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return context


def load_authorities(context: ssl.SSLContext, file: str, where: str) -> None:
    """Makes the certificates of a PEM file the ones that ``context`` trusts. Raises `ConfigError`."""
    check_readable(file, where)
    try:
        context.load_verify_locations(cafile=file)
    except (ssl.SSLError, OSError) as error:
        raise fault(where, f"{file} does not contain a valid certificate ({_reason(error)})") from error


def load_identity(context: ssl.SSLContext, cert: str, key: str, where_cert: str, where_key: str) -> None:
    """Loads a certificate with its chain and its key (an empty ``key``: both lie in ``cert``). Raises `ConfigError`."""
    check_readable(cert, where_cert)
    if key:
        check_readable(key, where_key)
    try:
        context.load_cert_chain(cert, key or None, password=_no_password)
    except _PasswordAsked as error:
        raise fault(where_key, f"{key or cert} is encrypted; the key must be readable without a password") from error
    except ssl.SSLError as error:
        raise _identity_fault(cert, key or cert, where_cert, where_key, error) from error


def check_readable(file: str, where: str) -> None:
    """Raises `ConfigError` when a file of PEM blocks cannot be read, or has one that would be passed over.

    OpenSSL sees a block only where its first line begins with dashes: of two authorities it would silently trust one.
    """
    try:
        with open(file, "rb") as stream:
            text = stream.read()
    except OSError as error:
        raise fault(where, f"cannot read {file}: {error.strerror}") from error
    for number, line in enumerate(text.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        if b"-----BEGIN " in line and not line.startswith(b"-----BEGIN "):
            reason = "is indented" if not line.split(b"-----BEGIN ")[0].strip() else "has text before it"
            raise fault(where, f'{file}, line {number}: "-----BEGIN" {reason}; it must start the line')


def stamp_files(files: list[str]) -> Stamp:
    """What changes when one of the files does: time, size and inode of each; None for one that is missing."""
    return tuple(_stamp(file) for file in files)


def fault(where: str, message: str) -> ConfigError:
    """A `ConfigError` with one problem."""
    return ConfigError([Problem(path=where, message=message)])


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class _PasswordAsked(Exception):
    pass


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal.
    raise _PasswordAsked


def _identity_fault(cert: str, key: str, where_cert: str, where_key: str, error: ssl.SSLError) -> ConfigError:
    """Says which of the two files is wrong: OpenSSL's own message does not."""
    if error.reason == "KEY_VALUES_MISMATCH":
        return fault(where_key, f"{key} does not match the certificate in {cert}")
    if not _has_pem(cert, b"CERTIFICATE-----"):
        return fault(where_cert, f"{cert} does not contain a PEM certificate")
    if not _has_pem(key, b"PRIVATE KEY-----"):
        return fault(where_key, f"{key} does not contain a PEM private key")
    return fault(where_cert, f"cannot use {cert} with {key} ({_reason(error)})")


def _has_pem(file: str, label: bytes) -> bool:
    try:
        with open(file, "rb") as stream:
            return label in stream.read()
    except OSError:
        return False


def _reason(error: OSError) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return (reason or str(error)).lower().replace("_", " ")
