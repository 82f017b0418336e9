"""A control plane that lost its store, and does not know it: Envoy keeps what it has, a new one is answered (S16)."""

from collections.abc import Iterator

import pytest
from envoy_matrix import AGGREGATED, CURRENT, REST, SOON, Column, MatrixEnvoy, columns, endpoints, routes_to, unchecked

from xds_server.testing import Backends
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES

pytestmark = pytest.mark.envoy

BACK = SOON + 5
"""Seconds in which Envoy is back. It tries again within 5 s."""


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    with Backends("a", "b") as backends:
        yield backends


def lose_everything(rig: MatrixEnvoy) -> None:
    """The server ends, and another one starts that was never told anything."""
    rig.server.stop()
    rig.server.forget()
    rig.server.start()


def is_back(rig: MatrixEnvoy, *types: str) -> None:
    """Wait until Envoy has asked for all that it has."""
    if rig.column == REST:
        polls = {type_url: rig.attempts(type_url) for type_url in types}
        rig.wait_until(lambda: all(rig.attempts(kind) >= n + 2 for kind, n in polls.items()), "polls", BACK)
        return
    for type_url in types:
        rig.server.wait_for("subscribed", type_url, timeout=BACK)


@columns(*CURRENT)
def test_S16_B34_D18_V19_an_envoy_that_comes_back_is_not_emptied(column: Column, backends: Backends) -> None:
    with MatrixEnvoy(column) as rig:
        rig.serve(rig.cluster("app"), endpoints("app", backends["a"]), routes={"app": "app"})
        with rig.load("app") as load:
            lose_everything(rig)
            is_back(rig, CLUSTER, ENDPOINTS, LISTENER, ROUTES)
            load.reset()
            load.wait_for(50)
            assert rig.server.seen("sent") == []
            assert set(rig.envoy.clusters()) == {"app", "xds-server.internal"}
            # What is written first is served, as always.
            rig.server.serve(
                rig.listener(), rig.routes({"new": "new"}), rig.cluster("app"), endpoints("app", backends["a"]),
                rig.cluster("new"), endpoints("new", backends["b"]),
            )  # fmt: skip
            rig.wait_until(lambda: rig.ask("new").backend == "b", "what was written since", BACK)
            load.wait_for(20)
        assert load.failures == 0, load.errors
        rig.server.serve()
        rig.wait_until(lambda: "app" not in rig.envoy.clusters(), "nothing, where it was written", BACK)


@columns(*CURRENT)
def test_S15_D32_a_new_envoy_is_told_that_there_is_nothing(column: Column, backends: Backends) -> None:
    with MatrixEnvoy(column, hold=True) as rig:
        rig.server.forget()
        rig.envoy.wait_for_ready(SOON)
        rig.server.change(
            rig.cluster("app"), endpoints("app", backends["a"]), rig.listener(), routes_to({"app": "app"})
        )
        rig.wait_until(lambda: rig.ask("app").backend == "a", "the first answer")


@columns(*AGGREGATED)
def test_S16_S71_an_envoy_that_was_stuck_is_not_emptied_by_its_rescue(column: Column, backends: Backends) -> None:
    with MatrixEnvoy(column) as rig:
        rig.serve(rig.cluster("app"), endpoints("app", backends["a"]), routes={"app": "app"})
        rig.server.change(rig.cluster("old"), endpoints("old", backends["b"]))
        rig.envoy.wait_for_cluster("old")
        message = rig.cluster_message("bad")
        message.lb_policy = message.MAGLEV
        message.maglev_lb_config.table_size.value = 100  # not a prime number
        bad = unchecked(message, CLUSTER, "bad"), endpoints("bad", backends["b"])
        rig.server.change(*bad, remove=[(CLUSTER, "old"), (ENDPOINTS, "old")])
        rig.server.wait_until(lambda: rig.server.seen("sent", CLUSTER)[-1].names == ("bad",), "the bad cluster")
        with rig.load("app", rate=100) as load:
            lose_everything(rig)
            is_back(rig, ENDPOINTS, LISTENER)
            load.wait_for(300)  # 3 s, and `LIMITS` has it rescued after one
            assert rig.server.seen("sent") == []
            assert "app" in rig.envoy.clusters()
        assert load.failures == 0, load.errors
