"""Certificates made by the command of OpenSSL."""

import shutil
import subprocess
from pathlib import Path

import pytest


def make_certificate(folder: Path, *, days: int = 2) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and relay.example.com that nobody trusts, for so many days, and its key. Skips the
    test where there is no such command."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command")
    key, made = folder / "key.pem", folder / "cert.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:relay.example.com"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = [
        openssl,
        "req",
        "-x509",
        *curve,
        "-nodes",
        "-days",
        str(days),
        "-keyout",
        str(key),
        "-out",
        str(made),
        *names,
    ]
    subprocess.run(command, check=True, capture_output=True)
    return made, key
