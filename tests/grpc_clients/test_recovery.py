"""What goes wrong, and how clients get over it: a restart, a rejection, a cluster that is gone for a while, 4 MiB."""

from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from grpc_backends import GrpcBackend
from grpc_client import GrpcClient
from grpc_control_plane import Library, Product, resources, target

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, Resource

Backends = tuple[GrpcBackend, GrpcBackend, GrpcBackend]


@pytest.mark.parametrize("way", ["stopped", "killed"])
def test_the_control_plane_restarts(own_control_plane: Product, backends: Backends, way: str) -> None:
    a, b, _ = backends
    own_control_plane.upstream("served", target(a))
    with GrpcClient(own_control_plane.xds_address) as app:
        app.load("served")
        app.load_until(lambda seen: seen["a"], "served")
        server = own_control_plane.server
        server.stop() if way == "stopped" else server.kill()
        assert not app.load_until(lambda seen: seen["a"], "without a control plane").errors
        server.start()
        own_control_plane.upstream("served", target(b))
        assert not app.load_until(lambda seen: seen.keys() == {"b"}, "a change after the restart").errors
        assert app.end_load().errors == {}


def test_S20_R20_a_rejected_cluster_keeps_the_last_good_one(library: Library, backends: Backends) -> None:
    a, b, c = backends
    library.upstream("other", target(c))
    library.upstream("rejected", target(a))
    with GrpcClient(library.address) as app:
        assert app.send("rejected", 3).backends == {"a": 3}
        assert app.send("other", 3).backends == {"c": 3}
        good = resources("rejected", target(b))
        bad = cluster_pb2.Cluster(name="rejected", type=cluster_pb2.Cluster.EDS)
        bad.eds_cluster_config.eds_config.ads.SetInParent()
        bad.lb_policy = cluster_pb2.Cluster.LEAST_REQUEST
        kept = [resource for resource in resources("rejected", target(a)) if resource.type_url != CLUSTER]
        library.put("rejected", [*kept, Resource.of(bad)])
        rejection = library.wait_for("rejected", CLUSTER)
        assert rejection.culprits == ("rejected",)
        assert "LB policy is not supported" in rejection.detail
        assert app.send("rejected", 5).backends == {"a": 5}
        library.upstream("other", target(b))
        app.load("other")
        assert not app.load_until(lambda seen: seen.keys() == {"b"}, "the other one changed").errors
        app.end_load()
        library.put("rejected", good)
        app.load("rejected")
        assert not app.load_until(lambda seen: seen.keys() == {"b"}, "the next good one").errors
        assert app.end_load().errors == {}
        assert len(library.seen("rejected")) == 1, "what was rejected is not sent again (S20)"


def test_S36_S49_B8_a_cluster_that_was_gone_is_sent_its_endpoints_again(library: Library, backends: Backends) -> None:
    a, *_ = backends
    library.upstream("gone", target(a))
    whole = resources("gone", target(a))
    with GrpcClient(library.address) as app:
        app.load("gone")
        app.load_until(lambda seen: seen["a"], "served")
        for _ in range(2):
            library.put("gone", [resource for resource in whole if resource.type_url != CLUSTER])
            app.load_until(lambda seen: not seen, "gone")
            left = library.seen("subscribed", ENDPOINTS)[-1]
            assert left.removed == ("gone",), "the client unsubscribes from the endpoints (S49)"
            library.put("gone", whole)
            app.load_until(lambda seen: seen["a"] >= 40, "back, though its endpoints are of the version before (S36)")
        app.end_load()


def padded(resource: Resource, megabytes: int) -> Resource:
    """The assignment with as much that clients do not look at."""
    assignment = endpoint_pb2.ClusterLoadAssignment.FromString(resource.body)
    padding = base_pb2.Metadata()
    padding.filter_metadata["padding"].update({"x": "x" * megabytes * 1024 * 1024})
    assignment.endpoints[0].lb_endpoints[0].metadata.CopyFrom(padding)
    return Resource.of(assignment)


def by_header(name: str, header: str, *clusters: str) -> Resource:
    """Routes of one channel to several clusters, which its client then asks for in one request."""
    routes: list[Any] = []
    for cluster in clusters:
        match = route_components_pb2.RouteMatch(prefix="")
        match.headers.add(name=header).string_match.exact = cluster
        action = route_components_pb2.RouteAction(cluster=cluster)
        routes.append(route_components_pb2.Route(match=match, route=action))
    host = route_components_pb2.VirtualHost(name=name, domains=["*"], routes=routes)
    return Resource.of(route_pb2.RouteConfiguration(name=name, virtual_hosts=[host]))


def test_P1_B27_more_than_four_mebibytes_of_endpoints_arrive(library: Library, backends: Backends) -> None:
    """gRPC clients drop the stream above 4 MiB in one message (P1), so what is more comes in several."""
    a, b, _ = backends

    def large(name: str, backend: GrpcBackend) -> list[Resource]:
        *others, assignment = resources(name, target(backend))
        return [*others, padded(assignment, 3)]

    (listener,) = (resource for resource in resources("both") if resource.type_url == LISTENER)
    library.serve(*large("one", a), *large("two", b), listener, by_header("both", "to", "one", "two"))
    with GrpcClient(library.address) as app:
        assert app.send("both", 3, to="one").backends == {"a": 3}
        assert app.send("both", 3, to="two").backends == {"b": 3}
        library.change(*large("one", b), *large("two", a))
        version = library.snapshot.version(ENDPOINTS)

        def taken() -> bool:
            answers = {event.names for event in library.seen("acknowledged", ENDPOINTS) if event.version == version}
            return answers == {("one",), ("two",)}

        library.wait_until(taken, "acknowledgements of both")
        assert len(library.seen("opened")) == 1, "the client kept its stream"
        app.reach("both", "b", to="one")
        app.reach("both", "a", to="two")
        library.restart()  # the client returns and asks for both in one request
        library.wait_until(taken, "acknowledgements of both")
        asked = [event.names for event in library.seen("subscribed", ENDPOINTS)]
        assert asked == [("one", "two")]
        assert len(library.seen("opened")) == 1
        assert not library.seen("oversized")
