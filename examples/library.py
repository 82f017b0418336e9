"""Serves one cluster to any Envoy, without upstream definitions. Give the address to listen on, then the endpoints':

    python -m http.server 8001 & python -m http.server 8002 &
    python examples/library.py 127.0.0.1:18000 127.0.0.1:8001 127.0.0.1:8002

Each further line on standard input is a new list of endpoints; Ctrl-C ends it. An Envoy for it, and a request through that:

    xds-server bootstrap --node-id edge-1 --static-listener 10000 > envoy.yaml && envoy -c envoy.yaml
    curl -H 'Host: hello' http://127.0.0.1:10000/

All of it needs the virtual environment's bin directory on PATH (`export PATH=$PWD/.venv/bin:$PATH`). Ports 18000 and 10000
are also those of `xds-server serve` and of `make demo`: end these first, or take others (`--xds-address`).
"""

import asyncio
import signal
import sys
import threading

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from xds_server.xds import AddressInUseError, DiscoveryServer, Event, Resource, Snapshot


def endpoints(addresses: list[str]) -> Resource:
    assignment = ClusterLoadAssignment(cluster_name="hello", endpoints=[{}])
    for host, _, port in (address.rpartition(":") for address in addresses):
        socket = {"address": host, "port_value": int(port)}
        assignment.endpoints[0].lb_endpoints.add(endpoint={"address": {"socket_address": socket}})
    return Resource.of(assignment)


def show(event: Event) -> None:
    print(event.kind, event.type_url.rpartition(".")[2], event.version, *event.names, event.detail, file=sys.stderr)


def read(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str]) -> None:
    with open(0, closefd=False) as source:
        for line in source:
            loop.call_soon_threadsafe(lines.put_nowait, line)
    loop.call_soon_threadsafe(lines.put_nowait, "")


async def main(listen: str, *addresses: str) -> None:
    cluster = Cluster(name="hello", type=Cluster.EDS, connect_timeout={"seconds": 1})
    cluster.eds_cluster_config.eds_config.ads.SetInParent()
    cluster.eds_cluster_config.eds_config.resource_api_version = 2  # V3
    server = DiscoveryServer(observe=show)
    snapshot = Snapshot.of([Resource.of(cluster), endpoints(list(addresses))])
    server.set_snapshot(snapshot)
    print("listening on port", await server.start(listen), flush=True)
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[str]()
    loop.add_signal_handler(signal.SIGINT, lines.put_nowait, "")
    threading.Thread(target=read, args=(loop, lines), daemon=True).start()
    while line := await lines.get():
        try:
            snapshot = snapshot.change([endpoints(line.split())])
            server.set_snapshot(snapshot)
        except ValueError as error:
            print("ignored:", error, file=sys.stderr)
    await server.stop()


if len(sys.argv) < 3:
    sys.exit("usage: python examples/library.py LISTEN_HOST:PORT ENDPOINT_HOST:PORT...")
try:
    asyncio.run(main(*sys.argv[1:]))
except (AddressInUseError, ValueError) as error:
    sys.exit(str(error))
