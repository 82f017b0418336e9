"""The official images that .ci/pull is to bring are those that deploy/ names, so that the tests are of these where it can."""

import subprocess
from pathlib import Path


def test_the_official_images_are_those_that_are_deployed(root: Path) -> None:
    pairs = [
        subprocess.check_output([root / ".ci" / f"{name}-image", "--official"], text=True).strip()
        for name in ("python", "postgres", "envoy")
    ]
    official = [pair.partition("=")[0] for pair in pairs]
    assert official[0] in (root / "deploy" / "Dockerfile").read_text()
    assert official[1] in (root / "deploy" / "compose.postgresql.yaml").read_text()
    minor = official[2].rpartition(".")[0]  # deployments take its patches
    assert f"{minor}-latest" in (root / "deploy" / "compose.yaml").read_text()
