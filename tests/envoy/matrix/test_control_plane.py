"""The product with each Envoy: definitions are served, and the control plane may die, stand still and come back."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from column_rig import ColumnRig
from envoy_matrix import CURRENT, EVERY, REST, Column, columns
from rig import target

from xds_server.testing import Backends

pytestmark = pytest.mark.envoy


@pytest.fixture(scope="module")
def backends() -> Iterator[Any]:
    with Backends("a", "b") as backends:
        yield backends


@pytest.fixture(scope="module")
def rig(column: Column, backends: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ColumnRig]:
    a, _ = backends
    rig = ColumnRig(tmp_path_factory.mktemp("rig"), column)
    rig.upstream("app", target(a))
    with rig:
        rig.forwards("app")
        rig.first_answer = time.monotonic() - rig.started
        yield rig
        assert rig.server.events("xds.rejected") == []


@columns(*EVERY)
def test_from_nothing_to_serving(rig: ColumnRig) -> None:
    assert rig.send("app", 10).keys() <= {"a", "b"}, "each was answered"
    assert rig.first_answer < 5
    assert not any(rig.envoy.stats(r"\.update_rejected$").values())
    assert not any(rig.envoy.stats(r"\.init_fetch_timeout$").values())


@columns(*EVERY)
def test_changes_of_definitions_under_load(rig: ColumnRig, backends: Any) -> None:
    a, b = backends
    with rig.load("app") as load:
        load.wait_for(20)
        if rig.column != REST:  # which asks for endpoints and routes every 5 s to 10 s: see the tests of dialects
            rig.upstream("app", target(a, weight=3), target(b), algorithm="weighted-round-robin")
            rig.serves("app", a, b)
            rig.upstream("app", target(a, state="draining"), target(b), algorithm="weighted-round-robin")
            rig.serves("app", a, b, a="DRAINING")
            load.wait_for(20)
            load.reset()
            load.wait_for(20)
            assert load.backends == {"b": load.total}
            rig.upstream("new", target(b), hostnames=["new.example"])
            rig.forwards("new.example")
        rig.upstream("app", target(a), target(b), algorithm="maglev", connect_timeout="3s", retries={"attempts": 2})
        rig.envoy.wait_until(lambda: built(rig, "app").get("connect_timeout") == "3s", 10, "the changed cluster")
        load.wait_for(20)
    assert load.failures == 0, load.errors
    assert rig.envoy.stat("cluster.app.init_fetch_timeout") == 0
    assert rig.envoy.stat("cluster.app.assignment_use_cached") == 0


@columns(*CURRENT)
def test_S66_S67_killed_and_restarted(rig: ColumnRig, backends: Any) -> None:
    with rig.load("app") as load:
        load.wait_for(20)
        before = counts(rig)
        rig.server.kill()
        load.wait_for(40)
        rig.server.restart()
        here_again(rig)
        load.wait_for(40)
    assert load.failures == 0, load.errors
    assert counts(rig) == before, "nothing is built anew"
    if rig.column != REST:
        assert rig.sent("Cluster") == rig.sent("Listener") == [], "nothing is sent that it holds"


@columns(*CURRENT)
def test_B19_killed_and_changed_before_it_is_restarted(rig: ColumnRig, backends: Any) -> None:
    a, b = backends
    names = [f"while-dead-{number}" for number in range(3)]
    with rig.load("app") as load:
        rig.server.kill()
        for name in names:
            rig.upstream(name, target(b))
        rig.upstream("app", target(a), target(b), connect_timeout="4s")
        rig.server.restart()
        rig.envoy.wait_until(lambda: set(names) <= rig.envoy.clusters().keys(), 10, "the new clusters")
        rig.envoy.wait_until(lambda: built(rig, "app").get("connect_timeout") == "4s", 10, "the changed cluster")
        load.wait_for(20)
    assert load.failures == 0, load.errors
    assert rig.envoy.stat("cluster.app.init_fetch_timeout") == 0
    for name in names:
        assert rig.envoy.endpoints(name) == {b.address: "HEALTHY"}


@columns(*CURRENT)
def test_frozen_and_resumed(rig: ColumnRig) -> None:
    with rig.load("app") as load:
        before = counts(rig)
        rig.server.suspend()
        load.wait_for(60)
        if rig.column == REST:
            given_up = rig.envoy.stat("cluster_manager.cds.update_failure") + 2
            rig.envoy.wait_until(
                lambda: rig.envoy.stat("cluster_manager.cds.update_failure") >= given_up, 5, "polls in vain"
            )
        rig.server.resume()
        goes_on(rig, "frozen")
        load.wait_for(20)
    assert load.failures == 0, load.errors
    after = counts(rig)
    assert after.pop("cluster_manager.cluster_added") == before.pop("cluster_manager.cluster_added") + 1
    assert after == before


@columns(*CURRENT)
def test_frozen_and_changed_before_it_is_resumed(rig: ColumnRig, backends: Any) -> None:
    a, _ = backends
    with rig.load("app") as load:
        rig.server.suspend()
        rig.upstream("app", target(a), connect_timeout="6s")
        rig.upstream("while-frozen", target(a))
        load.wait_for(40)
        assert "while-frozen" not in rig.envoy.clusters()
        rig.server.resume()
        rig.envoy.wait_for_endpoints("while-frozen", {a.address: "HEALTHY"})
        rig.envoy.wait_until(lambda: built(rig, "app").get("connect_timeout") == "6s", 10, "the changed cluster")
        load.wait_for(20)
    assert load.failures == 0, load.errors
    assert rig.envoy.stat("cluster.app.init_fetch_timeout") == 0


def goes_on(rig: ColumnRig, name: str) -> None:
    """A change arrives."""
    rig.upstream(name)
    rig.envoy.wait_for_cluster(name)


def here_again(rig: ColumnRig) -> None:
    """Wait until Envoy is back: on streams it is always sent what it asks for by name, and it answers that."""
    if rig.column == REST:
        polls = rig.envoy.stat("cluster_manager.cds.update_attempt") + 2
        rig.envoy.wait_until(lambda: rig.envoy.stat("cluster_manager.cds.update_attempt") >= polls, 10, "polls")
        return
    rig.server.wait_until(
        lambda: (
            {"ClusterLoadAssignment", "RouteConfiguration"}
            <= {event["type"] for event in rig.server.events("xds.acknowledged")}
        ),
        10,
        "the acknowledgements",
    )


def counts(rig: ColumnRig) -> dict[str, float]:
    """How many clusters and listeners Envoy has built."""
    names = r"cluster_manager\.cluster_(added|modified|removed)|listener_manager\.listener_(added|modified|removed)"
    return rig.envoy.stats(rf"^({names})$")


def built(rig: ColumnRig, name: str) -> dict[str, Any]:
    """The active version of a cluster."""
    active = rig.envoy.config_dump("dynamic_active_clusters").get("configs", [])
    return next((entry["cluster"] for entry in active if entry["cluster"]["name"] == name), {})
