"""Encrypted channels."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from fovea_client import Client, InvalidInput, RetryPolicy, Tls, Unavailable

from tests.client.fake_triton import FakeTriton


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a self-signed certificate for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    command = "openssl req -x509 -nodes -newkey rsa:2048 -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(chain)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return key, chain


@pytest.fixture
def secure_triton(certificate: tuple[Path, Path]) -> Iterator[FakeTriton]:
    key, chain = (path.read_bytes() for path in certificate)
    server = FakeTriton().start(grpc.ssl_server_credentials([(key, chain)]))
    yield server
    server.stop()


def test_a_trusted_server_answers(
    secure_triton: FakeTriton, certificate: tuple[Path, Path], png: bytes
) -> None:
    with Client(secure_triton.url, tls=Tls(root_certificates=certificate[1])) as client:
        assert client.is_ready()
        assert len(client.detect(png, "cat")) == 1


def test_an_untrusted_server_is_unavailable(secure_triton: FakeTriton, png: bytes) -> None:
    twice = RetryPolicy(attempts=2)
    with Client(secure_triton.url, tls=Tls(), retry=twice) as client, pytest.raises(Unavailable):
        client.detect(png, "cat")


def test_a_missing_certificate_is_named(png: bytes) -> None:
    tls = Tls(root_certificates=Path("missing.pem"))
    with Client(tls=tls) as client, pytest.raises(InvalidInput, match=r"missing\.pem"):
        client.detect(png, "cat")
