"""The route configuration, whole and put together from parts."""

import pytest

from xds_server.upstreams import translate
from xds_server.upstreams.model import Upstream


def test_parts_encode_to_the_same_bytes_as_the_whole() -> None:
    upstreams = [
        Upstream(name="b", hostnames=("x.example", "*.y.example")),
        Upstream(name="a", timeout="5s", host_header="shop.internal"),
        Upstream(name="c" * 200, retries={"attempts": 2}),
    ]
    hosts = [translate.virtual_host(upstream) for upstream in upstreams]
    whole = translate.route_configuration(hosts)
    assert [host.name for host in whole.virtual_hosts] == ["a", "b", "c" * 200]
    parts = [host.SerializeToString(deterministic=True) for host in sorted(hosts, key=lambda host: host.name)]
    assert translate.encode_route_configuration(parts) == whole.SerializeToString(deterministic=True)


def test_nothing_to_serve_is_still_a_route_configuration() -> None:
    empty = translate.route_configuration([])
    assert empty.name == translate.ROUTES_NAME
    assert translate.encode_route_configuration([]) == empty.SerializeToString(deterministic=True)


def test_plain_tcp_has_no_virtual_host() -> None:
    assert translate.virtual_host(Upstream(name="u", protocol="tcp")) is None


@pytest.mark.parametrize(("timeout", "idle"), [("0s", 300), ("4m", 300), ("5m", 300), ("6m", 360)])
def test_an_answer_may_stand_still_for_5m_or_as_long_as_it_may_take(timeout: str, idle: int) -> None:
    host = translate.virtual_host(Upstream.model_validate({"name": "u", "timeout": timeout}))
    assert host.routes[0].route.idle_timeout.seconds == idle
