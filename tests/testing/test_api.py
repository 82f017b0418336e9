"""`assert_shares`, and what tests ask of a control plane: applied, acknowledged, refused."""

from collections.abc import Iterator

import pytest

from xds_server.bootstrap import Bootstrap
from xds_server.testing import ApiError, EnvoyProcess, XdsServerProcess, assert_shares

PAYMENTS = "upstreams: [{name: payments, targets: [{host: 127.0.0.1, port: 8080}]}]"


@pytest.mark.parametrize(
    ("counts", "weights", "tolerance"),
    [
        ({"a": 75, "b": 25}, {"a": 3, "b": 1}, 0),
        ({"a": 76, "b": 24}, {"a": 3, "b": 1}, 0),
        ({"a": 33, "b": 33, "c": 34}, {"a": 1, "b": 1, "c": 1}, 0),
        ({"a": 70, "b": 30}, {"a": 3, "b": 1}, 5),
        ({"a": 9}, {"a": 1, "b": 0}, 0),
    ],
)
def test_shares_that_are_as_wanted(counts: dict[str, int], weights: dict[str, float], tolerance: float) -> None:
    assert_shares(counts, weights, tolerance=tolerance)


@pytest.mark.parametrize(
    ("counts", "weights", "told"),
    [
        ({"a": 73, "b": 27}, {"a": 3, "b": 1}, "a: 73 of 100, not 75; b: 27 of 100, not 25"),
        ({"a": 99, "503": 1}, {"a": 1}, "503: 1 of 100, not 0"),
        ({"a": 10}, {"a": 1, "b": 1}, "a: 10 of 10, not 5; b: 0 of 10, not 5"),
        ({"a": 99, "b": 1}, {"a": 1, "b": 0}, "b: 1 of 100, not 0"),
        ({}, {"a": 1}, "no request was answered"),
        ({"a": 1}, {"a": 0}, "no weight is above 0"),
    ],
)
def test_shares_that_are_not(counts: dict[str, int], weights: dict[str, float], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        assert_shares(counts, weights)


@pytest.fixture(scope="module")
def server() -> Iterator[XdsServerProcess]:
    with XdsServerProcess() as started:
        yield started


def test_a_refusal_says_what_is_wrong(server: XdsServerProcess) -> None:
    with pytest.raises(ApiError, match="no_such_field") as refused:
        server.apply({"upstreams": [{"name": "payments", "no_such_field": 1}]})
    assert refused.value.status == 422


def test_a_revision_is_not_acknowledged_by_nobody(server: XdsServerProcess) -> None:
    with pytest.raises(TimeoutError, match="0 connected"):
        server.wait_until_acknowledged(server.apply(PAYMENTS), timeout=0.2)


@pytest.mark.envoy
def test_a_revision_is_acknowledged_or_rejected(server: XdsServerProcess) -> None:
    bootstrap = Bootstrap(node_id="edge-1", xds_address=server.xds_address)
    with EnvoyProcess(bootstrap) as envoy:
        envoy.wait_for_ready()
        progress = server.wait_until_acknowledged(server.apply(PAYMENTS.replace("8080", "8081")))
        assert progress["acknowledged"] == progress["affected"] == 1
        tls = "tls: {sni: a.example, ca_file: /no/such/file}"
        missing = f"upstreams: [{{name: tls, {tls}, targets: [{{host: 127.0.0.1, port: 443}}]}}]"
        with pytest.raises(RuntimeError, match=r"edge-1: .*no/such/file"):
            server.wait_until_acknowledged(server.apply(missing))
