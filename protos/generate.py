"""Generates the Python modules of the management's messages and services: `python protos/generate.py DIRECTORY`.

`make protos` has them in the package, where they are kept under version control: who installs it needs no compiler.
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent


def main(target: str) -> int:
    """Write the modules below `target`; returns the exit code."""
    sources = sorted(HERE.rglob("*.proto"))
    services = [path for path in sources if "\nservice " in path.read_text(encoding="utf-8")]
    messages = [f"--python_out={target}", f"--pyi_out={target}", *map(str, sources)]
    stubs = [f"--grpc_python_out={target}", *map(str, services)]
    include = [f"-I{HERE}", f"-I{files('grpc_tools') / '_proto'}"]  # the latter: Google's own types
    return max(protoc.main(["protoc", *include, *arguments]) for arguments in (messages, stubs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
