"""Every worker asks who its clients are, and shows the newest certificate."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from certificates import Authority
from live import DELTA, ask, ended, read
from spread_nodes import MOST

from xds_server.testing import XdsServerProcess

pytestmark = pytest.mark.timeout(120)


class World:
    """Two workers behind TLS."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.servers, self.clients = Authority(), Authority()
        ca = self.clients.write(directory / "client-ca.pem")
        pair = self.servers.issue(directory / "server", "localhost", "127.0.0.1")
        self.client = self.clients.issue(directory / "n", "n")
        definitions = directory / "definitions.yaml"
        definitions.write_text(
            json.dumps({"upstreams": [{"name": "shop", "targets": [{"host": "h.test", "port": 1}]}]})
        )
        tls = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--tls-client-ca", str(ca)]
        self.server = XdsServerProcess(definitions, args=["--workers", "2", *tls])

    def renew(self) -> None:
        self.servers.issue(self.directory / "server", "localhost", "127.0.0.1")

    def channel(self) -> grpc.aio.Channel:
        """On a connection of its own."""
        cert, key = self.client.content()
        credentials = grpc.ssl_channel_credentials(self.servers.pem, key, cert)
        options = (("grpc.use_local_subchannel_pool", 1),)
        return grpc.aio.secure_channel(self.server.xds_address, credentials, options=options)

    def serial(self) -> str:
        """Number of the certificate that a new connection is shown."""
        context = ssl.create_default_context(cadata=self.servers.pem.decode())
        context.load_cert_chain(*self.client)
        context.set_alpn_protocols(["h2"])
        host, _, port = self.server.xds_address.rpartition(":")
        with (
            socket.create_connection((host, int(port))) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            return str((connection.getpeercert() or {})["serialNumber"])

    def workers(self, event: str) -> set[int]:
        """Those that logged an event."""
        return {each["worker"] for each in self.server.events(event) if "worker" in each}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    with world.server:
        yield world


async def test_a_node_is_asked_for_its_certificate_by_every_worker(world: World) -> None:
    for _ in range(MOST):
        async with world.channel() as channel:
            served = await read(await ask(channel, DELTA, node="n"), delta=True)
            assert [each.name for each in served.resources] == ["shop"]
            status, words = await ended(await ask(channel, DELTA, node="another"))
            assert (status, "its certificate is for 'n'" in words) == (grpc.StatusCode.PERMISSION_DENIED, True)
        if world.workers("xds.opened") == world.workers("xds.refused") == {1, 2}:
            break
    world.server.wait_until(lambda: world.workers("xds.refused") == {1, 2}, 10, "refusals by both")
    assert {each["node"] for each in world.server.events("xds.refused")} == {"another"}


def test_a_new_certificate_is_shown_by_every_worker(world: World) -> None:
    before = world.serial()
    world.renew()
    world.server.wait_until(lambda: world.workers("tls.reloaded") == {1, 2}, 20, "both workers")
    assert before not in {world.serial() for _ in range(12)}
