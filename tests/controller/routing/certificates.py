"""Certificates for tests, made with the command line of OpenSSL: an authority, a router, an Envoy."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate with its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates.

    Args:
        folder: Where the files go.
        name: Of the authority; part of the file names.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._own = self._paths(name)
        self._make(self._own, name, "-addext", "basicConstraints=critical,CA:TRUE")
        self.certificate = self._own.certificate

    def sign(self, name: str, alternative: str = "") -> Certified:
        """Return a certificate for `name`; `alternative` as in DNS:localhost,IP:127.0.0.1."""
        made = self._paths(name)
        signed_by = ("-CA", str(self._own.certificate), "-CAkey", str(self._own.key))
        self._make(made, name, *signed_by, "-addext", f"subjectAltName={alternative or f'DNS:{name}'}")
        return made

    def _paths(self, name: str) -> Certified:
        return Certified(self._folder / f"{name}.pem", self._folder / f"{name}.key")

    @staticmethod
    def _make(where: Certified, name: str, *options: str) -> None:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
        files = ("-keyout", str(where.key), "-out", str(where.certificate))
        subprocess.run(
            ["openssl", "req", "-x509", *curve, "-days", "1", "-subj", f"/CN={name}", *files, *options],
            check=True,
            capture_output=True,
            timeout=20,
        )
        where.key.chmod(0o600)
