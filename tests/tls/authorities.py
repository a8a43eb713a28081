"""Certificates for the TLS tests, in files as operators have them."""

import datetime as dt
from pathlib import Path

import trustme

from fastgate.config import Certificate


class Files:
    """Writes the certificates of one authority into a folder."""

    def __init__(self, folder: Path, authority: trustme.CA | None = None) -> None:
        self.folder = folder
        self.authority = authority or trustme.CA()

    @property
    def ca(self) -> str:
        path = self.folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(path))
        return str(path)

    def issue(self, file: str, *names: str, expired: bool = False) -> Certificate:
        not_after = dt.datetime(2020, 1, 1, tzinfo=dt.UTC) if expired else None
        not_before = dt.datetime(2019, 1, 1, tzinfo=dt.UTC) if expired else None
        leaf = self.authority.issue_cert(*names, not_after=not_after, not_before=not_before)
        cert, key = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        leaf.private_key_pem.write_to_path(str(key))
        cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        return Certificate(cert=str(cert), key=str(key))

    def spoil(self, file: str) -> None:
        (self.folder / file).write_text("nonsense")
