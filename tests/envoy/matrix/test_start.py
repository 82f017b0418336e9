"""From nothing to serving: at once when there is something, not before, and whoever comes first."""

import time
from collections.abc import Callable, Iterator

import pytest
from envoy_matrix import CURRENT, EVERY, REST, SOON, Column, MatrixEnvoy, columns, endpoints, routes_to

from xds_server.testing import Backend
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource

pytestmark = [pytest.mark.envoy, columns(*EVERY)]

Measured = Callable[[str, object], None]


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend("a") as backend:
        yield backend


def content(rig: MatrixEnvoy, backend: Backend) -> tuple[Resource, ...]:
    return rig.cluster("app"), endpoints("app", backend), rig.listener(), routes_to({"app": "app"})


def test_S12_S14_S64_from_nothing_to_serving(column: Column, backend: Backend, record_property: Measured) -> None:
    with MatrixEnvoy(column, hold=True) as rig:
        assert column.envoy in rig.envoy.admin("/server_info"), "this is the Envoy that is meant"
        # Held: nothing is loaded yet, and an empty answer would be taken for an answer (S16).
        rig.wait_until(lambda: has_asked(rig), "its first request")
        assert rig.server.seen("sent") == []
        assert "PRE_INITIALIZING" in rig.envoy.admin("/server_info") or "INITIALIZING" in rig.envoy.admin(
            "/server_info"
        )
        before = time.monotonic()
        rig.server.serve(*content(rig, backend))
        rig.wait_until(lambda: rig.ask("app").backend == "a", "the first answer")
        took = time.monotonic() - before
        assert took < SOON
        rig.assert_nothing_was_waited_for("app")
        assert [rig.rejected(kind) for kind in (CLUSTER, ENDPOINTS, LISTENER, ROUTES)] == [0, 0, 0, 0]
        if column.aggregated:
            rig.server.wait_for("acknowledged", ROUTES)
            sent = [event.type_url for event in rig.server.seen("sent")]
            assert sent == [CLUSTER, ENDPOINTS, LISTENER, ROUTES], "each once, although Envoy repeats itself (S17, S32)"
            shown = rig.envoy.admin("/stats?type=TextReadouts&filter=^control_plane.identifier$")
            assert "library" in shown
    if column in CURRENT:
        record_property("measured", f"from the first snapshot to the first answer, {column}: {1000 * took:.0f} ms")


def test_S15_D32_B14_nothing_to_serve_is_an_answer(column: Column) -> None:
    with MatrixEnvoy(column) as rig:
        rig.envoy.wait_for_ready(SOON)
        assert rig.version(CLUSTER) == rig.server.snapshot.version(CLUSTER)


def test_B22_a_cluster_without_endpoints_holds_up_nothing(column: Column) -> None:
    with MatrixEnvoy(column, hold=True) as rig:
        rig.server.serve(rig.cluster("app"), endpoints("app"), rig.listener(), routes_to({"app": "app"}))
        rig.wait_until(lambda: rig.ask("app").status == 503, "503", SOON)
        rig.assert_nothing_was_waited_for("app")


def test_F1_Envoy_is_there_before_its_control_plane(column: Column, backend: Backend) -> None:
    with MatrixEnvoy(column, cut=True) as rig:
        rig.server.serve(*content(rig, backend))
        connections = "cluster.xds-server.internal.upstream_cx_total"
        rig.wait_until(lambda: rig.envoy.stat(connections) >= 2, "some attempts in vain")
        assert rig.server.seen("opened") == []
        rig.server.mend()
        rig.wait_until(lambda: rig.ask("app").backend == "a", "the first answer", SOON)


def has_asked(rig: MatrixEnvoy) -> bool:
    if rig.column == REST:  # told to come again (V19)
        return rig.envoy.stat("cluster_manager.cds.update_failure") >= 2
    return bool(rig.server.seen("subscribed", CLUSTER))
