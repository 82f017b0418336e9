"""Clusters on demand (ODCDS): an Envoy that asks only for the clusters that its requests meet.

Envoy asks for a name once. Later requests for a cluster that was denied or removed wait for it, as long as the `timeout` of its
filter, and no server hears of them: all that helps them is the cluster, pushed when it appears.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from envoy_matrix import SOON, Column, MatrixEnvoy, columns, endpoints
from envoy_messages import HCM, ROUTER, packed
from old_envoys import NEWEST, OLD

from xds_server.testing import Backends
from xds_server.xds import CLUSTER, ENDPOINTS, Event

pytestmark = [pytest.mark.envoy, columns(*(Column(version, "delta") for version in (NEWEST, *OLD)))]

ON_DEMAND = "envoy.extensions.filters.http.on_demand.v3.OnDemand"
TIMEOUT = 15
"""Seconds that Envoy holds a request for a cluster. No test waits for that."""


class OnDemandEnvoy(MatrixEnvoy):
    """Routes by the request's host over a listener of its own. `wildcard`: it takes all clusters besides."""

    def __init__(self, column: Column, *, wildcard: bool) -> None:
        super().__init__(column)
        self.wildcard = wildcard

    def bootstrap(self) -> dict[str, Any]:
        bootstrap = super().bootstrap()
        for config in ("lds_config",) if self.wildcard else ("lds_config", "cds_config"):
            del bootstrap["dynamic_resources"][config]
        on_demand = packed(ON_DEMAND, odcds={"source": self.column.source, "timeout": f"{TIMEOUT}s"})
        route = {"match": {"prefix": "/"}, "route": {"cluster_header": ":authority"}}
        manager = packed(
            HCM,
            stat_prefix="public",
            route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
            http_filters=[
                {"name": "envoy.filters.http.on_demand", "typed_config": on_demand},
                {"name": "envoy.filters.http.router", "typed_config": packed(ROUTER)},
            ],
        )
        network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
        listener = {"name": "public", "address": address, "filter_chains": [{"filters": [network]}]}
        bootstrap["static_resources"]["listeners"] = [listener]
        return bootstrap

    def sent(self) -> list[Event]:
        return self.server.seen("sent", CLUSTER)

    def ask_in_time(self, host: str) -> tuple[int, str]:
        """Status and backend of an answer that did not come by Envoy's own timeout."""
        before = time.monotonic()
        answer = self.ask(host)
        assert time.monotonic() - before < SOON, self.server.story()
        return answer.status, answer.backend

    @contextmanager
    def held_request(self, host: str) -> Iterator[None]:
        """A request that waits for its cluster, which must come inside of this block."""
        with ThreadPoolExecutor(1) as pool:
            before = time.monotonic()
            answer = pool.submit(self.ask, host)
            self.wait_until(lambda: self.envoy.stat("http.public.downstream_rq_active") == 1, "the request")
            yield
            assert answer.result(TIMEOUT + 1).status == 200, self.server.story()
            assert time.monotonic() - before < SOON


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    with Backends("a", "b") as backends:
        yield backends


@pytest.fixture(params=["on-demand-only", "with-wildcard"])
def rig(request: pytest.FixtureRequest, column: Column, backends: Backends) -> Iterator[OnDemandEnvoy]:
    """The server has ``first``, ``second`` and ``third``, all served by a."""
    with OnDemandEnvoy(column, wildcard=request.param == "with-wildcard") as rig:
        names = ("first", "second", "third")
        rig.server.serve(*map(rig.cluster, names), *(endpoints(name, backends["a"]) for name in names))
        rig.envoy.wait_for_ready()
        if rig.wildcard:
            for name in names:
                rig.envoy.wait_for_cluster(name)
        yield rig


def test_D38_the_first_request_brings_its_cluster_and_no_other(rig: OnDemandEnvoy) -> None:
    assert rig.ask_in_time("first") == (200, "a")
    assert rig.ask_in_time("first") == (200, "a")
    if not rig.wildcard:
        assert [event.names for event in rig.sent()] == [("first",)]
        assert rig.envoy.clusters().keys() == {"first", "xds-server.internal"}
    rig.assert_nothing_was_waited_for("first")


