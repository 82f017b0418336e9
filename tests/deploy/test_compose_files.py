"""The compose files of deploy/ are what the Compose Specification allows, open loopback alone, and hold no password."""

from pathlib import Path
from typing import Any

import compose_file
import pytest
from compose_pydantic import ComposeSpecification
from pydantic import ValidationError

from xds_server.bootstrap import Bootstrap, render

FILES = ("compose.yaml", "compose.postgresql.yaml")


@pytest.fixture(params=FILES)
def composed(request: pytest.FixtureRequest, root: Path) -> dict[str, Any]:
    return compose_file.load(root / "deploy" / request.param, {"POSTGRES_PASSWORD": "given"})


def test_follow_the_specification(composed: dict[str, Any]) -> None:
    ComposeSpecification.model_validate(composed)
    composed["services"]["envoy"]["no_such_field"] = 1
    with pytest.raises(ValidationError, match="no_such_field"):
        ComposeSpecification.model_validate(composed)


def test_publish_on_loopback_alone(composed: dict[str, Any]) -> None:
    ports = [port for service in composed["services"].values() for port in service.get("ports", [])]
    assert len(ports) >= 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_keep_backends_off_the_network_of_the_control_plane(composed: dict[str, Any]) -> None:
    services = composed["services"]
    control = {network for name, each in services.items() if "control-plane" in name for network in each["networks"]}
    assert control
    for name, service in services.items():
        if name.startswith("backend"):
            assert not control & set(service["networks"])


def test_run_with_as_little_as_can_be(composed: dict[str, Any]) -> None:
    for name, service in composed["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["image"] == "xds-server" or service["user"] not in ("root", "0", "0:0"), name


def test_hold_no_password(root: Path) -> None:
    with pytest.raises(KeyError, match="POSTGRES_PASSWORD"):
        compose_file.load(root / "deploy" / FILES[1], {})


def test_the_bootstrap_is_what_the_command_prints(root: Path) -> None:
    options = Bootstrap(node_id="edge-1", node_cluster="edge", xds_address="control-plane:18000")
    assert (root / "deploy" / "compose" / "bootstrap.yaml").read_text() == render(options)
