"""The contract's "Defaults" and "Rules", sentence by sentence."""

from datetime import timedelta
from typing import Any

import pytest
from told import problems

from xds_server.upstreams.model import Upstream

TARGET = {"host": "10.0.0.1", "port": 80}


def upstream(**fields: Any) -> Upstream:
    return Upstream.model_validate({"name": "a", **fields})


def test_defaults_of_an_upstream() -> None:
    made = upstream(targets=[TARGET])
    assert made.algorithm == "round-robin"
    assert (made.targets[0].weight, made.targets[0].priority, made.targets[0].state) == (1, 0, "enabled")
    assert made.failover == "all-down"
    assert made.health_checks.active is None
    assert made.health_checks.passive is None
    assert made.connect_timeout == timedelta(seconds=5)
    assert made.timeout == timedelta(0)
    assert made.retries is None
    assert set(made.limits.model_dump().values()) == {None}
    assert made.protocol == "http1"
    assert made.hash_on == ()
    assert made.resolve == "control-plane"
    assert made.dns.model_dump() == {
        "family": "v4-preferred",
        "min_ttl": "5s",
        "linger": "5m",
        "logical": False,
    }
    assert made.host_header == "keep"
    assert made.nodes.model_dump() == {"clusters": (), "ids": (), "localities": (), "labels": {}}


def test_tls_verifies_unless_told_otherwise() -> None:
    made = upstream(tls={})
    assert made.tls is not None
    assert made.tls.verify
    assert made.tls.ca_file is None


