"""Targets by host name and by SRV records: how they are named, and what cannot be resolved so."""

from typing import Any

import pytest
from told import problems

from xds_server.upstreams.model import Upstream

TARGET = {"host": "10.0.0.1", "port": 80}
NAME, SRV = {"host": "a.example", "port": 80}, {"host": "_http._tcp.a.example", "port": "srv"}


def test_a_target_by_srv_records_is_named_by_the_word_in_place_of_its_port() -> None:
    made = Upstream.model_validate({"name": "a", "targets": [SRV, {**SRV, "port": 80}]}).targets
    assert [target.key for target in made] == ["_http._tcp.a.example:srv", "_http._tcp.a.example:80"]
    assert [target.lookup for target in made] == ["_http._tcp.a.example:srv", "_http._tcp.a.example"]
    assert problems(targets=[SRV, SRV]) == [("targets[1]", "target _http._tcp.a.example:srv is listed twice")]


@pytest.mark.parametrize("port", ["SRV", "80", 0, 65536, None, True, 1.5])
def test_a_port_is_a_number_or_srv(port: Any) -> None:
    assert [field for field, _ in problems(targets=[{**NAME, "port": port}])] == ["targets[0].port"]


@pytest.mark.parametrize(
    ("fields", "place", "words"),
    [
        ({"targets": [{**TARGET, "port": "srv"}]}, "targets[0].port", "only a host name has SRV records"),
        ({"targets": [SRV], "resolve": "envoy"}, "targets[0].port", "use resolve: control-plane"),
        ({"dns": {"min_ttl": "99ms"}}, "dns.min_ttl", "at least 100ms"),
        ({"dns": {"linger": "5m"}, "resolve": "envoy"}, "dns.linger", "resolve is envoy"),
        ({"dns": {"min_ttl": "5s"}, "resolve": "envoy"}, "dns.min_ttl", "resolve is envoy"),
        ({"dns": {"logical": True}, "targets": [NAME]}, "dns.logical", "needs resolve: envoy"),
        ({"dns": {"logical": True}, "resolve": "envoy"}, "dns.logical", "there are 0"),
        ({"dns": {"logical": True}, "resolve": "envoy", "targets": [NAME, TARGET]}, "dns.logical", "there are 2"),
        ({"dns": {"logical": True}, "resolve": "envoy", "targets": [TARGET]}, "dns.logical", "is an address"),
    ],
)
def test_what_cannot_be_resolved_so(fields: dict[str, Any], place: str, words: str) -> None:
    ((field, message),) = problems(**fields)
    assert field == place
    assert words in message
