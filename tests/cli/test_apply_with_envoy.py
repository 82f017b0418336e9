"""`apply --dry-run --with-envoy` and `diff --with-envoy`: what the Envoy of the server says, and where that is written."""

from pathlib import Path

import pytest
import yaml
from command_line import CommandLine

pytestmark = pytest.mark.envoy
MAGLEV = {"@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev", "table_size": 100}
EXTENSION = {"typed_extension_config": {"name": "maglev", "typed_config": MAGLEV}}
ODD = {"name": "odd", "envoy": {"load_balancing_policy": {"policies": [EXTENSION]}}}


def test_what_it_takes_and_refuses(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({"upstreams": [{"name": "even"}]}))
    done = cli.run("apply", "-f", path, "--dry-run", "--with-envoy")
    assert (done.returncode, "upstream even: added" in done.stdout) == (0, True)
    assert "xds-server: Envoy 1." in done.stderr
    assert done.stderr.endswith(" takes it\n")
    path.write_text(yaml.safe_dump({"upstreams": [{"name": "even"}, ODD]}))
    done = cli.run("apply", "-f", path, "--dry-run", "--with-envoy")
    assert done.returncode == 1
    refused, verdict = done.stderr.splitlines()
    assert refused.startswith(f"xds-server: {path}:3: upstream odd: Envoy 1.")
    assert "prime" in refused
    assert verdict.endswith("would not take 1 of 2 definition(s)")
    assert "upstream odd: added" in done.stdout, "the difference is shown all the same"
    assert "odd" not in cli.ok("get", "upstreams")


def test_the_difference_of_a_revision(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({"upstreams": [{"name": "before"}]}))
    cli.ok("apply", "-f", path)
    path.write_text(yaml.safe_dump({"upstreams": [{**ODD, "name": "odd-for-diff"}]}))
    number = int(cli.ok("apply", "-f", path).partition(":")[0].removeprefix("revision "))
    done = cli.run("diff", number, "--with-envoy")
    assert (done.returncode, "upstream odd-for-diff" in done.stderr) == (1, True)
    assert cli.run("diff", number).returncode == 0
    done = cli.run("diff", number, number - 1, "--with-envoy")
    assert (done.returncode, done.stderr) == (0, "xds-server: nothing of it is for an Envoy to load\n")


def test_only_with_a_dry_run(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("upstreams: []")
    assert "--dry-run" in cli.refused("apply", "-f", tmp_path / "a.yaml", "--with-envoy", code=2)
