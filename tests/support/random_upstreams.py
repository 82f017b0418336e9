"""Strategies for upstreams, their targets, and what the names of these resolve to."""

from typing import Any

from hypothesis import strategies as st

from xds_server.resolvers import SrvAddress
from xds_server.upstreams.model import HASHING, Upstream

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
