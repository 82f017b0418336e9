"""A changed cluster is warm at once: its endpoints come with it, changed or not."""

import time
from collections.abc import Callable, Iterator

import pytest
from envoy_matrix import CURRENT, EVERY, SOON, Column, MatrixEnvoy, columns, endpoints

from xds_server.testing import Backends
from xds_server.xds import CLUSTER, ENDPOINTS

pytestmark = pytest.mark.envoy

Measured = Callable[[str, object], None]


@pytest.fixture(scope="module")
def rig(column: Column) -> Iterator[MatrixEnvoy]:
    with MatrixEnvoy(column) as rig:
        yield rig


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    with Backends("a", "b") as backends:
        yield backends


@columns(*EVERY)
def test_S57_S58_S59_D13_a_changed_cluster_is_warm_within_a_second(
    rig: MatrixEnvoy, backends: Backends, record_property: Measured
) -> None:
    rig.serve(rig.cluster("app"), endpoints("app", backends["a"]), routes={"app": "app"})
    took = []
    with rig.load("app") as load:
        for timeout in ("1s", "2s", "3s"):
            rig.server.change(rig.cluster("app", connect_timeout=timeout))
            took.append(_warm(rig, "app", timeout))
            load.wait_for(20)
    assert load.failures == 0, load.errors
    assert sorted(took)[1] < 1
    assert max(took) < SOON
    rig.assert_nothing_was_waited_for("app")
    if rig.column in CURRENT:
        record_property("measured", f"a changed cluster until it is warm, {rig.column}: {1000 * max(took):.0f} ms")


@columns(*EVERY)
def test_S57_D13_many_clusters_that_change_at_once(rig: MatrixEnvoy, backends: Backends) -> None:
    names = [f"many-{number}" for number in range(10)]
    assignments = [endpoints(name, backends["a"]) for name in names]
    rig.serve(*map(rig.cluster, names), *assignments, routes={name: name for name in names})
    rig.server.change(*(rig.cluster(name, connect_timeout="7s") for name in names))
    assert max(_warm(rig, name, "7s") for name in names) < SOON
    rig.assert_nothing_was_waited_for("many-.*")


@columns(*EVERY)
def test_S54_B31_two_clusters_that_share_one_assignment(rig: MatrixEnvoy, backends: Backends) -> None:
    rig.serve(rig.cluster("first", eds="shared"), endpoints("shared", backends["a"]), routes={"first": "first"})
    before = time.monotonic()
    rig.server.change(rig.cluster("second", eds="shared"))
    rig.wait_until(lambda: rig.active_cluster("second"), "the second cluster")
    assert time.monotonic() - before < SOON
    rig.wait_for_endpoints("second", backends["a"])
    # One assignment, so one response that reaches both.
    rig.server.change(endpoints("shared", backends["b"]))
    rig.wait_for_endpoints("first", backends["b"])
    rig.wait_for_endpoints("second", backends["b"])
    # And a rebuild of one of them leaves the other as it is.
    rig.server.change(rig.cluster("second", eds="shared", connect_timeout="4s"))
    assert _warm(rig, "second", "4s") < SOON
    assert rig.send("first", 5) == {"b": 5}
    rig.assert_nothing_was_waited_for("first", "second")


@columns(*EVERY)
def test_S60_B35_cluster_and_endpoints_that_change_together(rig: MatrixEnvoy, backends: Backends) -> None:
    rig.serve(rig.cluster("both"), endpoints("both", backends["a"]), routes={"both": "both"})
    seen = len(rig.server.events)
    with rig.load("both") as load:
        rig.server.change(rig.cluster("both", connect_timeout="8s"), endpoints("both", backends["b"]))
        assert _warm(rig, "both", "8s") < SOON
        rig.wait_for_endpoints("both", backends["b"])
        load.reset()
        load.wait_for(20)
    assert load.failures == 0, load.errors
    assert load.backends == {"b": load.total}
    rig.assert_nothing_was_waited_for("both")
    if rig.column.aggregated:
        sent = [event.type_url for event in rig.server.events[seen:] if event.kind == "sent"]
        assert sent[:2] == [CLUSTER, ENDPOINTS], "the cluster first, then what belongs to it"


@columns(*EVERY)
def test_S61_B5_endpoints_that_change_just_before_their_cluster(rig: MatrixEnvoy, backends: Backends) -> None:
    rig.serve(rig.cluster("late"), endpoints("late", backends["a"]), routes={"late": "late"})
    for timeout, backend in (("1s", backends["b"]), ("2s", backends["a"]), ("3s", backends["b"])):
        rig.server.change(endpoints("late", backend))
        rig.server.change(rig.cluster("late", connect_timeout=timeout))
        assert _warm(rig, "late", timeout) < SOON
        rig.wait_for_endpoints("late", backend)
    rig.assert_nothing_was_waited_for("late")


# On streams of their own a rebuilt cluster asks like a new one, which must be told that there are none (D8).
@columns(*(column for column in EVERY if column.delta and column.aggregated))
def test_S59_D15_a_cluster_that_changes_while_its_endpoints_are_not_known(rig: MatrixEnvoy, backends: Backends) -> None:
    """As after a restart that could not resolve an upstream's names yet. Envoy has endpoints, which it may use on."""
    rig.serve(rig.cluster("unknown"), endpoints("unknown", backends["a"]), routes={"unknown": "unknown"})
    rig.server.change(remove=[(ENDPOINTS, "unknown")])
    with rig.load("unknown") as load:
        load.wait_for(20)
        sent = len(rig.server.seen("sent", CLUSTER))
        rig.server.change(rig.cluster("unknown", connect_timeout="9s"))
        rig.server.wait_until(lambda: len(rig.server.seen("sent", CLUSTER)) > sent, "the changed cluster")
        load.wait_for(100)
    assert load.failures == 0, load.errors


def _warm(rig: MatrixEnvoy, name: str, connect_timeout: str) -> float:
    """Seconds until the version of a cluster that has this timeout is active."""
    started = time.monotonic()
    rig.wait_until(
        lambda: rig.active_cluster(name).get("connect_timeout") == connect_timeout,
        f"cluster {name!r} with its timeout of {connect_timeout}",
        20,
    )
    return time.monotonic() - started
