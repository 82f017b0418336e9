"""What is generated from protos/ is kept in the package: as it would be generated now, and for who installs it."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

PACKAGE = Path("xds_server/management/v1")
OF_WORKERS = Path("xds_server/workers")


def test_it_is_not_stale(root: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, root / "protos" / "generate.py", tmp_path], check=True)
    for package, least in ((PACKAGE, 10), (OF_WORKERS, 2)):
        made = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / package).iterdir()}
        kept = {path.name: path.read_text(encoding="utf-8") for path in (root / package).glob("*_pb2*")}
        assert len(made) >= least
        assert made == kept, "run make protos"


def test_it_takes_the_oldest_libraries_that_may_be_installed(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = dict(re.findall(r"([a-z-]+)>=([\d.]+)", "\n".join(project["dependencies"])))
    generated = [path for package in (PACKAGE, OF_WORKERS) for path in (root / package).glob("*_pb2*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in generated)
    (grpc,) = set(re.findall(r"GRPC_GENERATED_VERSION = '([\d.]+)'", text))
    (protobuf,) = set(re.findall(r"Protobuf Python Version: ([\d.]+)", text))
    for library, made_for in (("grpcio", grpc), ("protobuf", protobuf)):
        assert numbers(oldest[library]) >= numbers(made_for), f"{library}: generated for {made_for}"


def test_it_is_in_the_wheel(root: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", tmp_path, root], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    imports = "from xds_server.management.v1 import revisions_pb2_grpc as made; print(made.__file__)"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    said = subprocess.run(
        [sys.executable, "-c", imports], cwd=tmp_path / "installed", check=True, capture_output=True, text=True
    )
    assert Path(said.stdout.strip()).is_relative_to(tmp_path)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
