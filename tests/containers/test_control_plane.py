"""An Envoy in a container takes its configuration from the control plane on this machine, and follows a change."""

import json
from pathlib import Path
from typing import Any

from xds_server.bootstrap import Bootstrap
from xds_server.testing import Backend, Backends, EnvoyContainer, assert_shares, request, send
from xds_server.testing.container import bridge_gateway
from xds_server.testing.server import XdsServerProcess

GATEWAY = 10000
"""Inside the container, where every port is free."""


def definitions(*targets: dict[str, Any]) -> str:
    upstream = {"name": "payments", "algorithm": "weighted-round-robin", "targets": list(targets)}
    return json.dumps({"upstreams": [upstream], "gateways": [{"name": "public", "port": GATEWAY}]})


def target(backend: Backend, **more: Any) -> dict[str, Any]:
    return {"host": backend.host, "port": backend.port, **more}


def answers(port: int) -> bool:
    """Before Envoy listens, Docker takes connections in its place, and breaks them off."""
    try:
        return request(port, "payments").status == 200
    except (OSError, EOFError):
        return False


def test_an_envoy_in_a_container_is_configured_and_follows_a_change(envoy_image: str, tmp_path: Path) -> None:
    file, host = tmp_path / "definitions.yaml", bridge_gateway()
    with Backends("a", "b", host=host) as (a, b):
        file.write_text(definitions(target(a, weight=3), target(b)))
        with XdsServerProcess(file, xds_address=f"{host}:0", args=["--insecure"]) as server:
            bootstrap = Bootstrap(node_id="container", xds_address=server.xds_address)
            with EnvoyContainer(bootstrap, ports=[GATEWAY], image=envoy_image) as envoy:
                envoy.wait_for_endpoints("payments", {a.address: "HEALTHY", b.address: "HEALTHY"})
                envoy.wait_until(lambda: answers(envoy.port(GATEWAY)), what="the gateway")
                assert_shares(send(envoy.port(GATEWAY), "payments", 200), {"a": 3, "b": 1})
                file.write_text(definitions(target(a, state="draining"), target(b)))
                envoy.wait_for_endpoints("payments", {a.address: "DRAINING", b.address: "HEALTHY"})
                assert send(envoy.port(GATEWAY), "payments", 50) == {"b": 50}
