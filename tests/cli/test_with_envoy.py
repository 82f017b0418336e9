"""What is made of the words of an Envoy that loads definitions, and of one that never ends."""

from pathlib import Path

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2

from xds_server.cli import with_envoy
from xds_server.cli.errors import CommandError


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the place of Envoy: the path of the bootstrap is its fourth argument."""
    script = tmp_path / "envoy"
    script.touch(0o755)
    monkeypatch.setattr(with_envoy, "find_envoy", lambda: script)
    return script


def load(script: Path, stderr: str) -> str | None:
    script.write_text(f"#!/bin/sh\ncat >&2 <<END\n{stderr}\nEND\nexit 1\n")
    return with_envoy.load(bootstrap_pb2.Bootstrap())


def test_the_first_line_of_what_it_refuses(says: Path) -> None:
    told = "error initializing configuration '$4': no such thing: goo.gle/debugonly  \nvalue {\n}\n"
    assert load(says, f"a warning: about 'this': and that\n\n{told}") == "no such thing"


def test_what_follows_the_whole_configuration(says: Path) -> None:
    told = (
        "error initializing configuration '$4': goo.gle/debugstr    \nnode {\n  id: x\n}\n: Proto constraint (a: b)\n"
    )
    assert load(says, told) == "Proto constraint (a: b)"


def test_the_copy_of_a_cluster_goes_by_the_clusters_name(says: Path) -> None:
    told = "error initializing configuration '$4': cluster 'shop-1:endpoints': no such :endpoints"
    assert load(says, told) == "cluster 'shop-1': no such :endpoints"


@pytest.mark.parametrize(("stderr", "words"), [("Killed\nat 5", "Killed"), ("", "it ended with code 1 and no word")])
def test_other_ends(says: Path, stderr: str, words: str) -> None:
    assert load(says, stderr) == words


def test_an_envoy_that_does_not_end_is_one_sentence(says: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(with_envoy, "TIMEOUT", 0.1)
    says.write_text("#!/bin/sh\nexec sleep 30\n")
    with pytest.raises(CommandError, match=r"not loaded the definitions after 0\.1 s"):
        with_envoy.load(bootstrap_pb2.Bootstrap())
