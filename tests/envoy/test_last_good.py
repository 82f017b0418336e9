"""What is wrong with one definition stays with it: its last good state serves, with its reason told, and all others go on."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rig import Rig, target
from zoned_fleet import ZONES, placed

from xds_server.testing import Backend, Backends

pytestmark = pytest.mark.envoy


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    # State of the world: a delta stream may have several responses of a type unanswered, this one only one.
    with Rig(tmp_path_factory.mktemp("rig"), protocol="sotw") as rig:
        yield rig


def broken(rig: Rig, file: str) -> dict[str, Any]:
    """What is told of a file that was refused: the latest."""

    def mine() -> list[dict[str, Any]]:
        return [event for event in rig.server.events("definitions.broken") if event["file"].endswith(f"{file}.yaml")]

    rig.server.wait_until(mine, 10, f"a refusal of {file}")
    return mine()[-1]


@pytest.mark.feature("Active health checks", "an upstream whose probes hang does not hold up the change of another one")
def test_hanging_probes(rig: Rig, backends: Backends) -> None:
    a, b, *_ = backends
    a.delay = 100
    hanging = {"active": {"path": "/probe", "timeout": "60s"}}
    try:
        rig.upstream("hangs", target(a), health_checks=hanging)
        rig.envoy.wait_until(lambda: a.active == 1, 10, "its probe")
        rig.upstream("other", target(b))
        rig.forwards("other")
        assert "hangs" not in rig.envoy.clusters(), "it is still warming"
        rig.upstream("other", target(b), connect_timeout="3s")
        rig.uses("other", connect_timeout="3s")
        assert rig.ask("other").backend == "b"
        assert "hangs" not in rig.envoy.clusters()
    finally:
        rig.remove("hangs")


@pytest.mark.feature("Gateways", "a host name that is given twice is refused with its file, and all routes stay")
def test_a_host_name_given_twice(rig: Rig, backends: Backends) -> None:
    a, b, *_ = backends
    rig.upstream("first", target(a), hostnames=["shop.example"])
    rig.routes("shop.example")
    rig.forwards("shop.example")
    rig.upstream("second", target(b), hostnames=["SHOP.example"])
    assert "'shop.example' is also answered by upstream 'first'" in broken(rig, "second")["problem"]
    rig.upstream("third", target(b))
    rig.routes("third")
    assert rig.send("shop.example", 4) == {"a": 4}
    assert rig.server.events("xds.rejected") == [], "Envoy would refuse all routes"
    rig.remove("second")
    rig.server.wait_for_event("definitions.mended")


@pytest.mark.feature(
    "Target states", "a definition that Envoy would refuse keeps its last good state and holds nobody else up"
)
def test_what_envoy_would_refuse(rig: Rig, backends: Backends) -> None:
    a, b, c, _ = backends
    rig.upstream("odd", target(a))
    rig.routes("odd")
    rig.forwards("odd")
    rig.upstream("odd", target(b), envoy={"connect_timeout": "0s"})
    assert rig.server.wait_for_event("definition.refused")["last_good_serves"]
    rig.upstream("good", target(c))
    rig.routes("good")
    rig.forwards("good")
    assert rig.send("odd", 4) == {"a": 4}
    assert rig.server.events("xds.rejected") == []
    rig.remove("odd")


Targets = Callable[[Backend, Backend], list[dict[str, Any]]]
SHARES = [{**ZONES[zone], "weight": 1} for zone in "ab"]
PROBED: dict[str, Any] = {"health_checks": {"active": {"path": "/healthz"}}}
REFUSED: dict[str, tuple[Targets, dict[str, Any], str]] = {
    "nearest": (
        lambda a, b: [placed(a), placed(b, priority=1)],
        {"localities": {"balance": "nearest"}},
        "nearest with several priorities needs failover: proportional",
    ),
    "weights": (
        lambda a, b: [placed(a), placed(b)],
        {"localities": {"balance": "weighted", "weights": SHARES}},
        "locality weights need failover: proportional",
    ),
    "path": (
        lambda a, b: [target(a), target(b, health_check={"path": "/b"})],
        PROBED,
        "Envoy cannot give one target its own path: say it for all in health_checks.active",
    ),
    "interval": (
        lambda a, b: [target(a), target(b, health_check={"interval": "1s"})],
        PROBED,
        "Envoy cannot give one target its own interval: say it for all in health_checks.active",
    ),
    "twice": (lambda a, b: [target(a), target(b), target(a, priority=1)], {}, "is listed twice"),
}


@pytest.mark.feature(
    "Localities and failover",
    "refused, with the reason: all-down with locality weights, or with nearest and several priorities",
)
@pytest.mark.feature("Active health checks", "refused, with the reason: a path or an interval of one target's own")
@pytest.mark.feature("Target states", "refused, with the reason: one address and port twice in an upstream")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_expressed(rig: Rig, backends: Backends, name: str) -> None:
    a, b, *_ = backends
    targets, fields, reason = REFUSED[name]
    rig.upstream(name, target(a))
    rig.routes(name)
    rig.forwards(name)
    rig.upstream(name, *targets(a, b), **fields)
    assert reason in broken(rig, name)["problem"]
    assert rig.send(name, 6) == {"a": 6}, "the last good one"
    rig.remove(name)
