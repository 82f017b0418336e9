"""What a change may touch: targets are EDS, and no edit of them may rebuild a Cluster."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from xds_server.resolvers import SrvAddress
from xds_server.upstreams import translate
from xds_server.upstreams.model import HASHING, Upstream
from xds_server.xds.resource import content_version

ALGORITHMS = st.sampled_from(["weighted-round-robin", "least-connections", "ring-hash", "maglev"])
TARGETS = st.lists(
    st.fixed_dictionaries(
        {
            "host": st.sampled_from(["10.0.0.1", "10.0.0.2", "::1", "a.example", "b.example"]),
            "port": st.integers(1, 5) | st.just("srv"),
            "weight": st.integers(0, 1_000_000),
            "priority": st.integers(0, 128),
            "state": st.sampled_from(["enabled", "draining", "disabled", "unhealthy"]),
            "locality": st.fixed_dictionaries({"zone": st.sampled_from(["", "z1", "z2"])}),
            "labels": st.dictionaries(st.sampled_from("ab"), st.text(max_size=3), max_size=2),
        }
    ),
    max_size=12,
    unique_by=lambda target: (target["host"], target["port"]),
).map(lambda targets: [target for target in targets if target["port"] != "srv" or "example" in target["host"]])
WEIGHTED = {"balance": "weighted", "weights": [{"weight": 3}, {"zone": "z1", "weight": 0}, {"zone": "z2", "weight": 1}]}
FIELDS = st.fixed_dictionaries(
    {
        "algorithm": ALGORITHMS,
        "failover": st.sampled_from(["all-down", "proportional"]),
        "on_all_unhealthy": st.sampled_from([None, "fail", "send-all"]),
        "health_checks": st.sampled_from([{}, {"active": {}}, {"passive": {}}, {"active": {}, "passive": {}}]),
        "localities": st.sampled_from([None, {"balance": "zone-aware"}, {"balance": "nearest"}, WEIGHTED]),
        "host_header": st.sampled_from(["keep", "target", "shop.internal"]),
    }
)
ADDRESS = st.sampled_from(["10.0.0.1", "10.0.0.3", "::1"])
SRV_ADDRESS = st.builds(
    SrvAddress, st.integers(0, 65535), st.integers(0, 65535), st.sampled_from(["x", "y"]), ADDRESS, st.integers(1, 3)
)
NAMES = st.sampled_from(["a.example", "b.example"])
ADDRESSES = st.builds(
    dict.__or__,
    st.dictionaries(NAMES, st.lists(ADDRESS, max_size=3)),
    st.dictionaries(NAMES.map("{}:srv".format), st.lists(SRV_ADDRESS, max_size=5)),
)


def upstream(fields: dict[str, Any], targets: list[dict[str, Any]]) -> Upstream:
    """Without `localities` where the other fields refuse it."""
    balance = (fields.get("localities") or {}).get("balance")
    possible = (
        fields["algorithm"] not in HASHING if balance == "zone-aware" else fields.get("failover") == "proportional"
    )
    given = {key: value for key, value in fields.items() if key != "localities" or (value and possible)}
    return Upstream.model_validate({"name": "u", **given, "targets": targets})


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
