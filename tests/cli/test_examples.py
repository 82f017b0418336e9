"""Every file under examples/ is sound, and a real Envoy takes it."""

from pathlib import Path

import pytest

from xds_server.cli.with_envoy import check_with_envoy
from xds_server.delivery.checking import check_files

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def test_there_are_examples() -> None:
    names = {"quickstart.yaml", "failover.yaml", "sticky.yaml", "tcp.yaml", "nearest.yaml", "localities.yaml"}
    assert {path.name for path in EXAMPLES} >= names


def test_all_of_them_can_be_served_together() -> None:
    checked = check_files([path.parent for path in EXAMPLES[:1]])
    assert checked.problems == []
    assert len(checked.upstreams) >= len(EXAMPLES)
    ports = [placed.value.port for placed in checked.gateways.values()]
    assert len(set(ports)) == len(ports), "one Envoy has room for all"


@pytest.mark.envoy
def test_the_definitions_of_the_readme_are_sound_and_reach_the_servers_that_it_starts(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    path = tmp_path / "payments.yaml"
    path.write_text(readme.partition("```yaml\n")[2].partition("```")[0])
    checked = check_files([path])
    assert checked.problems == []
    assert check_with_envoy(checked)[1] == []
    payments, public = checked.upstreams["payments"].value, checked.gateways["public"].value
    for target in payments.targets[:2]:
        assert target.host == "127.0.0.1"
        assert f"-m http.server {target.port} &" in readme
    assert f"curl -H 'Host: {payments.hostnames[0]}' http://127.0.0.1:{public.port}/" in readme


@pytest.mark.envoy
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_sound(path: Path) -> None:
    checked = check_files([path])
    assert checked.problems == []
    assert check_with_envoy(checked)[1] == []
