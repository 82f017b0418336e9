"""What may be a secret, and what is said of what may not: never anything of its content."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from xds_server.pem_files import PemError
from xds_server.secrets.files import Kind, read, signature

MESH = Path(__file__).parents[1] / "envoy" / "certs" / "mesh"
CHAIN, KEY, CA = MESH / "client-1.pem", MESH / "client-1.key", MESH / "ca.pem"


def write(directory: Path, **files: str | bytes | Path) -> None:
    """`crt`, `key`, `ca`: content, or where it is."""
    (directory / "s").mkdir(exist_ok=True)
    for name, content in files.items():
        file = directory / "s" / {"crt": "tls.crt", "key": "tls.key", "ca": "ca.crt"}[name]
        data = content.read_bytes() if isinstance(content, Path) else content
        file.write_bytes(data.encode() if isinstance(data, str) else data)


def refusal(directory: Path, kind: Kind) -> str:
    with pytest.raises(PemError) as refused:
        read(directory, kind, "s")
    text = str(refused.value)
    assert "BEGIN" not in text
    return text


def test_what_is_sound_is_read(tmp_path: Path) -> None:
    write(tmp_path, crt=CHAIN, key=KEY, ca=CA)
    assert read(tmp_path, "certificate", "s") == (CHAIN.read_bytes(), KEY.read_bytes())
    assert read(tmp_path, "ca", "s") == (CA.read_bytes(),)


def test_links_are_followed_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    write(tmp_path, crt=CHAIN, key=KEY)
    (tmp_path / "s").rename(tmp_path / "..data")
    (tmp_path / "s").mkdir()
    for name in ("tls.crt", "tls.key"):
        (tmp_path / "s" / name).symlink_to(tmp_path / "..data" / name)
    before = signature(tmp_path, "certificate", "s")
    assert read(tmp_path, "certificate", "s")
    shutil.copytree(tmp_path / "..data", tmp_path / "new")
    shutil.rmtree(tmp_path / "..data")
    os.replace(tmp_path / "new", tmp_path / "..data")
    assert signature(tmp_path, "certificate", "s") != before


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "tls.crt cannot be read: No such file or directory"),
        ({"crt": CHAIN}, "tls.key cannot be read: No such file or directory"),
        ({"crt": CHAIN, "key": MESH / "client-2.key"}, "tls.key is not the key of the certificate in"),
        ({"crt": CHAIN, "key": CHAIN}, "tls.key holds no private key in PEM"),
        ({"crt": "garbage", "key": KEY}, "are not a certificate and its key in PEM"),
        ({"crt": "", "key": KEY}, "are not a certificate and its key in PEM"),
        ({"crt": b"\xff\0", "key": KEY}, "are not a certificate and its key in PEM"),
        ({"crt": CHAIN, "key": b"x" * (2 << 20)}, "tls.key is larger than 1 MiB"),
    ],
)
def test_a_certificate_that_cannot_be_used(tmp_path: Path, files: dict[str, str | bytes | Path], said: str) -> None:
    write(tmp_path, **files)
    found = refusal(tmp_path, "certificate")
    assert said in found
    assert "()" not in found, "a reason that OpenSSL does not give"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "ca.crt cannot be read: No such file or directory"),
        ({"ca": "nothing"}, "ca.crt holds no certificates in PEM"),
        ({"ca": b"\xff"}, "ca.crt holds no certificates in PEM"),
        ({"ca": CA.read_bytes() + KEY.read_bytes()}, "ca.crt holds a private key"),
    ],
)
def test_authorities_that_cannot_be_used(tmp_path: Path, files: dict[str, str | bytes | Path], said: str) -> None:
    write(tmp_path, **files)
    assert said in refusal(tmp_path, "ca")


def test_an_encrypted_key_asks_nobody(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    command = ["openssl", "pkcs8", "-topk8", "-in", str(KEY), "-passout", "pass:word"]
    encrypted = subprocess.run(command, capture_output=True, check=True).stdout
    write(tmp_path, crt=CHAIN, key=encrypted)
    assert "is encrypted" in refusal(tmp_path, "certificate")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "s" / "ca.crt").mkdir(parents=True)
    assert "ca.crt is not a file" in refusal(tmp_path, "ca")
