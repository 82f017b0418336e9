"""What a dry run says of changes whose host names it does not look up, and whose secrets it does not read."""

from datetime import UTC, datetime
from typing import Any

import pytest

from xds_server.catalog.overrides import TargetOverride
from xds_server.catalog.store.records import GATEWAY, OVERRIDE, UPSTREAM
from xds_server.delivery.preview import Difference, Preview, Values, lints_between, previews, touched
from xds_server.upstreams.model import Gateway, Upstream
from xds_server.xds import Node

ADDRESS = {"host": "10.0.0.1", "port": 80}
OTHER = {"host": "10.0.0.2", "port": 80}
NAME = {"host": "db.example", "port": 80}
SRV = {"host": "_db._tcp.example", "port": "srv"}
HELD = {"sni": "a", "ca": "one", "certificate": "one"}


def values(*targets: dict[str, Any], **fields: Any) -> Values:
    upstream = {"name": "u", "algorithm": "weighted-round-robin", "targets": targets, **fields}
    return {(UPSTREAM, "u"): Upstream.model_validate(upstream)}


def preview(before: Values, after: Values) -> Preview:
    (only,) = previews(Difference(before, after), [], datetime.now(UTC))
    return only


@pytest.mark.parametrize(
    ("edit", "drops"),
    [
        ({"weight": 5}, ()),
        ({"state": "draining"}, ()),
        ({"state": "disabled"}, ()),
        ({"priority": 1}, ()),
        ({"locality": {"zone": "z"}}, ("connections of 1 target(s)",)),
    ],
)
@pytest.mark.parametrize("target", [ADDRESS, NAME, SRV], ids=["address", "name", "srv"])
def test_edits_of_targets(target: dict[str, Any], edit: dict[str, Any], drops: tuple[str, ...]) -> None:
    did = preview(values(target, OTHER), values({**target, **edit}, OTHER)).effects
    assert (str(did), did.drops) == ("endpoints", drops)


def test_names_that_come_and_go() -> None:
    other = {**NAME, "host": "other.example"}
    for before, after in (([NAME], [NAME, other]), ([NAME], [other]), ([NAME], []), ([NAME], [{**NAME, "port": 81}])):
        assert str(preview(values(*before), values(*after)).effects) == "endpoints"
    assert str(preview(values(NAME), values({**NAME, "description": "words"})).effects) == "nothing"


@pytest.mark.parametrize("field", ["ca", "certificate"])
def test_secrets_that_are_replaced_by_others(field: str) -> None:
    did = preview(values(ADDRESS, tls=HELD), values(ADDRESS, tls={**HELD, field: "other"})).effects
    assert (str(did), did.drops) == ("certificates", ())


# What needs all definitions


def upstream(name: str, **fields: Any) -> Upstream:
    return Upstream.model_validate({"name": name, "targets": [ADDRESS], **fields})


def node(id: str, cluster: str = "", agent: str = "envoy 1.40.0") -> Node:
    return Node(id=id, cluster=cluster, user_agent=agent)


def test_lints_that_a_change_brings_among_all_definitions() -> None:
    one, other = ({"active": {"interval": seconds}} for seconds in ("5s", "6s"))
    before = [upstream("a", health_checks=one), upstream("b", health_checks=one)]
    after = [before[0], upstream("b", health_checks=other)]
    (found,) = lints_between(before, after, [])
    assert (found.upstream, found.code) == ("b", "probed-differently")
    assert lints_between(after, after, []) == [], "what was so before is no news"
    assert lints_between(after, before, []) == []


def test_lints_count_the_envoys_that_receive_an_upstream() -> None:
    nodes = [node("n1", "edge"), node("n1", "edge"), node("n2", "edge"), node("n3"), node("g", "edge", "gRPC Go 1.80")]
    limits = {"max_connections": 100}
    everywhere, edge = upstream("a", limits=limits), upstream("b", limits=limits, nodes={"clusters": ["edge"]})
    nobody = upstream("c", limits=limits, nodes={"clusters": ["elsewhere"]})
    found = {each.upstream: each.message for each in lints_between([], [everywhere, edge, nobody], nodes)}
    assert "max_connections 300" in found["a"]
    assert "max_connections 200" in found["b"]
    assert found.keys() == {"a", "b"}


def test_what_a_change_touches_is_what_an_envoy_would_be_sent() -> None:
    a, b = upstream("a", protocol="tcp"), upstream("b")
    gateway = Gateway.model_validate({"name": "g", "port": 80, "upstream": "a"})
    drained = TargetOverride.model_validate({"state": "disabled"})
    before: Values = {(UPSTREAM, "a"): a, (UPSTREAM, "b"): b}
    now = datetime.now(UTC)
    assert touched(Difference(before, before), now) == []
    assert touched(Difference(before, {**before, (GATEWAY, "g"): gateway}), now) == [gateway, a]
    (served,) = touched(Difference(before, {**before, (OVERRIDE, "b/10.0.0.1:80"): drained}), now)
    assert isinstance(served, Upstream)
    assert (served.name, served.targets[0].state) == ("b", "disabled")
    assert touched(Difference(before, {(UPSTREAM, "a"): a}), now) == [], "what goes is not loaded"
