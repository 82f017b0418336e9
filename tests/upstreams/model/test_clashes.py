"""What two definitions cannot both have: names, host names and ports."""

import re
from typing import Any

import pytest

from xds_server.upstreams.model import Gateway, Placed, Upstream, clashes


def clash_messages(*definitions: dict[str, Any], gateways: tuple[dict[str, Any], ...] = ()) -> list[str]:
    return [
        clash.message
        for clash in clashes(
            [Placed("f.yaml", line, Upstream.model_validate(fields)) for line, fields in enumerate(definitions, 1)],
            [Placed("g.yaml", line, Gateway.model_validate(fields)) for line, fields in enumerate(gateways, 1)],
        )
    ]


def test_a_clash_of_names_names_both() -> None:
    assert clash_messages({"name": "a"}, {"name": "a"}) == ["upstream 'a' is already defined at f.yaml:1"]


@pytest.mark.parametrize(
    "other", [{"name": "b", "hostnames": ["A"]}, {"name": "b", "hostnames": ["Shared.example"]}], ids=["name", "host"]
)
def test_a_clash_of_host_names_names_both(other: dict[str, Any]) -> None:
    (message,) = clash_messages({"name": "a", "hostnames": ["shared.EXAMPLE"]}, other)
    assert re.fullmatch("'(a|shared.example)' is also answered by upstream 'a' at f.yaml:1", message)


def test_host_names_may_repeat_where_they_reach_different_envoys() -> None:
    edge = {"hostnames": ["x"], "nodes": {"clusters": ["edge"]}}
    core = {"hostnames": ["x"], "nodes": {"clusters": ["core"]}}
    assert clash_messages({"name": "a", **edge}, {"name": "b", **core}) == []
    assert len(clash_messages({"name": "a", **edge}, {"name": "b", "hostnames": ["x"]})) == 1


@pytest.mark.parametrize("swapped", [False, True])
def test_the_name_of_a_tcp_upstream_clashes_with_the_host_name_of_another(swapped: bool) -> None:
    both = [{"name": "db", "protocol": "tcp"}, {"name": "web", "hostnames": ["db"]}]
    assert len(clash_messages(*(reversed(both) if swapped else both))) == 1


def test_a_host_name_copied_many_times_is_one_clash_for_each_copy() -> None:
    copies = [{"name": f"u{index}", "hostnames": ["same"]} for index in range(50)]
    assert len(clash_messages(*copies)) == 49


def test_gateways_need_their_own_names_and_ports_and_an_upstream_that_exists() -> None:
    messages = clash_messages(
        {"name": "db"},
        gateways=(
            {"name": "one", "port": 1, "upstream": "db"},
            {"name": "one", "port": 2},
            {"name": "two", "port": 1, "address": "10.0.0.1"},
            {"name": "three", "port": 3, "upstream": "bd"},
        ),
    )
    assert messages == [
        "gateway 'one' is already defined at g.yaml:1",
        "port 1 is already taken by gateway 'one' at g.yaml:1",
        "there is no upstream 'bd'",
    ]


def test_one_port_serves_ipv4_and_ipv6_by_two_gateways() -> None:
    both = ({"name": "four", "port": 1}, {"name": "six", "port": 1, "address": "::"})
    assert clash_messages(gateways=both) == []