@pytest.mark.parametrize(
    ("fields", "sends_to_all"),
    [
        ({}, False),
        ({"health_checks": {"active": {}}}, False),
        ({"health_checks": {"active": {}, "passive": {}}}, False),
        ({"health_checks": {"passive": {}}}, True),
        ({"health_checks": {"passive": {}}, "on_all_unhealthy": "fail"}, False),
        ({"on_all_unhealthy": "send-all"}, True),
    ],
)
def test_on_all_unhealthy_is_fail_but_send_all_with_passive_checks_alone(
    fields: dict[str, Any], sends_to_all: bool
) -> None:
    assert upstream(**fields).sends_to_all_when_unhealthy is sends_to_all


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ({"algoritm": "random"}, "algoritm", "unknown field 'algoritm'; did you mean 'algorithm'?"),
        ({"targets": [TARGET | {"wieght": 3}]}, "targets[0].wieght", "did you mean 'weight'?"),
        ({"health_checks": {"active": {"intervall": "1s"}}}, "health_checks.active.intervall", "'interval'"),
        ({"tls": {"zzz": 1}}, "tls.zzz", "known are sni, verify, ca_file, cert_file, key_file"),
        ({"name": ""}, "name", "may not be empty"),
        ({"name": "my service"}, "name", "holds ' '"),
        ({"name": "Payments"}, "name", "a name is made of a-z 0-9 . _ -"),
        ({"name": "a" * 254}, "name", "at most 253 characters, this one has 254"),
        ({"name": "a" * 300}, "name", "this one has 300"),
        ({"name": "xds-server.internal"}, "name", "reserved"),
        ({"name": 5}, "name", "expected text, found 5; put it in quotes"),
        ({"hostnames": ["XDS-Server.Internal"]}, "hostnames[0]", "reserved"),
        ({"hostnames": ["*"]}, "hostnames[0]", "catch every request"),
        ({"hostnames": ["a.*.b"]}, "hostnames[0]", "not a host name"),
        ({"hostnames": ["a b"]}, "hostnames[0]", "not a host name"),
        ({"hostnames": ["a.example:80"]}, "hostnames[0]", "leave the port out"),
        ({"hostnames": ["10.0.0.1"]}, "hostnames[0]", "is an IP address, not a host name"),
        (
            {"hostnames": ["x.example", "X.example"]},
            "hostnames[1]",
            "'x.example' is named twice: host names are compared",
        ),
        ({"hostnames": ["a"]}, "hostnames[0]", "'a' is named twice: the upstream's name is a host name already"),
        ({"algorithm": "roundrobin"}, "algorithm", "did you mean 'round-robin'?"),
        ({"targets": [TARGET | {"port": 70000}]}, "targets[0].port", "must be at most 65535, found 70000"),
        ({"targets": [TARGET | {"port": 0}]}, "targets[0].port", "must be at least 1, found 0"),
        ({"targets": [TARGET | {"port": True}]}, "targets[0].port", "expected a whole number, found true"),
        ({"targets": [TARGET | {"port": "80"}]}, "targets[0].port", "expected a whole number, found '80'"),
        ({"targets": [{"host": "a"}]}, "targets[0].port", "this field is required"),
        ({"targets": [TARGET | {"weight": -1}]}, "targets[0].weight", "must be at least 0, found -1"),
        ({"targets": [TARGET | {"weight": 1_000_001}]}, "targets[0].weight", "must be at most 1000000, found 1000001"),
        ({"targets": [TARGET | {"weight": 1.5}]}, "targets[0].weight", "expected a whole number, found 1.5"),
        ({"targets": [TARGET, TARGET]}, "targets[1]", "target 10.0.0.1:80 is listed twice"),
        ({"targets": [{"host": "::1", "port": 1}, {"host": "[0::1]", "port": 1}]}, "targets[1]", "[::1]:1"),
        ({"targets": None}, "targets", "expected a list, found nothing; write [] for none"),
        ({"timeout": 5}, "timeout", "a duration needs its unit: write 5s or 5ms"),
        ({"timeout": "5"}, "timeout", "'5' is not a duration"),
        ({"timeout": "-1s"}, "timeout", "is not a duration"),
        ({"connect_timeout": "0s"}, "connect_timeout", "must be at least 1ms"),
        ({"connect_timeout": "0.9ms"}, "connect_timeout", "must be at least 1ms"),
        ({"timeout": "0.9ms"}, "timeout", "must be 0s or at least 1ms"),
        ({"health_checks": {"active": {"timeout": "0.5ms"}}}, "health_checks.active.timeout", "must be at least 1ms"),
        ({"health_checks": {"passive": {"interval": "0.5ms"}}}, "health_checks.passive.interval", "at least 1ms"),
        ({"health_checks": {"active": {"path": "x"}}}, "health_checks.active.path", "begins with /"),
        ({"health_checks": {"active": {"path": "/a b"}}}, "health_checks.active.path", "holds no spaces"),
        (
            {"health_checks": {"active": {"headers": {"Host": "x"}}}},
            "health_checks.active.headers.Host",
            "field 'host'",
        ),
        ({"health_checks": {"active": {"headers": {":path": "/"}}}}, "health_checks.active.headers.:path", "':path'"),
        (
            {"health_checks": {"passive": {"max_ejection_percent": 101}}},
            "health_checks.passive.max_ejection_percent",
            "must be at most 100",
        ),
        (
            {"health_checks": {"passive": {"max_ejection_percent": "50%"}}},
            "health_checks.passive.max_ejection_percent",
            "expected a whole number, found '50%'",
        ),
        (
            {"health_checks": {"active": {"expected_statuses": [99]}}},
            "health_checks.active.expected_statuses[0]",
            "must be at least 100",
        ),
        ({"envoy": {"name": "b"}}, "envoy.name", "may not be set here"),
        ({"envoy": {"loadAssignment": {}}}, "envoy.loadAssignment", "may not be set here"),
        ({"envoy": 5}, "envoy", "expected fields (name: value), found 5"),
        ({"retries": {"on": []}}, "retries.on", "needs at least one entry"),
        ({"retries": {"on": ["conect-failure"]}}, "retries.on[0]", "did you mean 'connect-failure'?"),
        ({"protocol": "auto"}, "protocol", "needs tls"),
        ({"hash_on": [{}]}, "hash_on[0]", "give exactly one of header, cookie"),
        ({"slow_start": {"window": "1s"}, "algorithm": "maglev"}, "slow_start", "no slow start for maglev"),
        ({"tls": {}, "targets": [TARGET]}, "tls.sni", "a target given by IP address has no name to verify"),
        ({"tls": {"cert_file": "/c"}}, "tls.key_file", "cert_file and key_file go together"),
        ({"protocol": "tcp", "hostnames": ["b"]}, "hostnames", "protocol is tcp"),
        ({"protocol": "tcp", "idle_timeout": "1s"}, "idle_timeout", "set the gateway's idle_timeout"),
        ({"protocol": "tcp", "limits": {"max_requests": 1}}, "limits.max_requests", "use max_connections"),
        ({"protocol": "tcp", "keepalive": {"max_requests": 1}}, "keepalive.max_requests", "protocol is tcp"),
        ({"keepalive": {"http2": {}}}, "keepalive.http2", "use keepalive.tcp"),
        ({"keepalive": {"max_requests": 0}}, "keepalive.max_requests", "must be at least 1"),
        ({"keepalive": {"tcp": {"time": "1.5s"}}}, "keepalive.tcp.time", "whole seconds"),
        ({"limits": {"max_retries": 1, "retry_budget": {}}}, "limits.retry_budget", "give one of them"),
        ({"limits": {"retry_budget": {"percent": 101}}}, "limits.retry_budget.percent", "must be at most 100"),
        ({"retries": {"statuses": [101]}}, "retries.statuses[0]", "must be at least 200"),
        ({"retries": {"per_try_timeout": "1s"}}, "retries.per_try_timeout", "one of 5xx, gateway-error, reset"),
        (
            {"timeout": "1s", "retries": {"on": ["5xx"], "per_try_timeout": "1s"}},
            "retries.per_try_timeout",
            "is not below timeout",
        ),
        (
            {"retries": {"back_off": {"base_interval": "1s", "max_interval": "500ms"}}},
            "retries.back_off.max_interval",
            "below base_interval",
        ),
        ({"proxy_protocol": "v3"}, "proxy_protocol", "is not one of v1, v2"),
        ({"tls": {"ca": "a", "ca_file": "/a"}}, "tls.ca", "give one of them"),
        ({"tls": {"certificate": "a", "cert_file": "/a", "key_file": "/b"}}, "tls.certificate", "give one of them"),
        ({"tls": {"verify": False, "ca": "a"}}, "tls.ca", "no meaning with verify: false"),
        ({"tls": {"verify": False, "subject_alt_names": ["a"]}}, "tls.subject_alt_names", "no meaning"),
        ({"tls": {"subject_alt_names": ["a b"]}}, "tls.subject_alt_names[0]", "not a host name"),
        ({"tls": {"min_version": "1.1"}}, "tls.min_version", "is not one of 1.2, 1.3"),
        ({"tls": {"certificate": "../etc"}}, "tls.certificate", "not the name of a secret"),
        ({"tls": {"certificate": "a/b"}}, "tls.certificate", "not the name of a secret"),
        ({"tls": {"ca": ".hidden"}}, "tls.ca", "not beginning with a dot"),
        ({"tls": {"ca": ".."}}, "tls.ca", "not the name of a secret"),
        ({"tls": {"ca": "A"}}, "tls.ca", "not the name of a secret"),
    ],
)
def test_is_refused_with_one_problem(fields: dict[str, Any], place: str, message: str) -> None:
    found = problems(**fields)
    assert [field for field, _ in found] == [place]
    assert message in found[0][1]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a" * 253},
        {"name": "0_a.b-c"},
        {"targets": []},
        {"targets": [TARGET | {"weight": 0}]},
        {"targets": [TARGET | {"weight": 1_000_000}]},
        {"targets": [TARGET, TARGET | {"port": 81, "weight": 0}]},
        {"targets": [TARGET, TARGET | {"port": 81}]},
        {"hostnames": ["*.example.com", "x.example.com"]},
        {"connect_timeout": "1ms", "timeout": "1ms"},
        {"health_checks": {"active": {"path": "/a?b=c", "headers": {"X-Probe": "1"}}}},
        {"health_checks": {"passive": {"max_ejection_percent": 0}}},
        {"health_checks": {"passive": {"max_ejection_percent": 100}}},
        {"tls": {"subject_alt_names": ["a", "*.b", "::1", "spiffe://c/d"]}, "targets": [TARGET]},
        {"tls": {"ca": "a.b-c_1", "certificate": "0"}, "targets": [{"host": "a", "port": 1}]},
        {"protocol": "tcp", "keepalive": {"tcp": {}}, "limits": {"max_connections": 1}, "proxy_protocol": "v2"},
        {"protocol": "http2", "keepalive": {"idle_timeout": "0s", "http2": {}}, "idle_timeout": "0s"},
    ],
)
def test_is_legal(fields: dict[str, Any]) -> None:
    assert problems(**fields) == []


def test_unequal_weights_under_round_robin_name_the_algorithm_to_use() -> None:
    targets = [TARGET, TARGET | {"port": 81, "weight": 3}]
    assert problems(targets=targets) == [
        (
            "targets[1].weight",
            "round-robin shares equally, but the weights differ: use algorithm: weighted-round-robin",
        )
    ]
    assert problems(targets=targets, algorithm="weighted-round-robin") == []
    assert [field for field, _ in problems(targets=targets, algorithm="random")] == ["algorithm"]


def test_host_names_are_kept_in_lower_case_and_idna() -> None:
    assert upstream(hostnames=["Bücher.Example", "*.Shop.example."]).hostnames == (
        "xn--bcher-kva.example",
        "*.shop.example",
    )


def test_a_message_does_not_grow_with_what_it_quotes() -> None:
    ((_, message),) = problems(hostnames=["x " * 100_000])
    assert len(message) < 600
