"""Serves one cluster to any Envoy, without upstream definitions. Give the address to listen on, then the endpoints':

    python examples/library.py 127.0.0.1:18000 127.0.0.1:8001 127.0.0.1:8002

Each further line on standard input is a new list of endpoints. An Envoy for it, and a request through that:

    xds-server bootstrap --node-id edge-1 --static-listener 10000 > envoy.yaml && envoy -c envoy.yaml
    curl -H 'Host: hello' http://127.0.0.1:10000/
"""

import asyncio
import sys

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from xds_server.xds import DiscoveryServer, Event, Resource, Snapshot


def endpoints(addresses: list[str]) -> Resource:
    assignment = ClusterLoadAssignment(cluster_name="hello", endpoints=[{}])
    for host, _, port in (address.rpartition(":") for address in addresses):
        socket = {"address": host, "port_value": int(port)}
        assignment.endpoints[0].lb_endpoints.add(endpoint={"address": {"socket_address": socket}})
    return Resource.of(assignment)


def show(event: Event) -> None:
    print(event.kind, event.type_url.rpartition(".")[2], event.version, *event.names, event.detail, file=sys.stderr)


async def main() -> None:
    cluster = Cluster(name="hello", type=Cluster.EDS, connect_timeout={"seconds": 1})
    cluster.eds_cluster_config.eds_config.ads.SetInParent()
    cluster.eds_cluster_config.eds_config.resource_api_version = 2  # V3
    server = DiscoveryServer(observe=show)
    snapshot = Snapshot.of([Resource.of(cluster), endpoints(sys.argv[2:])])
    server.set_snapshot(snapshot)
    print("listening on port", await server.start(sys.argv[1]), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        snapshot = snapshot.change([endpoints(line.split())])
        server.set_snapshot(snapshot)
    await server.stop()


asyncio.run(main())
