"""Authorities and certificates for one test, as PEM files."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization import load_pem_private_key as load_key


class Certificates:
    """Make files below one folder. ``server`` and ``client`` return certificate and key in one file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self._stranger = trustme.CA()
        self.authority = self._write("authority.pem", self._authority.cert_pem)
        self.stranger = self._write("stranger.pem", self._stranger.cert_pem)

    def server(self, *names: str, expired: bool = False) -> Path:
        return self._issue(self._authority, names or ("127.0.0.1", "localhost"), expired, "server")

    def client(self, *, expired: bool = False, strange: bool = False) -> Path:
        return self._issue(self._stranger if strange else self._authority, ("client.test",), expired, "client")

    def split(self, both: Path, password: str = "") -> tuple[Path, Path]:
        """Return certificate and key as two files; the key encrypted, if there is a password."""
        key, cert = both.read_bytes().split(b"-----BEGIN CERTIFICATE-----", 1)
        if password:
            kind = BestAvailableEncryption(password.encode())
            key = load_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, kind)
        files = both.with_suffix(".crt"), both.with_suffix(".key")
        files[0].write_bytes(b"-----BEGIN CERTIFICATE-----" + cert)
        files[1].write_bytes(key)
        return files

    def _issue(self, by: trustme.CA, names: tuple[str, ...], expired: bool, what: str) -> Path:
        now = datetime.now(UTC)
        past: dict[str, Any] = {"not_before": now - timedelta(days=9), "not_after": now - timedelta(days=1)}
        made = by.issue_cert(*names, **(past if expired else {}))
        number = len(list(self._folder.iterdir()))
        return self._write(f"{what}{number}.pem", made.private_key_and_cert_chain_pem)

    def _write(self, name: str, pem: trustme.Blob) -> Path:
        path = self._folder / name
        path.write_bytes(pem.bytes())
        return path
