"""Every golden case of the translation for gRPC clients is accepted by a real one."""

from collections.abc import Iterator

import grpc_golden as golden
import pytest
from grpc_client import GrpcClient
from grpc_control_plane import Library

from xds_server.upstreams.translate.proxyless import ProxylessError, proxyless_resources
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Library, GrpcClient]]:
    with Library() as library, GrpcClient(library.address) as app:
        yield library, app


@pytest.mark.parametrize("name", golden.names())
def test_R10_R11_R12_R19_R21_R22_R23_a_real_client_takes_it(served: tuple[Library, GrpcClient], name: str) -> None:
    library, app = served
    for upstream, addresses in golden.read(name):
        try:
            resources = proxyless_resources(upstream, addresses).resources
        except ProxylessError:
            continue
        library.serve(*resources)
        before = len(library.events)
        asked = {(resource.type_url, resource.name) for resource in resources if resource.type_url != LISTENER}
        asked.add((LISTENER, upstream.name))
        app.send(upstream.name, 1, within=0.01)

        def taken(asked: set[tuple[str, str]] = asked, before: int = before) -> bool:
            seen = library.events[before:]
            assert not [event for event in seen if event.kind == "rejected"], library.story()
            return asked <= {(e.type_url, name) for e in seen if e.kind == "acknowledged" for name in e.names}

        library.wait_until(taken, "acknowledgement of everything")
        assert {type_url for type_url, _ in asked} >= {LISTENER, ROUTES, CLUSTER}
        assert (ENDPOINTS in {type_url for type_url, _ in asked}) or upstream.resolve == "envoy"
        app.close(upstream.name)
