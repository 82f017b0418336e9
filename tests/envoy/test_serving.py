"""Requests reach the targets that the definitions name: by the upstream's name, by host name, in shares, or 404."""

from collections.abc import Iterator
from typing import Any

import pytest
from rig import Rig, target

from xds_server.testing import Backends

pytestmark = pytest.mark.envoy
WAYS = [("delta", "ours"), ("sotw", "ours"), ("delta", "static"), ("sotw", "static")]


@pytest.fixture(scope="module", params=WAYS, ids=["-".join(way) for way in WAYS])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    protocol, listener = request.param
    with Rig(tmp_path_factory.mktemp("rig"), protocol=protocol, listener=listener) as rig:
        yield rig


@pytest.fixture
def backends() -> Iterator[Any]:
    with Backends("a", "b") as (a, b):
        yield a, b


def test_the_host_chooses_the_upstream(rig: Rig, backends: Any) -> None:
    a, b = backends
    rig.upstream("first", target(a))
    rig.upstream("second", target(b))
    rig.serves("first", a)
    rig.serves("second", b)
    rig.routes("first")
    rig.routes("second")
    assert rig.send("first", 20) == {"a": 20}
    assert rig.send("second:8080", 20) == {"b": 20}, "a port in the Host is ignored"


def test_weights_are_shares(rig: Rig, backends: Any) -> None:
    a, b = backends
    rig.upstream("weighted", target(a, weight=1), target(b, weight=3), algorithm="weighted-round-robin")
    rig.serves("weighted", a, b)
    rig.routes("weighted")
    shares = rig.send("weighted", 1000)
    assert shares["a"] + shares["b"] == 1000
    assert abs(shares["a"] - 250) <= 20


def test_host_names_reach_the_upstream(rig: Rig, backends: Any) -> None:
    a, _ = backends
    rig.upstream("named", target(a), hostnames=["shop.example", "*.shop.example"])
    rig.serves("named", a)
    if rig.listener == "static":
        rig.routes("named")
        assert rig.ask("shop.example").status == 404, "a listener of Envoy's own knows upstreams by name only"
        return
    rig.routes("shop.example")
    for host in ("named", "shop.example", "SHOP.example", "eu.shop.example", "shop.example:10000"):
        assert rig.send(host, 5) == {"a": 5}, host
    assert a.last_host == "shop.example:10000", "the target sees the Host that the client sent"
    assert rig.ask("other.example").status == 404


def test_an_unknown_host_is_404(rig: Rig) -> None:
    assert rig.ask("nobody").status == 404


def test_no_targets_are_503(rig: Rig) -> None:
    rig.upstream("empty")
    rig.envoy.wait_for_cluster("empty")
    rig.routes("empty")
    assert rig.ask("empty").status == 503


def test_the_control_plane_is_not_reachable_as_an_upstream(rig: Rig) -> None:
    assert rig.ask("xds-server.internal").status == 404
