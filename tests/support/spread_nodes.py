"""Nodes on connections of their own, spread by the kernel over the workers of one server: incremental clients that take all."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import grpc
import httpx
from envoy.service.discovery.v3 import discovery_pb2
from live import DELTA

from xds_server.testing import XdsServerProcess
from xds_server.xds import CLUSTER, ENDPOINTS

MOST = 40
"""Connections by which every worker has some: 1 in 2 ** 37 that one of two has not."""


_numbers = itertools.count()


class SpreadNode:
    """One client. It returns like Envoy when its connection breaks, and says what it holds."""

    def __init__(self, address: str, node: str, **about: Any) -> None:
        self.id, self._address, self._about = node, address, about
        self.held: dict[str, dict[str, str]] = {CLUSTER: {}, ENDPOINTS: {}}
        """Versions of what it has, by type and name."""
        self.sent: list[tuple[str, ...]] = []
        """The names in each response about clusters."""
        self.bodies: dict[str, bytes] = {}
        """The newest resource of each name, whatever its type."""
        self.refuses = ""
        """It rejects responses with this cluster in them."""
        self.is_frozen = False
        """It answers nothing."""
        self.connections = 0
        self._ended = threading.Event()
        self._call: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave."""
        self._ended.set()
        if self._call is not None:
            self._call.cancel()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ended.is_set():
            options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
            with grpc.insecure_channel(self._address, options=options) as channel, suppress(grpc.RpcError):
                self._stream(channel)
            self._ended.wait(0.1)

    def _stream(self, channel: grpc.Channel) -> None:
        requests: queue.Queue[bytes | None] = queue.Queue()
        for type_url in (CLUSTER, ENDPOINTS):
            subscribe = ("*",) if type_url == CLUSTER else tuple(self.held[CLUSTER])
            first = self._request(
                type_url, resource_names_subscribe=subscribe, initial_resource_versions=self.held[type_url]
            )
            requests.put(first)
        self._call = call = channel.stream_stream(DELTA)(iter(requests.get, None), wait_for_ready=True)
        self.connections += 1
        try:
            for raw in call:
                response = discovery_pb2.DeltaDiscoveryResponse.FromString(raw)
                if not self.is_frozen:
                    for answer in self._answers(response):
                        requests.put(answer)
        finally:
            requests.put(None)

    def _request(self, type_url: str, **fields: Any) -> bytes:
        message = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, **fields)
        message.node.id = self.id
        message.node.user_agent_name, message.node.user_agent_version = "envoy", "1.40.0"
        message.node.cluster = self._about.get("cluster", "")
        return message.SerializeToString()

    def _answers(self, response: Any) -> Iterator[bytes]:
        names = tuple(each.name for each in response.resources)
        if response.type_url == CLUSTER:
            self.sent.append(names)
        if response.type_url == CLUSTER and self.refuses and self.refuses in names:
            request = discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
            request.error_detail.code, request.error_detail.message = 3, f"no good: '{self.refuses}'"
            yield request.SerializeToString()
            return
        held = self.held[response.type_url]
        for each in response.resources:
            held[each.name] = each.version
            self.bodies[each.name] = each.resource.value
        for name in response.removed_resources:
            held.pop(name, None)
        yield self._request(response.type_url, response_nonce=response.nonce)
        if response.type_url == CLUSTER:
            removed = response.removed_resources
            yield self._request(ENDPOINTS, resource_names_subscribe=names, resource_names_unsubscribe=removed)


def upstream(name: str, weight: int = 1, **more: Any) -> dict[str, Any]:
    """A definition with one target."""
    return {"name": name, "targets": [{"host": "127.0.0.1", "port": 9, "weight": weight}], **more}


def ready(server: XdsServerProcess) -> bool:
    """Whether it says that it is."""
    return httpx.get(f"http://{server.http_address}/readyz").status_code == 200


def workers_of(server: XdsServerProcess) -> dict[int, int]:
    """The process of each worker that was started last, by number."""
    return {event["worker"]: event["pid"] for event in server.events("worker.started")}


def whereabouts(server: XdsServerProcess) -> dict[str, int]:
    """By node, the worker that it came to last."""
    return {event["node"]: event["worker"] for event in server.events("xds.opened")}


@contextmanager
def spread_over(
    server: XdsServerProcess, *, least: int = 2, workers: int = 2, **about: Any
) -> Iterator[list[SpreadNode]]:
    """Nodes, of which each worker has some. Each has a name of its own."""
    with ExitStack() as stack:
        nodes: list[SpreadNode] = []
        while len(nodes) < MOST:
            node = SpreadNode(server.xds_address, f"n{next(_numbers)}", **about)
            nodes.append(node)
            stack.callback(node.close)
            server.wait_until(lambda n=node: n.id in whereabouts(server), 20, f"{node.id} in the log")  # type: ignore[misc]
            places = [
                worker for node_id, worker in whereabouts(server).items() if node_id in {each.id for each in nodes}
            ]
            if all(places.count(number) >= least for number in range(1, workers + 1)):
                break
        else:
            raise RuntimeError(f"{MOST} connections, and a worker has none of them: {whereabouts(server)}")
        yield nodes
