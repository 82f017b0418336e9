"""Revisions and real Envoys: acknowledged is in use, warm is active, a rejection has Envoy's words, a frozen one is pending."""

import time
from collections.abc import Callable, Iterator

import pytest
from envoy_matrix import AGGREGATED, PER_TYPE, SOON, Column, columns, endpoints, routes_to, unchecked
from revised import NODE, RevisedEnvoy
from scripted_client import kind_of

from xds_server.testing import Backend, Backends
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES

pytestmark = pytest.mark.envoy

STREAMS = columns(*AGGREGATED, *PER_TYPE)


@pytest.fixture(scope="module")
def shared(column: Column) -> Iterator[RevisedEnvoy]:
    with RevisedEnvoy(column) as rig:
        yield rig


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    with Backends("a", "b") as backends:
        yield backends


@pytest.fixture
def rig(shared: RevisedEnvoy, backends: Backends) -> RevisedEnvoy:
    """An Envoy that serves ``app`` from backend a, and has acknowledged that."""
    shared.serve(shared.cluster("app"), endpoints("app", backends["a"]), routes={"app": "app"})
    shared.wait_for_endpoints("app", backends["a"])
    shared.wait_until(lambda: set(shared.envoy.clusters()) == {"app", "xds-server.internal"}, "the removal of the rest")
    shared.wait_until(lambda: {state.status for state in shared.node().types} == {"SYNCED"}, "all acknowledgements")
    return shared


@STREAMS
def test_what_is_acknowledged_is_in_use(
    rig: RevisedEnvoy, backends: Backends, record_property: Callable[[str, object], None]
) -> None:
    revision = rig.revise(endpoints("app", backends["b"]))
    progress = rig.wait(revision)
    assert set(rig.envoy.endpoints("app")) == {backends["b"].address}, "Envoy's main thread has it"
    assert (progress.affected, progress.acknowledged, progress.pending) == (1, 1, {})
    assert progress.reached(100)
    assert progress.warm == (1 if rig.column.aggregated else 0)
    assert progress.seconds is not None
    record_property("measured", f"commit to acknowledgement, {rig.column}: {1000 * progress.seconds:.0f} ms")
    assert rig.wait(rig.revise(endpoints("unheard-of"))).affected == 0


@STREAMS
def test_everything_at_once(rig: RevisedEnvoy, backends: Backends) -> None:
    revision = rig.revise(
        rig.cluster("new"), endpoints("new", backends["b"]), rig.routes({"new": "new"}), rig.listener(server_name="x")
    )
    progress = rig.wait(revision)
    assert progress.reached(100), progress
    rig.wait_until(lambda: rig.ask("new").backend == "b", "the new cluster", SOON)
    gone = rig.wait(rig.revise(routes_to({"app": "app"}), remove=[(CLUSTER, "new"), (ENDPOINTS, "new")]))
    assert gone.reached(100), gone
    assert "new" not in rig.envoy.clusters()
    assert {state.status for state in rig.node().types} == {"SYNCED"}


@STREAMS
def test_a_rejection_has_envoys_words(rig: RevisedEnvoy, backends: Backends) -> None:
    message = rig.cluster_message("bad-one")
    message.lb_policy = message.LOAD_BALANCING_POLICY_CONFIG  # without a policy
    revision = rig.revise(unchecked(message, CLUSTER, "bad-one"), rig.cluster("good"), endpoints("good", backends["b"]))
    progress = rig.wait(revision)
    assert (progress.affected, progress.acknowledged, progress.rejections) == (1, 0, 1)
    (rejected,) = progress.rejected
    assert (rejected.node, rejected.type, rejected.culprits) == (NODE, "Cluster", ("bad-one",))
    assert "bad-one" in rejected.message
    (state,) = (state for state in rig.node().types if state.type == "Cluster")
    assert state.status == "NACKED"
    assert state.rejection is not None
    assert (state.rejection.message, state.rejection.culprits) == (rejected.message, ("bad-one",))
    assert state.version_acknowledged != state.version_sent
    assert rig.wait(rig.revise(remove=[(CLUSTER, "bad-one")])).reached(100)
    (state,) = (state for state in rig.node().types if state.type == "Cluster")
    assert (state.status, state.rejection) == ("SYNCED", None)


@STREAMS
def test_a_frozen_envoy_is_pending_until_it_goes_on(rig: RevisedEnvoy, backends: Backends) -> None:
    rig.envoy.suspend()
    try:
        revision = rig.revise(endpoints("app", backends["b"]))
        progress = rig.wait(revision, within=0.5)
        assert progress.pending == {NODE: ("ClusterLoadAssignment",)}
        assert not progress.reached(1)
        rig.server.wait_for("sent", ENDPOINTS)
        (state,) = (state for state in rig.node().types if state.type_url == ENDPOINTS)
        assert state.status == "STALE"
    finally:
        rig.envoy.resume()
    assert rig.wait(revision).reached(100)


