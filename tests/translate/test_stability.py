"""What a change may touch: targets are EDS, and no edit of them may rebuild a Cluster."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from random_upstreams import ADDRESSES, FIELDS, TARGETS, upstream

from xds_server.upstreams import translate
from xds_server.xds.resource import content_version


def encoded(message: Any) -> bytes:
    body: bytes = message.SerializeToString(deterministic=True)
    return body


@settings(max_examples=150, deadline=None)
@given(FIELDS, TARGETS, TARGETS)
def test_targets_are_no_part_of_the_cluster_and_its_host_names(
    fields: dict[str, Any], before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    one, other = upstream(fields, before), upstream(fields, after)
    assert encoded(translate.cluster(one)) == encoded(translate.cluster(other))
    assert encoded(translate.virtual_host(one)) == encoded(translate.virtual_host(other))
    assert translate.eds_name(one) == translate.eds_name(other) == "u"


@settings(max_examples=150, deadline=None)
@given(FIELDS, TARGETS, ADDRESSES, st.randoms())
def test_an_assignment_is_what_envoy_takes_and_knows_no_order(
    fields: dict[str, Any], targets: list[dict[str, Any]], addresses: dict[str, Any], random: Any
) -> None:
    one = upstream(fields, targets)
    assignment = translate.endpoints(one, addresses)
    groups = list(assignment.endpoints)
    priorities = [group.priority for group in groups]
    assert priorities == sorted(priorities)
    assert set(priorities) == set(range(len(set(priorities)))), "without gaps"
    localities = [(group.priority, group.locality.SerializeToString()) for group in groups]
    assert len(set(localities)) == len(localities), "each locality once in a priority"
    hosts = [host for group in groups for host in group.lb_endpoints]
    places = [host.endpoint.address.SerializeToString() for host in hosts]
    assert len(set(places)) == len(places), "no address twice"
    for host in hosts:
        assert not host.HasField("load_balancing_weight") or host.load_balancing_weight.value >= 1
    if one.sends_to_all_when_unhealthy:
        assert {host.health_status for host in hosts} <= {0}

    names = {target["host"] for target in targets}
    if len({(t["host"], t["port"]) for t in targets}) == len(targets) and not names & {"a.example", "b.example"}:
        shuffled = random.sample(targets, len(targets))
        assert encoded(translate.endpoints(upstream(fields, shuffled))) == encoded(translate.endpoints(one))


def test_the_assignment_version_covers_the_cluster() -> None:
    one, other = upstream({}, []), upstream({"connect_timeout": "9s"}, [])
    versions = []
    for definition in (one, other):
        cluster = translate.cluster_resource(definition)
        assignment = translate.endpoints_resource(definition, {}, cluster)
        assert assignment is not None
        assert cluster.references[0].name == assignment.name
        versions.append(assignment.version)
    assert versions[0] != versions[1]
    assert versions[0] != content_version(encoded(translate.endpoints(one)))
