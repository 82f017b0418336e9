"""EnvoyContainer itself: Envoy in a container, reached through a published port, reaching this machine."""

import socket
import subprocess
import uuid
from collections.abc import Iterator

import pytest
import yaml

from xds_server.bootstrap import Bootstrap, render
from xds_server.testing import Backend, EnvoyContainer, request
from xds_server.testing.container import bridge_gateway


def bootstrap_with_target(address: str, port: int) -> str:
    """A static listener on port 10000 and one cluster of its own; its control plane is dead."""
    config = yaml.safe_load(render(Bootstrap(node_id="container-1", static_listener=10000)))
    del config["dynamic_resources"]
    target = {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}}
    config["static_resources"]["clusters"].append(
        {
            "name": "w",
            "type": "STRICT_DNS",
            "dns_lookup_family": "V4_ONLY",
            "load_assignment": {"cluster_name": "w", "endpoints": [{"lb_endpoints": [target]}]},
        }
    )
    return yaml.safe_dump(config)


@pytest.fixture
def own_image(envoy_image: str) -> Iterator[str]:
    """The image by another name, so that containers of tests beside this one are not taken for its own."""
    name = f"xds-server-test/envoy:{uuid.uuid4().hex}"
    subprocess.run(["docker", "tag", envoy_image, name], check=True)
    yield name
    subprocess.run(["docker", "rmi", name], check=True, capture_output=True)


def images_of_containers() -> list[str]:
    return subprocess.check_output(["docker", "ps", "--all", "--format", "{{.Image}}"], text=True).split()


def test_forwards_from_a_published_port_to_this_machine(own_image: str) -> None:
    with Backend("a", host=bridge_gateway()) as backend:
        bootstrap = bootstrap_with_target("host.docker.internal", backend.port)
        with EnvoyContainer(bootstrap, ports=[10000], image=own_image) as envoy:
            assert own_image in images_of_containers()
            envoy.wait_until(lambda: backend.address in envoy.endpoints("w"), what="the name of this machine")
            answer = request(envoy.port(10000), "w")
            assert (answer.status, answer.backend) == (200, "a")
            assert envoy.url(10000) == f"http://127.0.0.1:{envoy.port(10000)}"
            assert envoy.stat("cluster.w.upstream_rq_total") == 1
    assert "active downstream connections" in envoy.log, "the log outlives the container"
    assert not envoy.is_running
    assert own_image not in images_of_containers()


def test_publishes_on_loopback_alone(envoy_image: str) -> None:
    options = Bootstrap(node_id="container-1", static_listener=10000)
    with EnvoyContainer(options, image=envoy_image) as envoy:
        published = subprocess.check_output(
            ["docker", "ps", "--filter", f"publish={envoy.port(10000)}", "--format", "{{.Ports}}"], text=True
        )
        assert "127.0.0.1:" in published
        assert "0.0.0.0" not in published
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((bridge_gateway(), envoy.port(10000)), timeout=5).close()


def test_a_refused_bootstrap_shows_envoys_reason_and_leaves_no_container(own_image: str) -> None:
    with (
        pytest.raises(RuntimeError, match="no_such_field"),
        EnvoyContainer("no_such_field: 1", image=own_image),
    ):
        pass
    assert own_image not in images_of_containers()