@columns(*AGGREGATED)
def test_S25_warm_is_active(rig: RevisedEnvoy) -> None:
    probe = {"interval": "1s", "timeout": "1s", "healthy_threshold": 1, "unhealthy_threshold": 1}
    with Backend("slow", delay=0.5) as slow:
        probed = rig.cluster("probed", health_checks=[{**probe, "http_health_check": {"path": "/probe"}}])
        revision = rig.revise(probed, endpoints("probed", slow))
        early = rig.wait(revision, within=0.2)
        assert early.pending == {NODE: ("Cluster",)}, "it has its endpoints, and waits for the first probe"
        assert "probed" not in rig.envoy.clusters()
        progress = rig.wait(revision)
        assert (progress.acknowledged, progress.warm) == (1, 1)
        assert "probed" in rig.envoy.clusters(), "active"


@columns(*PER_TYPE)
def test_streams_per_type_acknowledge_before_they_are_warm_and_that_is_not_claimed(rig: RevisedEnvoy) -> None:
    with hanging() as slow:
        probe = {"interval": "60s", "timeout": "60s", "healthy_threshold": 1, "unhealthy_threshold": 1}
        probed = rig.cluster("probed", health_checks=[{**probe, "http_health_check": {"path": "/probe"}}])
        progress = rig.wait(rig.revise(probed, endpoints("probed", slow)))
        assert (progress.acknowledged, progress.warm) == (1, 0)
        assert "probed" not in rig.envoy.clusters(), "warming"


@columns(*AGGREGATED)
def test_S25_S64_nothing_is_claimed_while_envoy_initialises(column: Column, backends: Backends) -> None:
    probe = {"interval": "60s", "timeout": "60s", "healthy_threshold": 1, "unhealthy_threshold": 1}
    with RevisedEnvoy(column, hold=True) as rig, hanging() as slow:
        rig.server.wait_for("subscribed", CLUSTER)
        probed = rig.cluster("probed", health_checks=[{**probe, "http_health_check": {"path": "/probe"}}])
        first = rig.revise(probed, endpoints("probed", slow))
        rig.server.wait_for("acknowledged", ENDPOINTS)
        second = rig.revise(rig.cluster("other"), endpoints("other", backends["a"]))
        for revision in (first, second):
            progress = rig.wait(revision)
            assert (progress.acknowledged, progress.warm) == (1, 0), "clusters are acknowledged at once, warm or not"
        assert rig.server.seen("subscribed", LISTENER) == [], "it has not initialised"


def hanging() -> Backend:
    """A backend whose probes are not answered in the time of a test."""
    return Backend("hanging", delay=30)


@columns(*AGGREGATED)
def test_who_dies_is_not_waited_for(column: Column, backends: Backends) -> None:
    with RevisedEnvoy(column) as rig:
        rig.serve(rig.cluster("app"), endpoints("app", backends["a"]), routes={"app": "app"})
        rig.envoy.suspend()
        revision = rig.revise(endpoints("app", backends["b"]))
        assert list(rig.wait(revision, within=0.1).pending) == [NODE]
        rig.envoy.kill()
        progress = rig.wait(revision)
        assert (progress.affected, progress.left, progress.reached(100)) == (0, 1, True)
        found = rig.node()
        assert (found.connected, found.streams) == (False, ())
        assert {state.type for state in found.types} == {kind_of(t) for t in (CLUSTER, ENDPOINTS, LISTENER, ROUTES)}


@STREAMS
def test_what_is_known_of_an_envoy(rig: RevisedEnvoy) -> None:
    found = rig.node()
    assert found.user_agent == f"envoy {rig.column.envoy}"
    assert (found.cluster, found.connected) == ("tests", True)
    assert found.service == ("aggregated" if rig.column.aggregated else "per-type")
    assert found.variant == ("delta" if rig.column.delta else "sotw")
    host, _, port = found.streams[0].peer.partition(":")
    assert (host, port.isdigit()) == ("127.0.0.1", True)
    kinds = {state.type: state for state in found.types}
    assert set(kinds) == {"Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"}
    for state in kinds.values():
        assert state.version_acknowledged == state.version_sent != ""
        assert state.acknowledgement_seconds is not None
        assert 0 < state.acknowledgement_seconds < SOON
        assert state.acknowledged_at is not None
        assert abs(time.time() - state.acknowledged_at.timestamp()) < 600
    assert kinds["Cluster"].version_sent == rig.server.snapshot.version(CLUSTER)
