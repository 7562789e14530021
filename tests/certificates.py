"""Certificates for servers on loopback, made with openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_certificates(folder: Path) -> None:
    """Make an authority (`ca`), and certificates by it: `server` for 127.0.0.1 and `client`."""
    _certificate(folder, "ca", "keyUsage=critical,keyCertSign", "basicConstraints=critical,CA:TRUE")
    leaf = ("basicConstraints=critical,CA:FALSE", "authorityKeyIdentifier=keyid")
    _certificate(folder, "server", *leaf, "subjectAltName=IP:127.0.0.1")
    _certificate(folder, "client", *leaf)
    both = (folder / "client.pem").read_text() + (folder / "client.key").read_text()
    (folder / "both.pem").write_text(both)


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _certificate(folder: Path, name: str, *extensions: str) -> None:
    """A certificate by the authority of this folder, with its key beside it."""
    _openssl(
        folder,
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "1", "-subj", f"/CN={name}"),
        *(() if name == "ca" else ("-CA", "ca.pem", "-CAkey", "ca.key")),
        *(part for extension in extensions for part in ("-addext", extension)),
    )
