"""The control plane and an Envoy, each in a container, on one Docker network; the backends count on this machine."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from xds_server.bootstrap import Bootstrap
from xds_server.testing import Backend, Backends, EnvoyContainer, Load, XdsServerContainer, assert_shares, request
from xds_server.testing.container import bridge_gateway

if TYPE_CHECKING:
    from testcontainers.core.network import Network

LISTENER = 10000
NOTICED = 90.0
"""Seconds within which Envoy notices that a connection has gone silently (30 s between two looks, 10 s for an answer)."""


@pytest.fixture(scope="module")
def network(docker_engine: None) -> "Iterator[Network]":
    from testcontainers.core.network import Network

    with Network() as made:
        yield made


@pytest.fixture
def backends(docker_engine: None) -> Iterator[Backends]:
    with Backends("a", "b", host=bridge_gateway()) as started:
        yield started


@pytest.fixture(scope="module")
def server(server_image: str, network: "Network") -> Iterator[XdsServerContainer]:
    with XdsServerContainer(image=server_image, network=network) as started:
        yield started


@pytest.fixture(scope="module")
def envoy(envoy_image: str, network: "Network", server: XdsServerContainer) -> Iterator[EnvoyContainer]:
    bootstrap = Bootstrap(node_id="edge-1", xds_address=server.xds_address, static_listener=LISTENER)
    with EnvoyContainer(bootstrap, image=envoy_image, network=network) as started:
        started.wait_for_ready()
        yield started


def payments(*backends: Backend, **by_name: dict[str, Any]) -> dict[str, Any]:
    targets = [{"host": each.host, "port": each.port, **by_name.get(each.name, {})} for each in backends]
    envoy = {"common_lb_config": {"update_merge_window": "0s"}}
    upstream = {"name": "payments", "algorithm": "weighted-round-robin", "targets": targets, "envoy": envoy}
    return {"upstreams": [upstream]}


def put_in_force(server: XdsServerContainer, definitions: dict[str, Any], timeout: float = 10) -> None:
    server.wait_until_acknowledged(server.apply(definitions), timeout=timeout)


def test_definitions_change_through_the_api_and_requests_follow(
    server: XdsServerContainer, envoy: EnvoyContainer, backends: Backends
) -> None:
    put_in_force(server, payments(*backends, a={"weight": 3}))
    assert_shares(envoy.send("payments", 200), {"a": 3, "b": 1})
    put_in_force(server, payments(*backends, b={"weight": 4}))
    envoy.wait_for_endpoints("payments", {each.address: "HEALTHY" for each in backends})
    assert_shares(envoy.send("payments", 200), {"a": 1, "b": 4})


def test_the_api_answers_to_its_names_alone(server: XdsServerContainer) -> None:
    """Not to a name that a web page had resolved to this machine."""
    port = int(server.http_address.rpartition(":")[2])
    for name, status in (("127.0.0.1", 200), ("xds-server:18080", 200), ("evil.example", 403)):
        assert request(port, name, "/v1/nodes").status == status, name


def test_a_drain_loses_no_request(server: XdsServerContainer, envoy: EnvoyContainer, backends: Backends) -> None:
    put_in_force(server, payments(*backends))
    a, b = backends
    with Load(envoy.static_port, "payments", rate=100) as load:
        load.wait_for(50)
        put_in_force(server, payments(a, b, a={"state": "draining"}))
        envoy.wait_for_endpoints("payments", {a.address: "DRAINING", b.address: "HEALTHY"})
        load.wait_for(20)  # those that were under way
        load.backends.clear()
        load.wait_for(100)
        assert set(load.backends) == {"b"}
    assert load.failures == 0, load.errors


def test_the_control_plane_is_killed_and_comes_back(
    server: XdsServerContainer, envoy: EnvoyContainer, backends: Backends
) -> None:
    put_in_force(server, payments(*backends))
    a, b = backends
    with Load(envoy.static_port, "payments", rate=100) as load:
        server.kill()
        assert not server.is_running
        load.wait_for(100)
        server.restart()
        # Its store outlived it: what Envoy has is what it still serves, and a change arrives.
        assert [each["name"] for each in server.api("GET", "/v1/upstreams")["upstreams"]] == ["payments"]
        envoy.wait_until(lambda: envoy.stat("control_plane.connected_state") == 1, 30, "the control plane")
        put_in_force(server, payments(a, b, a={"weight": 0}), timeout=30)
        envoy.wait_for_endpoints("payments", {a.address: "DRAINING", b.address: "HEALTHY"})
        load.wait_for(20)
        load.backends.clear()
        load.wait_for(100)
        assert set(load.backends) == {"b"}
    assert load.failures == 0, load.errors


def test_an_envoy_that_restarts_is_configured_again(
    server: XdsServerContainer, envoy: EnvoyContainer, backends: Backends
) -> None:
    put_in_force(server, payments(*backends, a={"weight": 3}))
    envoy.kill()
    envoy.restart()
    envoy.wait_for_endpoints("payments", {each.address: "HEALTHY" for each in backends})
    envoy.wait_for_ready()
    assert_shares(envoy.send("payments", 100), {"a": 3, "b": 1})
    assert [each["status"] for each in server.api("GET", "/v1/nodes")["nodes"] if each["connected"]] == ["SYNCED"]


def test_a_cut_network_leaves_the_last_good_state_and_then_it_catches_up(
    server: XdsServerContainer, envoy: EnvoyContainer, backends: Backends
) -> None:
    put_in_force(server, payments(*backends))
    a, b = backends
    with Load(envoy.static_port, "payments", rate=100) as load:
        load.wait_for(20)
        server.disconnect()
        # Operators reach it where it is. Nobody is told, so nothing changes for requests.
        server.run("xds-server", "drain", "payments", a.address)
        load.backends.clear()
        load.wait_for(200)
        assert_shares(load.backends, {"a": 1, "b": 1}, tolerance=5)
        server.reconnect()
        envoy.wait_for_endpoints("payments", {a.address: "DRAINING", b.address: "HEALTHY"}, timeout=NOTICED)
        load.wait_for(20)
        load.backends.clear()
        load.wait_for(100)
        assert set(load.backends) == {"b"}
    assert load.failures == 0, load.errors
