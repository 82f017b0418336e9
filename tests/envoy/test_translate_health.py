"""Who is healthy, and what happens when few or none are, as the real Envoy carries it out."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from translated_envoy import TranslatedEnvoy

from xds_server.testing import Backend, Backends, send

pytestmark = pytest.mark.envoy

FAST = {"path": "/healthz", "interval": "50ms", "timeout": "1s", "healthy_threshold": 1, "unhealthy_threshold": 2}
AT_ONCE = {"common_lb_config": {"update_merge_window": "0s"}}
FRESH = (f"health-{number}" for number in count())


@pytest.fixture(scope="module")
def envoy() -> Iterator[TranslatedEnvoy]:
    with TranslatedEnvoy() as started:
        yield started


@pytest.fixture
def backends() -> Iterator[Backends]:
    with Backends("a", "b", "c", "d") as started:
        yield started


Serve = Callable[..., str]


@pytest.fixture
def serve(envoy: TranslatedEnvoy) -> Serve:
    """Serves one upstream under a name of its own, which is returned."""

    def one(targets: list[dict[str, Any]], **fields: Any) -> str:
        name = next(FRESH)
        envoy.serve_with_gateways({"upstreams": [{"name": name, "targets": targets, "envoy": AT_ONCE, **fields}]})
        return name

    return one


def target(backend: Backend, **fields: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": backend.port, **fields}


@pytest.mark.parametrize(
    ("fields", "outcome"), [({}, {"503": 10}), ({"on_all_unhealthy": "send-all"}, {"a": 5, "b": 5})]
)
@pytest.mark.feature(
    "Localities and failover", "fail and send-all: with no healthy target 503, or all but those taken out by hand"
)
def test_when_no_target_is_healthy(
    envoy: TranslatedEnvoy, backends: Backends, serve: Serve, fields: dict[str, Any], outcome: dict[str, int]
) -> None:
    a, b, c, _ = backends
    a.healthy = b.healthy = False
    name = serve([target(a), target(b), target(c, state="draining")], health_checks={"active": FAST}, **fields)
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 10) == outcome)


@pytest.mark.feature("Localities and failover", "send-all: a sick target gets nothing while another one is healthy")
def test_a_sick_target_gets_nothing_from_send_all_while_another_is_healthy(
    envoy: TranslatedEnvoy, backends: Backends, serve: Serve
) -> None:
    a, b, c, d = backends
    b.healthy = c.healthy = d.healthy = False
    targets = [target(backend) for backend in backends]
    name = serve(targets, health_checks={"active": FAST}, on_all_unhealthy="send-all")
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 12) == {"a": 12})
    a.healthy = False
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 12) == {"a": 3, "b": 3, "c": 3, "d": 3})


@pytest.mark.feature("Localities and failover", "all-down: the next priority takes over when the last target is down")
def test_all_down_keeps_to_the_last_of_a_priority_before_it_fails_over(
    envoy: TranslatedEnvoy, backends: Backends, serve: Serve
) -> None:
    a, b, c, d = backends
    a.healthy = b.healthy = False
    targets = [target(a), target(b), target(c), target(d, priority=1)]
    name = serve(targets, health_checks={"active": FAST})
    failed = {a.address: "FAILED_ACTIVE_HC", b.address: "FAILED_ACTIVE_HC"}
    envoy.envoy.wait_for_endpoints(name, {**failed, c.address: "HEALTHY", d.address: "HEALTHY"})
    assert send(envoy.port("public"), name, 50) == {"c": 50}
    c.healthy = False
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 10) == {"d": 10})


@pytest.mark.feature("Localities and failover", "proportional: the next priority takes over share by share")
def test_proportional_spills_share_by_share(envoy: TranslatedEnvoy, backends: Backends, serve: Serve) -> None:
    a, b, c, _ = backends
    b.healthy = False
    targets = [target(a), target(b), target(c, priority=1)]
    name = serve(targets, failover="proportional", health_checks={"active": FAST})
    envoy.envoy.wait_for_endpoints(name, {a.address: "HEALTHY", b.address: "FAILED_ACTIVE_HC", c.address: "HEALTHY"})
    counts = send(envoy.port("public"), name, 300)
    assert counts["a"] == pytest.approx(210, abs=30), "half the targets, times 140 %"
    assert counts["c"] == 300 - counts["a"]


PASSIVE = {"passive": {"consecutive_errors": 3, "interval": "50ms", "ejection_time": "60s"}}


def test_passive_checks_alone_fail_over_and_use_all_when_all_are_ejected(
    envoy: TranslatedEnvoy, backends: Backends, serve: Serve
) -> None:
    a, b, c, _ = backends
    a.status = b.status = 500
    name = serve([target(a), target(b), target(c, priority=1)], health_checks=PASSIVE)
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 10) == {"c": 10})
    c.status = 500
    envoy.envoy.wait_until(lambda: "HEALTHY" not in send_and_see(envoy, name))
    a.recover(), b.recover(), c.recover()
    assert send(envoy.port("public"), name, 30)["503"] == 0


def test_passive_checks_keep_to_the_last_of_many_targets(
    envoy: TranslatedEnvoy, backends: Backends, serve: Serve
) -> None:
    a = backends["a"]
    dead = [{"host": f"127.0.0.{number}", "port": a.port} for number in range(2, 151)]
    passive = {"passive": {**PASSIVE["passive"], "consecutive_errors": 1}}
    name = serve([target(a), *dead], health_checks=passive)
    # 1 of 150 is 0.7 %, and with Envoy's usual factor of 140 % below the least panic threshold of 1 %.
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 150) == {"a": 150})


def send_and_see(envoy: TranslatedEnvoy, name: str) -> set[str]:
    send(envoy.port("public"), name, 3)
    return set(envoy.envoy.endpoints(name).values())
