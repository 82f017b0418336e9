"""docs/management-grpc.md: its example runs, and what it names exists."""

import re
import subprocess
import sys
from pathlib import Path

from management_grpc import Api
from reflected import Reflected

from xds_server.testing import XdsServerProcess


def guide(root: Path) -> str:
    return (root / "docs" / "management-grpc.md").read_text(encoding="utf-8")


def test_the_example_of_the_guide_runs(root: Path, tmp_path: Path) -> None:
    example = tmp_path / "example.py"
    example.write_text(guide(root).partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    with XdsServerProcess() as server:
        done = subprocess.run(
            [sys.executable, example, server.grpc_address], capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    first, second, refused, applied, *told = done.stdout.splitlines()
    assert (first, second) == ("at revision 0", "made revision 1 []")
    assert refused.startswith("INVALID_ARGUMENT algorithm: 'best' is not one of round-robin, ")
    assert applied.startswith("1000 applied, 0 failed, in ")
    assert told[0] == "1 first ['payments']"
    assert told[1] == "2  ['payments']"
    assert told[-1].partition(" ")[2].startswith("autoscaler ['payments/10.0.0.")


def test_every_call_is_in_the_guide(root: Path, grpc_api: Api) -> None:
    text = guide(root)
    reflected = Reflected(grpc_api.channel)
    for service in reflected.services:
        if service.startswith("xds_server."):
            (row,) = [
                line for line in text.splitlines() if line.startswith("| `") and service.rpartition(".")[2] in line
            ]
            assert set(reflected.methods(service)) == set(re.findall(r"`(\w+)`", row.split("|")[2]))
