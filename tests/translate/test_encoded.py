"""Endpoints whose unchanged ones are taken from before: the same bytes as from scratch, made and checked once."""

from importlib import import_module
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_upstreams import ADDRESSES, FIELDS, TARGETS, upstream

from xds_server.resolvers import SrvAddress
from xds_server.upstreams import translate
from xds_server.upstreams.model import Upstream
from xds_server.xds.resource import InvalidResourceError, Resource

endpoints = import_module("xds_server.upstreams.translate.endpoints")  # whose name in the package is a function's
CLUSTER = Resource.encode("a/b", "u", b"")


def encoded(one: Upstream, addresses: Any, before: translate.Encoded | None = None) -> tuple[Resource, Any]:
    made = translate.encoded_resource(one, addresses, CLUSTER, before)
    assert made is not None
    return made


@settings(max_examples=120, deadline=None)
@given(FIELDS, TARGETS, st.lists(st.tuples(TARGETS, ADDRESSES, st.randoms()), max_size=5))
def test_one_change_after_the_other_gives_the_bytes_that_they_give_from_scratch(
    fields: dict[str, Any], targets: list[dict[str, Any]], steps: list[tuple[list[dict[str, Any]], Any, Any]]
) -> None:
    one, before = upstream(fields, targets), None
    with patch.object(endpoints, "_MOST_WEIGHT", 1_000_000):  # so that all weights change with one of them
        for others, addresses, random in steps:
            # Some targets stay, some go, some come; and their order is another one.
            new = {target.key: target for target in upstream(fields, others).targets[:3]}
            old = {target.key: target for target in one.targets if random.random() < 0.8}
            there = [*(old | new if random.random() < 0.5 else new | old).values()]
            one = one.model_copy(update={"targets": tuple(random.sample(there, len(there)))})
            resource, before = encoded(one, addresses, before)
            scratch, _ = encoded(one, addresses)
            assert (resource.body, resource.version) == (scratch.body, scratch.version)
            whole = Resource.of(translate.endpoints(one, addresses), covers=[CLUSTER.version])
            assert (resource.body, resource.version) == (whole.body, whole.version)


def numbered(count: int, **fields: Any) -> Upstream:
    targets = [{"host": f"10.0.{number // 250}.{number % 250}", "port": 80} for number in range(count)]
    return upstream({"algorithm": "weighted-round-robin", **fields}, targets)


def test_what_did_not_change_is_made_once() -> None:
    one = numbered(1_000)
    _, before = encoded(one, {})
    changed = one.targets[500].model_copy(update={"weight": 7})
    one = one.model_copy(update={"targets": (*one.targets[:500], changed, *one.targets[501:999])})
    with patch.object(endpoints, "lb_endpoint", wraps=endpoints.lb_endpoint) as make:
        resource, _ = encoded(one, {}, before)
    assert [call.args[1] for call in make.call_args_list] == [changed]
    assert resource.body == encoded(one, {})[0].body


def test_what_breaks_a_rule_is_told_of_as_in_the_whole_message() -> None:
    one = numbered(3)
    _, before = encoded(one, {})
    real = endpoints.lb_endpoint

    def wrong(*args: Any) -> Any:
        made = real(*args)
        made.endpoint.address.socket_address.port_value = 70_000
        return made

    one = one.model_copy(update={"targets": (*one.targets[:2], one.targets[2].model_copy(update={"weight": 2}))})
    with patch.object(endpoints, "lb_endpoint", wrong), pytest.raises(InvalidResourceError) as found:
        encoded(one, {}, before)
    assert [each.path for each in found.value.violations] == [
        "endpoints[0].lb_endpoints[2].endpoint.address.socket_address.port_value"
    ]


def test_a_rule_of_the_assignment_itself_is_checked_though_no_endpoint_is() -> None:
    one = upstream({"algorithm": "maglev"}, [{"host": "10.0.0.1", "port": 80}, {"host": "b.example", "port": "srv"}])
    priorities = {"b.example:srv": [SrvAddress(n, 1, "b", f"10.0.1.{n}", 80) for n in range(200)]}
    _, before = encoded(one, priorities)
    with patch.object(endpoints, "_MOST_PRIORITY", 999), pytest.raises(InvalidResourceError) as found:
        encoded(one, priorities, before)
    assert found.value.violations[0].path == "endpoints[129].priority"
