"""What Envoy refuses holds back nothing else, is not sent again, and is forgotten once the content is good."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from envoy_matrix import (
    EVERY,
    REST,
    SOON,
    Column,
    MatrixEnvoy,
    columns,
    endpoints,
    endpoints_message,
    routes_message,
    routes_to,
    unchecked,
)

from xds_server.testing import Backends
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource

pytestmark = [pytest.mark.envoy, columns(*EVERY)]

_numbers = count(1)


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
    """An Envoy that serves ``app`` from backend a, and nothing else."""
    shared.serve(shared.cluster("app"), endpoints("app", backends["a"]), routes={"app": "app"})
    shared.wait_for_endpoints("app", backends["a"])
    shared.wait_until(lambda: set(shared.envoy.clusters()) == {"app", "xds-server.internal"}, "the removal of the rest")
    return shared


HOW = ["by-field-rules", "by-meaning"]
"""What is wrong: a rule of its fields, which costs the whole response, or what only Envoy itself can find."""
LATE = "while-warming"
"""What only a cluster that has its endpoints can find."""


def bad_cluster(rig: MatrixEnvoy, how: str) -> Resource:
    message = rig.cluster_message("bad")
    if how == "by-field-rules":
        message.connect_timeout.seconds = -1
    elif how == "by-meaning":
        message.lb_policy = message.LOAD_BALANCING_POLICY_CONFIG  # without a policy
    else:
        message.lb_policy = message.MAGLEV
        message.maglev_lb_config.table_size.value = 100  # not a prime number
    return unchecked(message, CLUSTER, "bad")


@pytest.mark.parametrize("how", [*HOW, LATE])
def test_S13_S20_S23_D30_B1_a_rejected_cluster(rig: MatrixEnvoy, backends: Backends, how: str) -> None:
    # Envoy says nothing of what it finds while clusters are warming before it is sent something else (S24). Of a full set, its
    # words for what breaks the rules of a field do not tell who did: that set is held.
    is_held = how == "by-field-rules" and not rig.column.delta
    with rejected_once(rig, CLUSTER, said=how != LATE, event="rejected" if is_held else "quarantined"):
        fresh = rig.cluster("fresh"), endpoints("fresh", backends["b"])
        rig.server.change(bad_cluster(rig, how), *fresh, endpoints("bad", backends["b"]))
    with nothing_sent(rig, CLUSTER, "bad"):
        others_go_on(rig, backends, CLUSTER)
    rig.server.change(rig.cluster("bad"), rig.routes({"bad": "bad", "fresh": "fresh"}))
    for host in ("bad", "fresh"):
        rig.wait_until(lambda host=host: rig.ask(host).backend == "b", f"an answer for {host}")
    assert_settled(rig, CLUSTER)


@pytest.mark.parametrize("how", [*HOW, LATE])
def test_S24_a_rejected_cluster_and_a_removed_one(rig: MatrixEnvoy, backends: Backends, how: str) -> None:
    rig.server.change(rig.cluster("old"), endpoints("old", backends["b"]))
    rig.envoy.wait_for_cluster("old")
    with sent_once(rig, CLUSTER):
        bad = bad_cluster(rig, how), endpoints("bad", backends["b"])
        rig.server.change(*bad, remove=[(CLUSTER, "old"), (ENDPOINTS, "old")])
    others_go_on(rig, backends, CLUSTER)
    # Envoy may not answer this at all (it does not where the fault shows late): the next one goes out all the same.
    rig.server.change(rig.cluster("bad"), rig.routes({"bad": "bad"}))
    rig.wait_until(lambda: rig.ask("bad").backend == "b", "an answer for bad")
    rig.wait_until(lambda: "old" not in rig.envoy.clusters(), "the removal")
    assert_settled(rig, CLUSTER)
    rig.server.change(rig.cluster("app", connect_timeout="9s"))
    rig.wait_until(lambda: rig.active_cluster("app").get("connect_timeout") == "9s", "a later change", SOON)


def test_S13_S20_D30_B33_a_rejected_listener(rig: MatrixEnvoy, backends: Backends) -> None:
    with rejected_once(rig, LISTENER):
        rig.server.change(bad_listener(rig), rig.listener("fresh"), routes_to({}, "fresh"))
    with nothing_sent(rig, LISTENER, "bad"):
        others_go_on(rig, backends, LISTENER)
    rig.wait_until(lambda: rig.envoy.listener_port("fresh"), "what came beside it")
    if rig.column != REST:
        assert rig.server.seen("quarantined", LISTENER)[-1].names == ("bad",)
    rig.server.change(rig.listener("bad"), routes_to({}, "bad"))
    rig.wait_until(lambda: rig.envoy.listener_port("bad"), "what was bad")
    assert_settled(rig, LISTENER)


def test_S13_S20_D30_rejected_routes(rig: MatrixEnvoy, backends: Backends) -> None:
    with rejected_once(rig, ROUTES):
        rig.server.change(bad_routes({"app": "app", "fresh": "app"}))
    assert rig.ask("fresh").status == 404, "the routes that Envoy has stay"
    with nothing_sent(rig, ROUTES, "public"):
        others_go_on(rig, backends, ROUTES)
    rig.server.change(rig.routes({"fresh": "app"}))
    rig.wait_until(lambda: rig.ask("fresh").status == 200, "an answer for fresh")
    assert_settled(rig, ROUTES)


@pytest.mark.parametrize("how", HOW)
def test_S13_S20_D30_a_rejected_assignment(rig: MatrixEnvoy, backends: Backends, how: str) -> None:
    rig.server.change(rig.cluster("one"), rig.cluster("two"), rig.routes({"one": "one", "two": "two"}))
    rig.server.change(*(endpoints(name, backends["a"]) for name in ("one", "two")))
    for name in ("one", "two"):
        rig.wait_for_endpoints(name, backends["a"])
    with rejected_once(rig, ENDPOINTS):
        # Both in one response where one stream has both; Envoy applies nothing of it.
        rig.server.change(bad_assignment("one", backends, how), endpoints("two", backends["b"]))
    sent = [event for event in rig.server.seen("sent", ENDPOINTS) if "one" in event.names]
    with nothing_sent(rig, ENDPOINTS, "one"):
        others_go_on(rig, backends, ENDPOINTS)
    rig.wait_for_endpoints("two", backends["b"])
    rig.server.change(endpoints("two", backends["a"], backends["b"]))
    rig.wait_for_endpoints("two", backends["a"], backends["b"])
    assert rig.send("one", 5) == {"a": 5}, "the endpoints that Envoy has stay"
    again = [event for event in rig.server.seen("sent", ENDPOINTS) if "one" in event.names][len(sent) :]
    assert again == [], "its neighbour's change is no reason"
    rig.server.change(endpoints("one", backends["b"]))
    rig.wait_for_endpoints("one", backends["b"])
    assert rig.send("one", 5) == {"b": 5}


@pytest.mark.parametrize("how", HOW)
def test_S13_a_rejected_first_answer(column: Column, backends: Backends, how: str) -> None:
    with MatrixEnvoy(column, hold=True) as rig:
        good = rig.cluster("app"), endpoints("app", backends["a"]), rig.listener(), routes_to({"app": "app"})
        rig.server.serve(*good, bad_cluster(rig, how))
        rig.wait_until(lambda: rig.ask("app").status in (200, 503), "the listener and its routes")
        assert rig.rejected(CLUSTER) >= 1
        rig.server.change(rig.cluster("bad"), endpoints("bad", backends["b"]))
        rig.wait_until(lambda: rig.ask("app").backend == "a", "an answer", SOON)
        assert_settled(rig, CLUSTER)


def bad_listener(rig: MatrixEnvoy) -> Resource:
    message = rig.listener_message("bad")
    message.address.socket_address.address = "nowhere"
    return unchecked(message, LISTENER, "bad")


def bad_routes(hosts: dict[str, str]) -> Resource:
    message: Any = routes_message(hosts)
    message.virtual_hosts[0].routes[0].match.safe_regex.regex = "("
    return unchecked(message, ROUTES, "public")


def bad_assignment(name: str, backends: Backends, how: str) -> Resource:
    message: Any = endpoints_message(name, backends["b"])
    host = message.endpoints[0].lb_endpoints[0]
    if how == "by-field-rules":
        host.load_balancing_weight.value = 0
    else:
        host.endpoint.address.socket_address.address = "nowhere"
    return unchecked(message, ENDPOINTS, name)


@contextmanager
def sent_once(rig: MatrixEnvoy, type_url: str) -> Iterator[None]:
    sent, polls = len(rig.server.seen("sent", type_url)), rig.attempts(type_url)
    yield
    if rig.column == REST:
        # One poll may have been under way, so the next one has seen it for sure.
        rig.wait_until(lambda: rig.attempts(type_url) >= polls + 2, "a poll")
    else:
        rig.server.wait_until(lambda: len(rig.server.seen("sent", type_url)) > sent, "a response")


@contextmanager
def rejected_once(rig: MatrixEnvoy, type_url: str, *, said: bool = True, event: str = "quarantined") -> Iterator[None]:
    """`said`: Envoy tells the server, too, which finds out what it is about. Pollers never do (V18)."""
    refused, seen = rig.rejected(type_url), len(rig.server.seen(event, type_url))
    yield
    rig.wait_until(lambda: rig.rejected(type_url) > refused, "a rejection")
    if said and rig.column != REST:
        rig.server.wait_until(lambda: len(rig.server.seen(event, type_url)) > seen, "what it is about")


@contextmanager
def nothing_sent(rig: MatrixEnvoy, type_url: str, *names: str) -> Iterator[None]:
    def sent() -> int:
        return sum(not set(names).isdisjoint(event.names) for event in rig.server.seen("sent", type_url))

    before, refused = sent(), rig.rejected(type_url)
    yield
    assert sent() == before
    # Pollers ask for it again and again, and never say why they do (V18).
    assert rig.rejected(type_url) == refused or rig.column == REST


def assert_settled(rig: MatrixEnvoy, type_url: str) -> None:
    """Envoy has accepted the newest content of a type, whatever its last answer says (S19)."""
    newest = rig.server.snapshot.version(type_url)
    if rig.column == REST and type_url == ROUTES:
        return  # a poller's version is that of what it asked for by name
    rig.wait_until(lambda: rig.version(type_url) == newest, f"acceptance of {newest}")


def others_go_on(rig: MatrixEnvoy, backends: Backends, rejected: str) -> None:
    """Changes of every type but the rejected one arrive, each after the other, so several turns on its stream."""
    number = next(_numbers)
    steps: dict[str, Callable[[], None]] = {
        CLUSTER: lambda: _cluster_changes(rig, f"{number}s"),
        ENDPOINTS: lambda: _endpoints_change(rig, backends),
        LISTENER: lambda: _listener_comes(rig, f"listener-{number}"),
        ROUTES: lambda: _route_comes(rig, f"host-{number}"),
    }
    for type_url, step in steps.items():
        if type_url != rejected:
            step()


def _cluster_changes(rig: MatrixEnvoy, timeout: str) -> None:
    rig.server.change(rig.cluster("app", connect_timeout=timeout))
    rig.wait_until(lambda: rig.active_cluster("app").get("connect_timeout") == timeout, "a changed cluster", SOON)


def _endpoints_change(rig: MatrixEnvoy, backends: Backends) -> None:
    for backend in (backends["b"], backends["a"]):
        rig.server.change(endpoints("app", backend))
        rig.wait_for_endpoints("app", backend)
        assert rig.send("app", 3) == {backend.name: 3}


def _listener_comes(rig: MatrixEnvoy, name: str) -> None:
    rig.server.change(rig.listener(name), routes_to({}, name))
    rig.wait_until(lambda: rig.envoy.listener_port(name), "a new listener", SOON)


def _route_comes(rig: MatrixEnvoy, host: str) -> None:
    rig.server.change(rig.routes({host: "app"}))
    rig.wait_until(lambda: rig.ask(host).status == 200, "a new route", SOON)
