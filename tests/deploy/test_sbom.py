"""deploy/sbom.cdx.json says what requirements/server.txt locks, in CycloneDX's own format."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


@pytest.fixture
def sbom(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", root / "deploy" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_is_current(sbom: ModuleType) -> None:
    assert sbom.FILE.read_text() == sbom.render(), "make docs writes it anew"


def test_is_valid_and_names_every_locked_package(sbom: ModuleType) -> None:
    text = sbom.FILE.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = {each["purl"] for each in json.loads(text)["components"]}
    assert len(components) == sbom.LOCK.read_text().count("==") > 50
    assert any(purl.startswith("pkg:pypi/grpcio@") for purl in components)


def test_the_image_holds_what_was_tested(sbom: ModuleType, root: Path) -> None:
    tested = dict(sbom.LOCKED.findall((root / "requirements" / "dev.txt").read_text()))
    for file in ("server.txt", "build.txt"):
        held = dict(sbom.LOCKED.findall((root / "requirements" / file).read_text()))
        assert held.items() <= tested.items(), file
