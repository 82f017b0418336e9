"""What the image holds of Python packages, as a CycloneDX document, from the file that locks them.

`python deploy/sbom.py` writes deploy/sbom.cdx.json. The same lock file gives the same bytes: no time, no serial number.
"""

import re
import tomllib
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy" / "sbom.cdx.json"
LOCK = ROOT / "requirements" / "server.txt"
LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def render() -> str:
    """The document, in JSON."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bom = Bom()
    bom.serial_number, bom.metadata.timestamp = None, None  # type: ignore[assignment]
    bom.metadata.component = component(project["name"], project["version"], ComponentType.APPLICATION)
    bom.components.update(component(name, version) for name, version in LOCKED.findall(LOCK.read_text()))
    bom.register_dependency(bom.metadata.component, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def component(name: str, version: str, type: ComponentType = ComponentType.LIBRARY) -> Component:
    """One package of the registry."""
    url = PackageURL("pypi", name=name, version=version)
    return Component(name=name, version=version, type=type, purl=url, bom_ref=str(url))


if __name__ == "__main__":
    FILE.write_text(render())
