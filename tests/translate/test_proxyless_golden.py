"""Every case of `proxyless/` becomes for gRPC clients what is written beside it.

`UPDATE_GOLDEN=1 pytest tests/translate` writes the outcomes anew. A real client takes them all: `tests/grpc_clients`.
"""

import os

import grpc_golden as golden
import pytest


@pytest.mark.parametrize("name", golden.names())
def test_becomes_what_is_written_beside_it(name: str) -> None:
    text = "---\n".join(golden.outcome(upstream, addresses) for upstream, addresses in golden.read(name))
    path = golden.GOLDEN / f"{name}.out.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_every_output_belongs_to_an_input() -> None:
    outputs = sorted(path.name.removesuffix(".out.yaml") for path in golden.GOLDEN.glob("*.out.yaml"))
    assert outputs == golden.names()