def test_D8_D38_an_unknown_cluster_is_denied_at_once(rig: OnDemandEnvoy) -> None:
    assert rig.ask_in_time("missing")[0] == 503
    assert [event.removed for event in rig.sent() if event.removed] == [("missing",)]


def test_D39_a_denied_cluster_that_appears_later(rig: OnDemandEnvoy, backends: Backends) -> None:
    assert rig.ask_in_time("missing")[0] == 503
    asked = len(rig.server.seen("subscribed", CLUSTER))
    with rig.held_request("missing"):
        assert len(rig.server.seen("subscribed", CLUSTER)) == asked, "it is not asked for again"
        rig.server.change(rig.cluster("missing"), endpoints("missing", backends["b"]))
    assert rig.ask_in_time("missing") == (200, "b")


def test_D38_D5_changes_of_a_cluster_on_demand(rig: OnDemandEnvoy, backends: Backends) -> None:
    rig.ask_in_time("first")
    seen = len(rig.sent())
    rig.server.change(rig.cluster("second", connect_timeout="3s"), rig.cluster("fourth"), endpoints("fourth"))
    rig.server.change(rig.cluster("first", connect_timeout="2s"), endpoints("first", backends["b"]))
    rig.wait_until(lambda: rig.active_cluster("first").get("connect_timeout") == "2s", "the change", SOON)
    rig.wait_until(lambda: rig.ask("first").backend == "b", "the new endpoints", SOON)
    rig.assert_nothing_was_waited_for("first")
    if not rig.wildcard:
        assert [event.names for event in rig.sent()[seen:]] == [("first",)], "the others are not its business"


def test_D9_B7_a_cluster_on_demand_that_goes_and_comes_back(rig: OnDemandEnvoy, backends: Backends) -> None:
    rig.ask_in_time("first")
    rig.server.change(remove=[(CLUSTER, "first"), (ENDPOINTS, "first")])
    rig.wait_until(lambda: "first" not in rig.envoy.clusters(), "the removal", SOON)
    if rig.wildcard:  # so that it was not asked for by its name yet
        assert rig.ask_in_time("first")[0] == 503
    with rig.held_request("first"):
        rig.server.change(rig.cluster("first"), endpoints("first", backends["b"]))
    assert rig.ask_in_time("first") == (200, "b")


def test_D38_two_requests_at_once_for_two_missing_clusters(rig: OnDemandEnvoy) -> None:
    hosts = ["nowhere-1", "nowhere-2", "first", "second", "nowhere-3", "third"]
    with ThreadPoolExecutor(len(hosts)) as pool:
        answers = dict(zip(hosts, pool.map(rig.ask_in_time, hosts), strict=True))
    assert answers == {host: (503, "") if host.startswith("nowhere") else (200, "a") for host in hosts}


def test_D18_D19_D6_after_the_control_plane_was_restarted(rig: OnDemandEnvoy, backends: Backends) -> None:
    assert rig.ask_in_time("first") == (200, "a")
    assert rig.ask_in_time("third") == (200, "a")
    assert rig.ask_in_time("missing")[0] == 503
    with rig.load("first") as load:
        rig.server.stop()
        load.wait_for(20)
        rig.server.change(
            rig.cluster("first", connect_timeout="2s"), rig.cluster("missing"), endpoints("missing", backends["b"]),
            remove=[(CLUSTER, "third"), (ENDPOINTS, "third")],
        )  # fmt: skip
        rig.server.start()
        rig.wait_until(lambda: rig.active_cluster("first").get("connect_timeout") == "2s", "the change", SOON)
        rig.wait_until(lambda: "third" not in rig.envoy.clusters(), "the removal", SOON)
        load.wait_for(20)
    assert load.failures == 0, load.errors
    rig.envoy.wait_for_cluster("missing")
    assert rig.ask_in_time("missing") == (200, "b"), "it appeared meanwhile"
    assert rig.ask_in_time("second") == (200, "a")
    asked = {name for event in rig.server.seen("subscribed", CLUSTER) for name in event.names}
    assert asked == ({"*", "missing"} if rig.wildcard else {"first", "second", "third", "missing"})
    rig.assert_nothing_was_waited_for("first", "second", "missing")
