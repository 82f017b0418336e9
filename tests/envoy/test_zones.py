"""Envoys of different zones on one control plane: zone-aware balancing and nearest first, with real requests."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from zoned_fleet import PROBED, ZonedFleet, by_zone, placed

from xds_server.config_sources import Protocol
from xds_server.testing import Backends

pytestmark = pytest.mark.envoy

FRESH = (f"zoned-{number}" for number in count())
NEAREST = {"balance": "nearest"}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZonedFleet]:
    with ZonedFleet(tmp_path_factory.mktemp("definitions")) as started:
        yield started


@pytest.fixture
def backends() -> Iterator[Backends]:
    with Backends("a1", "a2", "b1", "b2", "c1") as started:
        yield started


def targets(backends: Backends, *names: str, **fields: Any) -> list[dict[str, Any]]:
    return [placed(backends[name], **fields) for name in names]


@pytest.mark.feature(
    "Localities and failover", "zone-aware: each Envoy keeps to its own zone while all targets get equal shares"
)
def test_zone_aware_keeps_requests_in_their_zone(fleet: ZonedFleet, backends: Backends) -> None:
    name, four = next(FRESH), targets(backends, "a1", "a2", "b1", "b2")
    fleet.upstream(name, four, localities={"balance": "zone-aware"})
    equal = {"a1": 10, "a2": 10, "b1": 10, "b2": 10}
    fleet.forwards(name, a=equal, b=equal)  # fewer than Envoy's six: zones do not matter
    fleet.upstream(name, four, localities={"balance": "zone-aware", "min_cluster_size": 4})
    fleet.forwards(name, a={"a1": 10, "a2": 10}, b={"b1": 10, "b2": 10})


@pytest.mark.feature(
    "Localities and failover", "zone-aware: what a zone has too few targets for goes to the other zones"
)
@pytest.mark.parametrize("algorithm", ["weighted-round-robin", "least-connections", "random"])
def test_zone_aware_spills_what_is_too_much_for_a_zone(fleet: ZonedFleet, backends: Backends, algorithm: str) -> None:
    name, three = next(FRESH), targets(backends, "a1", "b1", "b2")
    fleet.upstream(name, three, localities={"balance": "zone-aware", "min_cluster_size": 2}, algorithm=algorithm)
    fleet.forwards_to(name, b="b")
    fleet.wait_until(lambda: fleet.send("a", name, 1)["404"] == 0)
    counts = fleet.send("a", name, 300)
    assert counts["a1"] == pytest.approx(200, abs=45), "half of the Envoys, but a third of the targets"
    assert by_zone(counts)["b"] == 300 - counts["a1"]


def test_no_request_goes_from_envoy_to_envoy(fleet: ZonedFleet) -> None:
    assert fleet.send("a", "envoys", 3) == {"404": 3}, "the local cluster is there to be compared with"


@pytest.mark.feature("Localities and failover", "nearest: each Envoy uses its own zone, then its region, then the rest")
@pytest.mark.parametrize("algorithm", ["round-robin", "least-connections"])
def test_each_envoy_uses_its_zone_then_its_region_then_the_rest(
    fleet: ZonedFleet, backends: Backends, algorithm: str
) -> None:
    name = next(FRESH)
    everywhere = targets(backends, "a1", "a2", "b1", "b2", "c1")
    fleet.upstream(name, everywhere, localities=NEAREST, health_checks=PROBED, algorithm=algorithm)
    fleet.forwards_to(name, a="a", b="b")
    backends["a1"].healthy = backends["a2"].healthy = False
    fleet.forwards_to(name, a="b", b="b")
    backends["b1"].healthy = backends["b2"].healthy = False
    fleet.forwards_to(name, a="c", b="c")
    backends["a1"].healthy = backends["a2"].healthy = True
    fleet.forwards_to(name, a="a", b="a")


@pytest.mark.feature("Localities and failover", "nearest: the next zone takes over share by share as targets fail")
@pytest.mark.parametrize("on_all_unhealthy", ["fail", "send-all"])
def test_a_zone_that_is_half_down_spills_into_its_region(
    fleet: ZonedFleet, backends: Backends, on_all_unhealthy: str
) -> None:
    name = next(FRESH)
    four = targets(backends, "a1", "a2", "b1", "c1")
    fleet.upstream(name, four, localities=NEAREST, health_checks=PROBED, on_all_unhealthy=on_all_unhealthy)
    fleet.forwards_to(name, a="a", b="b")
    backends["a2"].healthy = False
    fleet.forwards(name, b={"b1": 20})
    fleet.wait_until(lambda: fleet.send("a", name, 200)["a1"] == pytest.approx(140, abs=30))
    assert by_zone(fleet.send("a", name, 40)).keys() == {"a", "b"}, "not to the other region"


@pytest.mark.feature(
    "Localities and failover", "nearest: with several priorities, each is used nearest first before the next"
)
def test_priorities_of_the_definition_come_before_nearness(fleet: ZonedFleet, backends: Backends) -> None:
    name = next(FRESH)
    mixed = [*targets(backends, "b1", "c1"), *targets(backends, "a1", "b2", priority=5)]
    fleet.upstream(name, mixed, localities=NEAREST, failover="proportional", health_checks=PROBED)
    fleet.forwards_to(name, a="b", b="b")
    backends["b1"].healthy = False
    fleet.forwards_to(name, a="c", b="c")
    backends["c1"].healthy = False
    fleet.forwards_to(name, a="a", b="b")


@pytest.mark.feature("Localities and failover", "nearest: set, moved and taken away live, by endpoints alone")
def test_nearness_changes_live(fleet: ZonedFleet, backends: Backends) -> None:
    name, two = next(FRESH), targets(backends, "a1", "b1")
    equal = {"a1": 10, "b1": 10}
    fleet.upstream(name, two)
    fleet.forwards(name, a=equal, b=equal)
    clusters = len(fleet.sent("Cluster"))
    with fleet.load("a", name) as load:
        fleet.upstream(name, two, localities=NEAREST)
        fleet.forwards(name, a={"a1": 20}, b={"b1": 20})
        moved = [placed(backends["a1"], locality={"region": "us"}), placed(backends["b1"])]
        fleet.upstream(name, moved, localities=NEAREST)
        fleet.forwards(name, a={"b1": 20}, b={"b1": 20})
        fleet.upstream(name, two, localities=NEAREST)
        fleet.forwards(name, a={"a1": 20}, b={"b1": 20})
        fleet.upstream(name, two)
        fleet.forwards(name, a=equal, b=equal)
    assert load.failures == 0, load.errors
    assert len(fleet.sent("Cluster")) == clusters


@pytest.mark.feature(
    "Localities and failover", "nearest: an Envoy that comes back in another zone uses that one's targets"
)
def test_a_node_that_moves_gets_the_others(fleet: ZonedFleet, backends: Backends) -> None:
    name = next(FRESH)
    fleet.upstream(name, targets(backends, "a1", "b1", "c1"), localities=NEAREST)
    fleet.forwards_to(name, a="a", b="b")
    for zone in "ac":
        with fleet.envoy(zone, node="wanderer") as envoy:
            fleet.envoys["wanderer"] = envoy
            fleet.forwards_to(name, wanderer=zone)


@pytest.mark.feature("Localities and failover", "zone-aware and nearest: also with SotW, streams per type, and polling")
@pytest.mark.parametrize("protocol", ["sotw", "per-type", "rest"])
def test_other_ways_of_asking(fleet: ZonedFleet, backends: Backends, protocol: Protocol) -> None:
    aware, near, two = next(FRESH), next(FRESH), targets(backends, "a1", "b1")
    fleet.upstream(aware, two, localities={"balance": "zone-aware", "min_cluster_size": 2})
    fleet.upstream(near, two, localities=NEAREST)
    fleet.forwards_to(aware, a="a", b="b")
    fleet.forwards_to(near, a="a", b="b")
    with fleet.envoy("b", node=f"by-{protocol}", protocol=protocol) as envoy:
        fleet.envoys["other"] = envoy
        fleet.forwards_to(aware, other="b")
        fleet.forwards_to(near, other="b")
