"""The real Envoy takes every golden case: in its validation mode, and live over ADS."""

from typing import Any

import golden
import pytest
from translated_envoy import TranslatedEnvoy

from xds_server.delivery.static_bootstrap import static_bootstrap
from xds_server.delivery.trial import load
from xds_server.upstreams.model import Document, Gateway

pytestmark = pytest.mark.envoy


def read_all() -> list[golden.Case]:
    return [golden.read(name, certificates=golden.CERTIFICATES) for name in golden.names()]


def everything(cases: list[golden.Case]) -> Any:
    """All definitions of the cases in one bootstrap, as `validate --with-envoy` makes it."""
    definitions = [each for case in cases for each in (*case.document.upstreams, *case.document.gateways)]
    return static_bootstrap(definitions, {name: found for case in cases for name, found in case.addresses.items()})


async def test_envoy_validates_every_case() -> None:
    assert await load(everything(read_all()).SerializeToString()) is None


async def test_the_validation_can_fail() -> None:
    bootstrap = everything([golden.read("minimal")])
    bootstrap.static_resources.clusters[-1].load_assignment.endpoints[0].lb_endpoints[0].load_balancing_weight.value = 0
    words = await load(bootstrap.SerializeToString())
    assert words is not None
    assert "LoadBalancingWeight" in words


def test_envoy_accepts_every_case_over_ads() -> None:
    cases = read_all()
    upstreams = [upstream for case in cases for upstream in case.document.upstreams]
    addresses = {name: found for case in cases for name, found in case.addresses.items()}
    # Any free port, which definitions cannot ask for: golden ports may be taken on this machine.
    free = {"address": "127.0.0.1", "port": 0}
    gateways = [Gateway.model_copy(g, update=free) for case in cases for g in case.document.gateways]
    document = Document(upstreams=upstreams).model_copy(update={"gateways": tuple(gateways)})
    with TranslatedEnvoy() as envoy:
        envoy.serve(document, **addresses)
        assert not [event for event in envoy.events if event.kind == "rejected"]
        clusters = envoy.envoy.clusters()
        for case in cases:
            for assignment in case.assignments():
                expected = sum(len(group.lb_endpoints) for group in assignment.endpoints)
                name = assignment.cluster_name.partition("#")[0]
                assert len(clusters[name].get("host_statuses", [])) == expected, name
