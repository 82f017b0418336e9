"""Real Envoys whose control plane asks who they are: let in, refused, and followed by new certificates on both sides."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority, Pair, replace

from xds_server.bootstrap import Bootstrap, render_sds
from xds_server.testing import Backend, EnvoyProcess, send
from xds_server.testing.server import XdsServerProcess

pytestmark = pytest.mark.envoy


class World:
    """A control plane with TLS, the authorities of both sides, and a backend."""

    def __init__(self, directory: Path, stack: ExitStack, *args: str) -> None:
        self.directory = directory
        self.servers, self.clients = Authority(), Authority()
        self.server_ca = self.servers.write(directory / "server-ca.pem")
        self.client_ca = self.clients.write(directory / "client-ca.pem")
        self.pair = self.servers.issue(directory / "server", "localhost", "127.0.0.1")
        self.backend = stack.enter_context(Backend("a"))
        self._definitions = directory / "definitions.yaml"
        self.define("payments")
        tls = ["--tls-cert", self.pair.cert, "--tls-key", self.pair.key, "--tls-client-ca", self.client_ca]
        arguments = ["--log-level", "debug", *map(str, tls), *args]
        self.server = stack.enter_context(XdsServerProcess(self._definitions, args=arguments))

    def define(self, *names: str) -> None:
        upstreams = [
            {"name": name, "targets": [{"host": self.backend.host, "port": self.backend.port}]} for name in names
        ]
        replace(self._definitions, json.dumps({"upstreams": upstreams}).encode())

    def envoy(self, node: str, pair: Pair, **more: Any) -> EnvoyProcess:
        """An Envoy that says that it is `node`, and shows a certificate."""
        options = Bootstrap(
            node_id=node,
            xds_address=self.server.http_address if more.get("protocol") == "rest" else self.server.xds_address,
            static_listener=0,
            static_listener_address="127.0.0.1",
            **{"ca_file": str(self.server_ca), "cert_file": str(pair.cert), "key_file": str(pair.key), **more},
        )
        for name, text in render_sds(options).items():
            assert options.sds_dir is not None
            Path(options.sds_dir, name).write_text(text)
        return EnvoyProcess(options)

    def certificate(self, *names: str) -> Pair:
        return self.clients.issue(self.directory / names[0], *names)

    def serves(self, envoy: EnvoyProcess, *names: str) -> None:
        for name in names:
            envoy.wait_for_endpoints(name, {self.backend.address: "HEALTHY"}, timeout=30)
            envoy.wait_until(lambda name=name: send(envoy.listener_port("static"), name, 1) == {"a": 1}, 10, name)  # type: ignore[misc]

    def refusals(self) -> set[tuple[str, str]]:
        return {(event["node"], event["problem"]) for event in self.server.events("xds.refused")}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def world(tmp_path: Path, stack: ExitStack) -> World:
    return World(tmp_path, stack)


@pytest.mark.parametrize("protocol", ["delta", "sotw", "per-type", "rest"])
def test_P21_an_envoy_that_shows_its_certificate_is_served(world: World, protocol: str) -> None:
    with world.envoy("edge-1", world.certificate("edge-1"), protocol=protocol) as envoy:
        world.serves(envoy, "payments")
        assert world.refusals() == set()


@pytest.mark.parametrize("protocol", ["delta", "sotw", "per-type", "rest"])
def test_P21_an_envoy_may_not_be_another_than_its_certificate_says(world: World, protocol: str) -> None:
    one, two = world.certificate("edge-1"), world.certificate("edge-2")
    with world.envoy("edge-1", one) as good, world.envoy("edge-1", two, protocol=protocol) as thief:
        world.serves(good, "payments")
        world.server.wait_for_event("xds.refused", 30)
        assert world.refusals() == {
            (
                "edge-1",
                "this client says that it is node 'edge-1' of cluster 'default', and its certificate is for 'edge-2': one of "
                "its names must be {id} or spiffe://{any}/{id} (--node-names)",
            )
        }
        if protocol != "rest":  # of which Envoy says nothing but a number
            thief.wait_until(lambda: "its certificate is for 'edge-2'" in thief.log, 10, "the reason in Envoy's log")
        world.define("payments", "more")
        world.serves(good, "payments", "more")
        assert {cluster for cluster in thief.clusters() if cluster != "xds-server.internal"} == set()
        assert len({event["stream"] for event in world.server.events("xds.opened")}) == 1


def test_P21_the_cluster_can_be_a_part_of_the_name(tmp_path: Path, stack: ExitStack) -> None:
    world = World(tmp_path, stack, "--node-names", "{id}.{cluster}.internal")
    pair = world.certificate("e1.edge.internal")
    with world.envoy("e1", pair, node_cluster="edge") as good, world.envoy("e1", pair, node_cluster="vault") as thief:
        world.serves(good, "payments")
        thief.wait_until(lambda: "node 'e1' of cluster 'vault'" in thief.log, 10, "the reason")
        assert "payments" not in thief.clusters()


def test_P21_certificates_of_other_authorities_are_refused_on_both_sides(world: World, tmp_path: Path) -> None:
    stranger = Authority()
    unknown = stranger.issue(tmp_path / "unknown", "edge-1")
    known = world.certificate("edge-1")
    theirs = str(stranger.write(tmp_path / "stranger.pem"))
    with world.envoy("edge-1", unknown) as one, world.envoy("edge-1", known, ca_file=theirs) as other:
        one.wait_until(lambda: one.stat("cluster.xds-server.internal.upstream_cx_total") > 1, 20, "attempts")
        failure = "cluster.xds-server.internal.ssl.fail_verify_error"
        other.wait_until(lambda: other.stat(failure) > 1, 20, "an Envoy that does not believe the control plane")
        with world.envoy("edge-1", known) as good:
            world.serves(good, "payments")
        assert {event["stream"] for event in world.server.events("xds.opened")} == {1}, "one stream of one Envoy"
        assert "payments" not in one.clusters()
        assert "payments" not in other.clusters()


def test_an_envoy_shows_a_new_certificate_and_believes_new_authorities_without_a_restart(
    tmp_path: Path, stack: ExitStack
) -> None:
    # An Envoy goes on with the connection that it has, whatever was answered there: here it is told to come back soon.
    world = World(tmp_path, stack, "--max-connection-age", "1s")
    sds = tmp_path / "sds"
    sds.mkdir()
    pair = world.clients.issue(tmp_path / "mine", "another-node")
    with world.envoy("edge-1", pair, sds_dir=str(sds)) as envoy:
        world.server.wait_for_event("xds.refused", 20)
        assert "another-node" in world.refusals().pop()[1]
        world.clients.issue(pair.cert, "edge-1")
        world.serves(envoy, "payments")
        # A new authority of the server's: believed before it is used.
        servers = Authority()
        replace(world.server_ca, world.servers.pem + servers.pem)
        servers.issue(world.pair.cert, "localhost", "127.0.0.1")
        world.server.wait_for_event("tls.reloaded", 10)
        before = len(world.server.events("xds.opened"))
        world.server.wait_for_event("xds.opened", 30, count=before + 2)
        world.define("payments", "more")
        world.serves(envoy, "payments", "more")
        world.servers = servers
        assert serial(world) != "", "nobody but the new one is believed here"


def serial(world: World) -> str:
    """Number of the certificate that new connections to the xDS port are shown."""
    context = ssl.create_default_context(cadata=world.servers.pem.decode())
    context.load_cert_chain(*world.certificate("probe"))
    context.set_alpn_protocols(["h2"])
    host, _, port = world.server.xds_address.rpartition(":")
    with (
        socket.create_connection((host, int(port))) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        return str((connection.getpeercert() or {})["serialNumber"])


def test_a_new_certificate_of_the_server_is_shown_and_open_streams_go_on(world: World) -> None:
    with world.envoy("edge-1", world.certificate("edge-1")) as envoy:
        world.serves(envoy, "payments")
        before = serial(world)
        world.servers.issue(world.pair.cert, "localhost", "127.0.0.1")
        world.server.wait_for_event("tls.reloaded", 10)
        assert serial(world) != before
        world.define("payments", "more")
        world.serves(envoy, "payments", "more")
        with world.envoy("edge-2", world.certificate("edge-2")) as newcomer:
            world.serves(newcomer, "payments", "more")
        assert [event["node"] for event in world.server.events("xds.opened")] == ["edge-1", "edge-2"]
        assert [event["node"] for event in world.server.events("xds.closed")] == ["edge-2"]


def test_a_key_is_in_no_log_even_when_it_is_broken(world: World) -> None:
    keys = [world.pair.key.read_text().splitlines()[1]]
    with world.envoy("edge-1", world.certificate("edge-1")) as envoy:
        world.serves(envoy, "payments")
        world.servers.issue(world.pair.cert, "localhost", "127.0.0.1")
        keys.append(world.pair.key.read_text().splitlines()[1])
        world.server.wait_for_event("tls.reloaded", 10)
        replace(world.pair.cert, world.pair.key.read_bytes())
        world.server.wait_for_event("tls.broken", 10)
        replace(world.pair.key, world.certificate("x").key.read_bytes())
        keys.append(world.pair.key.read_text().splitlines()[1])
        world.server.wait_for_event("tls.broken", 10)
        world.define("payments", "more")
        world.serves(envoy, "more")
        assert all(len(key) == 64 for key in keys)
        assert not [key for key in keys if key in world.server.log]
        assert "PRIVATE KEY" not in world.server.log
