"""Two control planes on one PostgreSQL, and an Envoy that reaches both by one name: all in containers."""

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from xds_server.bootstrap import Bootstrap
from xds_server.testing import ApiError, Backend, EnvoyContainer, Load, XdsServerContainer, assert_shares
from xds_server.testing.container import bridge_gateway
from xds_server.testing.engine import Recipe, RunningContainer
from xds_server.testing.waiting import wait_until

if TYPE_CHECKING:
    from testcontainers.core.network import Network

CONTROL = "control"
STORE = "postgresql://xds:in-a-test@database/xds"


class Database(RunningContainer):
    """PostgreSQL, as its official image takes its settings."""

    def __init__(self, image: str, network: "Network") -> None:
        self._image, self._network = image, network

    def _recipe(self) -> Recipe:
        settings = {"POSTGRES_USER": "xds", "POSTGRES_PASSWORD": "in-a-test", "POSTGRES_DB": "xds"}
        return Recipe(self._image, [], (), environment=settings, network=self._network, aliases=("database",))

    def _wait_until_up(self) -> None:
        # Over the network, as what runs while the database is made listens elsewhere.
        wait_until(lambda: "accepting" in self._asked(), 60, lambda: f"PostgreSQL:\n{self.log}")

    def _asked(self) -> str:
        with contextlib.suppress(RuntimeError):
            return self.run("pg_isready", "-h", "127.0.0.1")
        return ""


@pytest.fixture
def database(postgres_image: str, network: "Network") -> Iterator[Database]:
    with Database(postgres_image, network) as started:
        yield started


@pytest.fixture
def replicas(
    server_image: str, network: "Network", database: Database
) -> Iterator[tuple[XdsServerContainer, XdsServerContainer]]:
    def replica() -> XdsServerContainer:
        return XdsServerContainer(image=server_image, store=STORE, network=network, alias=CONTROL)

    with replica() as one, replica() as other:
        yield one, other


def has_the_envoy(replica: XdsServerContainer) -> bool:
    """Whether an Envoy is connected to this very replica: all show all, but metrics are of what each does itself."""
    return re.search(r"^xds_server_nodes\{.*\} 1\.0$", replica.api("GET", "/metrics"), re.MULTILINE) is not None


def definition(backend: Backend) -> str:
    return f"upstreams: [{{name: payments, targets: [{{host: {backend.host}, port: {backend.port}}}]}}]"


def test_what_one_replica_is_told_the_other_serves_also_when_the_first_is_gone(
    envoy_image: str,
    network: "Network",
    database: Database,
    replicas: tuple[XdsServerContainer, XdsServerContainer],
) -> None:
    one, other = replicas
    bootstrap = Bootstrap(node_id="edge-1", xds_address=f"{CONTROL}:18000", static_listener=10000)
    with (
        Backend("a", host=bridge_gateway()) as a,
        Backend("b", host=bridge_gateway()) as b,
        EnvoyContainer(bootstrap, image=envoy_image, network=network) as envoy,
    ):
        one.apply(definition(a))
        envoy.wait_for_endpoints("payments", {a.address: "HEALTHY"})
        assert other.api("GET", "/v1/upstreams/payments")["targets"][0]["port"] == a.port
        assert [has_the_envoy(each) for each in replicas].count(True) == 1
        serving, spare = (one, other) if has_the_envoy(one) else (other, one)
        with Load(envoy.static_port, "payments", rate=100) as load:
            load.wait_for(20)
            serving.kill()
            revision = spare.apply(definition(b))
            spare.wait_until_acknowledged(revision, timeout=60)
            assert has_the_envoy(spare)
            load.wait_for(20)
            load.backends.clear()
            load.wait_for(50)
            assert_shares(load.backends, {"b": 1})
            database.kill()
            wait_until(lambda: not spare.api("GET", "/readyz")["writable"], 30, lambda: "the loss to be noticed")
            with pytest.raises(ApiError, match="503"):
                spare.apply(definition(a))
            database.restart()
            wait_until(lambda: spare.api("GET", "/readyz")["writable"], 30, lambda: "the database")
            spare.wait_until_acknowledged(spare.apply(definition(a)))
            load.wait_for(20)
            load.backends.clear()
            load.wait_for(50)
            assert_shares(load.backends, {"a": 1})
        assert load.failures == 0, load.errors
