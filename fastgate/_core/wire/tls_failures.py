"""Why TLS handshakes of clients fail, in words: for the log, where they are few however many fail, and for counters."""

import ssl
from collections.abc import Callable

REASONS = (
    "plain_http",
    "no_certificate",
    "unknown_authority",
    "expired_certificate",
    "bad_certificate",
    "protocol_version",
    "no_shared_cipher",
    "bad_server_name",
    "refused_by_client",
    "timeout",
    "cut",
    "malformed",
)
"""Their words; the counter of each is ``tls_failed_`` and the word."""

_SENTENCES = {
    "plain_http": "the client sent plain HTTP, but this port speaks TLS",
    "no_certificate": "the client sent no certificate, but client_auth requires one",
    "unknown_authority": "client_ca does not contain the authority of the client's certificate",
    "expired_certificate": "the client's certificate has expired or is not valid yet",
    "bad_certificate": "the client's certificate is not accepted",
    "protocol_version": "the client does not support a TLS version that min_version allows",
    "no_shared_cipher": "the client and the gateway have no cipher suite, group or signature in common",
    "bad_server_name": "the server name that the client requested is not a valid host name",
    "refused_by_client": "the client rejected the gateway's certificate or TLS version",
    "timeout": "the handshake was not complete within header_timeout",
    "cut": "the client closed the connection before the handshake was complete",
    "malformed": "the client sent data that is not a valid TLS handshake",
}
_QUIET = frozenset({"timeout", "cut"})  # port scans and health checks: counted, and in the log at level debug

# OpenSSL's own words; what is not here is malformed.
_BY_LIBRARY = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "HTTP_REQUEST": "plain_http",
    "HTTPS_PROXY_REQUEST": "plain_http",
    "UNSUPPORTED_PROTOCOL": "protocol_version",
    "VERSION_TOO_LOW": "protocol_version",
    "VERSION_TOO_HIGH": "protocol_version",
    "WRONG_SSL_VERSION": "protocol_version",
    "INAPPROPRIATE_FALLBACK": "protocol_version",
    "NO_PROTOCOLS_AVAILABLE": "protocol_version",
    "NO_SHARED_CIPHER": "no_shared_cipher",
    "NO_SUITABLE_KEY_SHARE": "no_shared_cipher",
    "NO_SUITABLE_GROUPS": "no_shared_cipher",
    "NO_SHARED_GROUPS": "no_shared_cipher",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "no_shared_cipher",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "no_shared_cipher",
    "CALLBACK_FAILED": "bad_server_name",
    "CLIENTHELLO_TLSEXT": "bad_server_name",
    "UNEXPECTED_EOF_WHILE_READING": "cut",
}

# X509_V_ERR_… of OpenSSL, which the module ssl has no names for.
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21, 24, 27, 28})
_OUT_OF_ITS_TIME = frozenset({9, 10})

_SPAN = 10_000  # milliseconds
_LINES = 20  # in a span


def explain(error: ssl.SSLError) -> tuple[str, str]:
    """The word for a failed handshake, and what OpenSSL says beside it; the latter may be empty."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _UNKNOWN_AUTHORITY:
            return "unknown_authority", ""
        said = str(error.verify_message)
        return "expired_certificate" if error.verify_code in _OUT_OF_ITS_TIME else "bad_certificate", said
    reason = error.reason or ""
    said = reason.lower().replace("_", " ")
    if "_ALERT_" in reason:
        return "refused_by_client", f"alert: {said.partition(' alert ')[2]}"
    word = _BY_LIBRARY.get(reason, "malformed")
    return word, said if word == "malformed" else ""


class FewLines:
    """Lines of what can happen as often as anybody likes: one of each kind within 10 seconds, and 20 in all.

    ``more`` is the line about those that are not told, with a ``%d``.
    """

    def __init__(self, log: Callable[[str, str], object], more: str) -> None:
        self._log = log
        self._more = more
        self._began = 0
        self._told: set[tuple[str, str]] = set()
        self._untold = 0

    def tell(self, kind: tuple[str, str], level: str, line: str, now: int) -> None:
        """It has happened, at this time in milliseconds."""
        if now - self._began >= _SPAN:
            if self._untold:
                self._log("info", self._more % self._untold)
            self._began, self._untold = now, 0
            self._told.clear()
        if kind in self._told or len(self._told) >= _LINES:
            self._untold += 1
            return
        self._told.add(kind)
        self._log(level, line)


class TLSFailures:
    """Tells of failed handshakes."""

    def __init__(self, log: Callable[[str, str], object]) -> None:
        self._lines = FewLines(log, "%d more TLS handshakes of clients failed; the log does not list them all")

    def tell(self, word: str, address: str, said: str, now: int) -> None:
        """One has failed, at this time in milliseconds."""
        line = f"TLS with {address} failed: {_SENTENCES[word]}{f' ({said})' if said else ''}"
        self._lines.tell((word, address), "debug" if word in _QUIET else "info", line, now)
