"""Details of assignments that the golden cases do not show."""

from typing import Any

import pytest
from envoy.config.core.v3 import health_check_pb2

from xds_server.upstreams import translate
from xds_server.upstreams.model import Upstream

DRAINING = health_check_pb2.HealthStatus.DRAINING
PROBED = {"health_checks": {"active": {}}}


def upstream(*targets: dict[str, Any], **fields: Any) -> Upstream:
    return Upstream.model_validate({"name": "u", "targets": targets, **fields})


def target(number: int, **fields: Any) -> dict[str, Any]:
    return {"host": f"10.0.{number // 250}.{number % 250 + 1}", "port": 80, **fields}


def probed(*ports: int | None, **fields: Any) -> str:
    targets = [target(n, health_check={"port": port} if port else {}) for n, port in enumerate(ports)]
    return translate.eds_name(upstream(*targets, **PROBED, **fields))


def test_the_name_changes_when_a_probe_port_does() -> None:
    assert probed(81) != probed(82)
    assert probed(81, 82) != probed(82, 81)
    assert probed(81, 82) != probed(81, 83)
    assert probed(81, None) != probed(81, 81)
    assert probed(81).startswith("u#")


def test_the_name_stays_when_a_target_joins_that_is_probed_like_the_others() -> None:
    assert probed(81) == probed(81, 81, 81)
    assert probed(None) == probed(None, None) == "u"


def test_without_probes_their_settings_are_nothing() -> None:
    silent = upstream(target(0, health_check={"disabled": True}))
    assert translate.eds_name(silent) == "u"
    (group,) = translate.endpoints(silent).endpoints
    assert not group.lb_endpoints[0].endpoint.HasField("health_check_config")


def test_cluster_and_assignment_agree_on_the_name() -> None:
    definition = upstream(target(0, health_check={"port": 81}), **PROBED)
    name = translate.eds_name(definition)
    assert translate.endpoints(definition).cluster_name == name
    assert translate.cluster(definition).eds_cluster_config.service_name == name


def test_weights_are_scaled_below_what_envoy_can_sum() -> None:
    targets = [target(n, weight=1_000_000) for n in range(5000)] + [
        target(5000, weight=1),
        target(5001, weight=500_000),
    ]
    (group,) = translate.endpoints(upstream(*targets, algorithm="weighted-round-robin")).endpoints
    weights = [host.load_balancing_weight.value or 1 for host in group.lb_endpoints]
    assert sum(weights) <= 4_294_967_295
    assert min(weights) == 1
    assert max(weights) - 2 * sorted(weights)[1] in (0, 1)


def test_an_empty_assignment_is_one() -> None:
    assert translate.endpoints(upstream()).cluster_name == "u"
    assert translate.endpoints(upstream({"host": "a.example", "port": 80}), {"a.example": []}).cluster_name == "u"


def test_envoy_resolves_only_what_has_a_name() -> None:
    assert translate.endpoints(upstream({"host": "a.example", "port": 80}, resolve="envoy")) is None
    assert translate.endpoints(upstream(target(0), resolve="envoy")) is not None
    named = upstream({"host": "a.example", "port": 80}, resolve="envoy")
    cluster = translate.cluster_resource(named)
    assert translate.endpoints_resource(named, {}, cluster) is None


def test_the_first_of_an_address_wins_by_priority() -> None:
    definition = upstream(
        {"host": "backup.example", "port": 80, "priority": 1},
        {"host": "main.example", "port": 80},
        {"host": "main.example", "port": 81, "priority": 1},
    )
    groups = translate.endpoints(
        definition, {name: ["10.0.0.1"] for name in ("main.example", "backup.example")}
    ).endpoints
    found = [(g.priority, [h.endpoint.address.socket_address.port_value for h in g.lb_endpoints]) for g in groups]
    assert found == [(0, [80]), (1, [81])]


@pytest.mark.parametrize("draining", ["a.example", "z.example"])
def test_the_one_that_is_taken_out_by_hand_wins_where_two_names_are_one_address(draining: str) -> None:
    names = ("a.example", "z.example")
    targets = [{"host": name, "port": 80, **({"state": "draining"} if name == draining else {})} for name in names]
    (group,) = translate.endpoints(upstream(*targets), {name: ["10.0.0.1"] for name in names}).endpoints
    assert [host.health_status for host in group.lb_endpoints] == [DRAINING]


def factor(count: int, **fields: Any) -> int | None:
    assignment = translate.endpoints(upstream(*(target(n) for n in range(count)), **fields))
    policy = assignment.policy
    return policy.overprovisioning_factor.value if policy.HasField("overprovisioning_factor") else None


def test_panic_waits_for_the_last_healthy_target_however_many_there_are() -> None:
    passive = {"health_checks": {"passive": {}}}
    assert factor(150, **passive) == 15_000
    assert factor(150, on_all_unhealthy="send-all") == 15_000
    assert factor(150) is None
    assert factor(150, failover="proportional", **passive) is None
    assert factor(0, **passive) is None
