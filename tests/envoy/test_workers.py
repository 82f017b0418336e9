"""Envoys at two workers of one control plane: a worker that is killed costs no request, and nothing is sent that they hold."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from rig import target
from spread_nodes import MOST, ready, whereabouts, workers_of

from xds_server.bootstrap import Bootstrap
from xds_server.testing import Backend, EnvoyProcess, Load, XdsServerProcess, send

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(180)]


class Site:
    """Two workers, and at least one Envoy at each. `variant` is how these ask."""

    def __init__(self, variant: Any, backends: tuple[Backend, Backend], stack: ExitStack) -> None:
        self.server = stack.enter_context(XdsServerProcess(args=["--workers", "2", "--log-level", "debug"]))
        self.change(*backends)
        self.envoys: dict[str, EnvoyProcess] = {}
        while len(self.envoys) < MOST and len(self.at()) < 2:
            name = f"edge-{len(self.envoys)}"
            options = Bootstrap(
                node_id=name,
                node_cluster="tests",
                xds_address=self.server.xds_address,
                protocol=variant,
                static_listener=0,
                static_listener_address="127.0.0.1",
            )
            self.envoys[name] = stack.enter_context(EnvoyProcess(options))
            self.server.wait_until(lambda n=name: n in whereabouts(self.server), 20, f"{name} in the log")  # type: ignore[misc]
        for envoy in self.envoys.values():
            envoy.wait_for_endpoints("shop", {backend.address: "HEALTHY" for backend in backends})
        self.ports = [envoy.listener_port("static") for envoy in self.envoys.values()]

    def at(self) -> set[int]:
        """The workers to which any Envoy came."""
        return set(whereabouts(self.server).values())

    def change(self, *backends: Backend) -> int:
        targets = [target(backend) for backend in backends]
        return self.server.apply({"upstreams": [{"name": "shop", "targets": targets}]})


@pytest.fixture
def backends() -> Iterator[tuple[Backend, Backend]]:
    with Backend("a") as a, Backend("b") as b:
        yield a, b


@pytest.mark.parametrize("variant", ["sotw", "delta"])
def test_a_killed_worker_costs_no_request_and_nothing_is_sent_anew(
    variant: str, backends: tuple[Backend, Backend]
) -> None:
    with ExitStack() as stack:
        site = Site(variant, backends, stack)
        server, count = site.server, len(site.envoys)
        loads = [stack.enter_context(Load(port, "shop", rate=50, connections=2)) for port in site.ports]
        for load in loads:
            load.wait_for(20)
        modified = [envoy.stat("cluster_manager.cluster_modified") for envoy in site.envoys.values()]
        clusters = [event for event in server.events("xds.sent") if event["type"] == "Cluster" and event["resources"]]
        assert len(clusters) == count

        at = whereabouts(server)
        os.kill(workers_of(server)[1], signal.SIGKILL)
        orphans = sum(worker == 1 for worker in at.values())
        server.wait_for_event("xds.opened", 30, count=count + orphans)
        server.wait_until(lambda: ready(server), 30, "readiness")
        revision = site.change(backends[0])
        assert server.wait_until_acknowledged(revision, nodes=count)["acknowledged"] == count
        for port in site.ports:
            server.wait_until(lambda p=port: send(p, "shop", 10) == {"a": 10}, 15, "the change")  # type: ignore[misc]
        for load in loads:
            load.wait_for(20)
        assert [load.errors for load in loads] == [{}] * count
        assert [envoy.stat("cluster_manager.cluster_modified") for envoy in site.envoys.values()] == modified
        sent = [event for event in server.events("xds.sent") if event["type"] == "Cluster" and event["resources"]]
        assert len(sent) == count, "they hold it, in the same version"

        assert server.stop() == 0
        for load in loads:
            load.wait_for(20)
        assert [load.errors for load in loads] == [{}] * count, "nor does a control plane that stops"
