"""Tests of one's own services behind a real Envoy: `pip install 'xds-server[envoy]' pytest`, then `pytest examples/`.

The fixtures come with xds-server. They run processes, or containers where Docker has the images.
"""

from xds_server.testing import Load, assert_shares


def test_requests_are_shared_by_weight(xds_server, xds_envoy, xds_backends):
    a, b = xds_backends("a", "b")
    xds_server.wait_until_acknowledged(xds_server.apply(payments(a.target(weight=3), b.target())))
    assert_shares(xds_envoy.send("payments", 100), {"a": 3, "b": 1})


def test_a_drain_loses_no_request(xds_server, xds_envoy, xds_backends):
    a, b = xds_backends("a", "b")
    xds_server.wait_until_acknowledged(xds_server.apply(payments(a.target(), b.target())))
    with Load(xds_envoy.static_port, "payments", rate=100) as load:
        load.wait_for(20)
        xds_server.wait_until_acknowledged(xds_server.apply(payments(a.target(state="draining"), b.target())))
        xds_envoy.wait_for_endpoints("payments", {a.address: "DRAINING", b.address: "HEALTHY"})
        assert_shares(xds_envoy.send("payments", 20), {"b": 1})
    assert load.failures == 0, load.errors


def payments(*targets):
    return {"upstreams": [{"name": "payments", "algorithm": "weighted-round-robin", "targets": targets}]}
