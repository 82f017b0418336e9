"""Every kind of change of resources, made while requests flow: it arrives, and none of them fails."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from envoy_matrix import EVERY, SOON, Column, MatrixEnvoy, columns, endpoints, routes_to

from xds_server.testing import Backend, Backends, Load
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES

pytestmark = pytest.mark.envoy


@pytest.fixture(scope="module")
def shared(column: Column) -> Iterator[MatrixEnvoy]:
    with MatrixEnvoy(column) as rig:
        yield rig


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    with Backends("a", "b") as backends:
        yield backends


@pytest.fixture
def rig(shared: MatrixEnvoy, backends: Backends) -> MatrixEnvoy:
    """An Envoy that serves ``app`` from backend a."""
    shared.serve(shared.cluster("app"), endpoints("app", backends["a"]), routes={"app": "app"})
    shared.wait_for_endpoints("app", backends["a"])
    return shared


@contextmanager
def no_failures(rig: MatrixEnvoy, host: str = "app") -> Iterator[Load]:
    with rig.load(host) as load:
        load.wait_for(10)
        yield load
        load.wait_for(20)
    assert load.failures == 0, load.errors


@columns(*EVERY)
def test_replacing_all_targets(rig: MatrixEnvoy, backends: Backends) -> None:
    with no_failures(rig) as load:
        for backend in (backends["b"], backends["a"], backends["b"]):
            rig.server.change(endpoints("app", backend))
            rig.wait_for_endpoints("app", backend)
            load.wait_for(10)
            load.reset()
            load.wait_for(10)
            assert load.backends == {backend.name: load.total}


@columns(*EVERY)
def test_changing_weights(rig: MatrixEnvoy, backends: Backends) -> None:
    both = tuple(backends)
    rig.server.change(endpoints("app", *both))
    rig.wait_for_endpoints("app", *both)
    with no_failures(rig):
        rig.server.change(endpoints("app", *both, load_balancing_weight=[9, 1]))
        rig.wait_until(lambda: weights(rig, "app") == {9, 1}, "the new weights", SOON)
    assert rig.send("app", 5)  # turns that were planned before
    shares = rig.send("app", 200)
    assert abs(shares["a"] - 180) <= 4, shares


@columns(*EVERY)
def test_changing_settings_of_a_cluster(rig: MatrixEnvoy) -> None:
    with no_failures(rig):
        for policy in ("LEAST_REQUEST", "MAGLEV", "RANDOM", "RING_HASH", "ROUND_ROBIN"):
            rig.server.change(rig.cluster("app", lb_policy=policy))
            rig.wait_until(
                lambda p=policy: rig.active_cluster("app").get("lb_policy", "ROUND_ROBIN") == p, policy, SOON
            )
    rig.assert_nothing_was_waited_for("app")


@columns(*EVERY)
def test_S55_S56_D33_moving_a_host_and_removing_the_old_cluster(rig: MatrixEnvoy, backends: Backends) -> None:
    rig.server.change(rig.cluster("old"), endpoints("old", backends["a"]), rig.routes({"moves": "old"}))
    rig.wait_until(lambda: rig.ask("moves").backend == "a", "the host as it was")
    new = rig.cluster("new"), endpoints("new", backends["b"]), rig.routes({"moves": "new"})
    gone = (CLUSTER, "old"), (ENDPOINTS, "old")
    with no_failures(rig, "moves"):
        if rig.column.aggregated:
            rig.server.change(*new, remove=gone)
        else:
            # Streams of their own are not ordered among each other: it takes an operator three steps.
            rig.server.change(*new[:2])
            rig.envoy.wait_for_cluster("new", SOON)
            rig.server.change(new[2])
            rig.wait_until(lambda: rig.ask("moves").backend == "b", "the new route", SOON)
            rig.server.change(remove=gone)
        rig.wait_until(lambda: "old" not in rig.envoy.clusters(), "the removal", SOON)
    assert rig.send("moves", 3) == {"b": 3}


@columns(*(column for column in EVERY if column.aggregated))
def test_S25_S55_S63_moving_a_host_to_a_cluster_that_must_be_probed_first(rig: MatrixEnvoy, backends: Backends) -> None:
    rig.server.change(rig.routes({"moves": "app"}))
    rig.wait_until(lambda: rig.ask("moves").status == 200, "the host as it was")
    probe = {"interval": "1s", "timeout": "1s", "healthy_threshold": 1, "unhealthy_threshold": 1}
    with Backend("slow", delay=0.1) as slow:
        probed = rig.cluster("probed", health_checks=[{**probe, "http_health_check": {"path": "/probe"}}])
        with no_failures(rig, "moves"):
            rig.server.change(probed, endpoints("probed", slow), rig.routes({"moves": "probed"}))
            rig.wait_until(lambda: rig.ask("moves").backend == "slow", "the new route", SOON)
        rig.server.change(rig.routes({"moves": "app"}), remove=[(CLUSTER, "probed"), (ENDPOINTS, "probed")])
        rig.wait_until(lambda: rig.ask("moves").backend == "a", "the route as it was", SOON)


@columns(*EVERY)
def test_S62_changing_a_listener(rig: MatrixEnvoy) -> None:
    modified = rig.envoy.stat("listener_manager.listener_modified")
    with no_failures(rig) as load:
        for name in ("one", "two"):
            rig.server.change(rig.listener(server_name=name))
            rig.wait_until(lambda n=name: rig.ask("app").headers.get("server") == n, f"server {name}", SOON)
        load.wait_for(20)
    assert rig.envoy.stat("listener_manager.listener_modified") == modified + 2


@columns(*EVERY)
def test_S62_a_listener_takes_other_routes(rig: MatrixEnvoy) -> None:
    """A new name of routes holds the listener until they come."""
    others = routes_to({"app": "app", "other": "app"}, "others")
    with no_failures(rig):
        rig.server.change(rig.listener(routes="others"), others)
        rig.wait_until(lambda: rig.ask("other").status == 200, "the other routes", SOON)


@columns(*EVERY)
def test_S36_D12_B7_B8_a_cluster_that_goes_and_comes_back(rig: MatrixEnvoy, backends: Backends) -> None:
    back = rig.cluster("back"), endpoints("back", backends["b"])
    rig.server.change(*back)
    rig.envoy.wait_for_cluster("back")
    with no_failures(rig):
        for _ in range(3):
            rig.server.change(remove=[(CLUSTER, "back"), (ENDPOINTS, "back")])
            rig.wait_until(lambda: "back" not in rig.envoy.clusters(), "the removal", SOON)
            rig.server.change(*back)
            rig.wait_until(lambda: rig.envoy.endpoints("back") == {backends["b"].address: "HEALTHY"}, "it", SOON)
    rig.assert_nothing_was_waited_for("back")


@columns(*EVERY)
def test_draining_a_target_lets_its_request_finish(rig: MatrixEnvoy, backends: Backends) -> None:
    a, b = backends["a"], backends["b"]
    answers = []
    slow = threading.Thread(target=lambda: answers.append(rig.ask("app", "/stream?chunks=5&every=0.1")))
    slow.start()
    rig.wait_until(lambda: a.active == 1, "the slow request")
    with no_failures(rig) as load:
        rig.server.change(endpoints("app", a, b, health_status=["DRAINING", "HEALTHY"]))
        rig.envoy.wait_for_endpoints("app", {a.address: "DRAINING", b.address: "HEALTHY"})
        load.wait_for(10)
        load.reset()
        load.wait_for(20)
        assert load.backends == {"b": load.total}
    slow.join()
    assert [(answer.status, answer.backend) for answer in answers] == [(200, "a")]
    assert len(answers[0].body.split()) >= 5, "the answer that was under way came to its end"


@columns(*EVERY)
def test_S44_D15_an_empty_assignment_is_503_at_once(rig: MatrixEnvoy, backends: Backends) -> None:
    rig.server.change(endpoints("app"))
    rig.wait_until(lambda: rig.envoy.stat("cluster.app.membership_total") == 0, "no members", SOON)
    rig.wait_until(lambda: rig.ask("app").status == 503, "503", SOON)
    assert rig.send("app", 5) == {"503": 5}
    assert "app" in rig.envoy.clusters()
    rig.server.change(endpoints("app", backends["a"]))
    rig.wait_until(lambda: rig.ask("app").status == 200, "an answer", SOON)


@columns(*EVERY)
def test_S44_D15_an_assignment_that_is_taken_away_stays_in_use(rig: MatrixEnvoy) -> None:
    with no_failures(rig):
        rig.server.change(remove=[(ENDPOINTS, "app")])
        rig.server.change(rig.routes({"later": "app"}))
        rig.wait_until(lambda: rig.ask("later").status == 200, "a later change", SOON)
        assert rig.envoy.stat("cluster.app.membership_total") == 1


@columns(*(column for column in EVERY if column.aggregated))
def test_S55_B36_everything_at_once_comes_in_order(rig: MatrixEnvoy, backends: Backends) -> None:
    for number in range(5):
        name = f"all-{number}"
        seen = len(rig.server.events)
        rig.server.change(
            rig.routes({name: name}), rig.listener(server_name=name), endpoints(name, backends["b"]), rig.cluster(name)
        )
        # A host without a route is 404, one that leads to a cluster that is not there 503: neither is seen in between.
        rig.wait_until(lambda host=name: rig.ask(host).status != 404, "the route", SOON)
        assert rig.ask(name).backend == "b"
        rig.wait_until(lambda n=name: rig.ask("app").headers.get("server") == n, "the listener", SOON)
        sent = [event.type_url for event in rig.server.events[seen:] if event.kind == "sent"]
        assert sent == [CLUSTER, ENDPOINTS, LISTENER, ROUTES]


@columns(*EVERY)
def test_S17_D26_a_change_costs_what_it_touches(rig: MatrixEnvoy, backends: Backends) -> None:
    names = [f"many-{number}" for number in range(10)]
    rig.server.change(*map(rig.cluster, names), *(endpoints(name, backends["a"]) for name in names))
    for name in names:
        rig.envoy.wait_for_cluster(name)
    built = rig.envoy.stat("cluster_manager.cluster_modified")
    seen = len(rig.server.events)
    rig.server.change(endpoints("many-3", backends["b"]))
    rig.wait_until(lambda: backends["b"].address in rig.envoy.endpoints("many-3"), "new endpoints", SOON)
    rig.server.change(rig.cluster("many-7", connect_timeout="2s"))
    rig.wait_until(lambda: rig.active_cluster("many-7").get("connect_timeout") == "2s", "a new timeout", SOON)
    assert rig.envoy.stat("cluster_manager.cluster_modified") == built + 1
    sent = [(event.type_url, event.names) for event in rig.server.events[seen:] if event.kind == "sent"]
    if rig.column.aggregated:
        assert sent == [(ENDPOINTS, ("many-3",)), (CLUSTER, ("many-7",)), (ENDPOINTS, ("many-7",))]


def weights(rig: MatrixEnvoy, cluster: str) -> set[int]:
    return {host.get("weight", 1) for host in rig.envoy.clusters()[cluster]["host_statuses"]}
