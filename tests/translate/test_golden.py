"""Every case of `golden/` becomes what is written beside it, byte for byte.

`UPDATE_GOLDEN=1 pytest tests/translate` writes the outputs anew. A changed first line means that Envoys with these
definitions rebuild or reload what they have: deliberate, and named in the changelog.
"""

import os

import golden
import pytest

from xds_server.upstreams.translate.render import to_yaml
from xds_server.xds.resource import content_version


@pytest.mark.parametrize("name", golden.names())
def test_becomes_what_is_written_beside_it(name: str) -> None:
    messages = golden.read(name).messages()
    version = content_version(*(message.SerializeToString(deterministic=True) for message in messages))
    text = f"# bytes: {version}\n{to_yaml(messages)}"
    path = golden.GOLDEN / f"{name}.out.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_every_output_belongs_to_an_input() -> None:
    outputs = sorted(path.name.removesuffix(".out.yaml") for path in golden.GOLDEN.glob("*.out.yaml"))
    assert outputs == golden.names()
