"""A scripted client for the protocol's state machines: it speaks in requests and reads responses, without I/O."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2, scoped_route_pb2
from envoy.extensions.filters.http.header_to_metadata.v3 import header_to_metadata_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.runtime.v3 import rtds_pb2

from xds_server.xds import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTES,
    RUNTIME,
    SCOPED_ROUTES,
    SECRET,
    Resource,
    Snapshot,
)
from xds_server.xds.any_types import message_class
from xds_server.xds.delta import DeltaStream
from xds_server.xds.events import Event
from xds_server.xds.group import Group
from xds_server.xds.stream import Stream


def cluster(name: str, seconds: int = 1, eds: str = "") -> Resource:
    """`eds`: the name of its endpoints, where that is not its own."""
    message = cluster_pb2.Cluster(name=name, type=cluster_pb2.Cluster.EDS)
    message.eds_cluster_config.eds_config.ads.SetInParent()
    message.eds_cluster_config.service_name = eds
    message.connect_timeout.seconds = seconds
    return Resource.of(message)


def no_endpoints(name: str) -> Resource:
    """An assignment that holds nothing: how a cluster is emptied."""
    return Resource.of(endpoint_pb2.ClusterLoadAssignment(cluster_name=name))


def endpoints(name: str, weight: int = 1, covers: str = "") -> Resource:
    message = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    endpoint = message.endpoints.add().lb_endpoints.add()
    endpoint.endpoint.address.socket_address.address = "127.0.0.1"
    endpoint.endpoint.address.socket_address.port_value = 80
    endpoint.load_balancing_weight.value = weight
    return Resource.of(message, covers=[covers] if covers else [])


def listener(name: str, port: int = 80) -> Resource:
    message = listener_pb2.Listener(name=name)
    message.address.socket_address.address = "127.0.0.1"
    message.address.socket_address.port_value = port
    return Resource.of(message)


def routes(name: str, *clusters: str) -> Resource:
    message = route_pb2.RouteConfiguration(name=name)
    for target in clusters:
        host = message.virtual_hosts.add(name=target, domains=[target])
        route = host.routes.add()
        route.match.prefix = "/"
        route.route.cluster = target
    return Resource.of(message)


def scoped_routes(name: str, routes: str = "r") -> Resource:
    message = scoped_route_pb2.ScopedRouteConfiguration(name=name, route_configuration_name=routes)
    message.key.fragments.add().string_key = name
    return Resource.of(message)


def secret(name: str, password: str = "x") -> Resource:
    message = secret_pb2.Secret(name=name)
    message.generic_secret.secret.inline_string = password
    return Resource.of(message)


def runtime(name: str, value: float = 1) -> Resource:
    message = rtds_pb2.Runtime(name=name)
    message.layer.update({"key": value})
    return Resource.of(message)


def extension(name: str, key: str = "x") -> Resource:
    message = extension_pb2.TypedExtensionConfig(name=name)
    message.typed_config.Pack(header_to_metadata_pb2.Config(request_rules=[{"header": key, "remove": True}]))
    return Resource.of(message)


WHOLE: dict[str, Any] = {
    CLUSTER: cluster,
    LISTENER: listener,
    SCOPED_ROUTES: lambda name, number=1: scoped_routes(name, f"r{number}"),
}
"""What makes a resource of a type from a name and a number, its content; types that are asked for as a whole."""
BY_NAME: dict[str, Any] = {
    ENDPOINTS: endpoints,
    ROUTES: lambda name, number=1: routes(name, f"c{number}"),
    SECRET: lambda name, number=1: secret(name, f"password-{number}"),
    RUNTIME: runtime,
    EXTENSION_CONFIG: lambda name, number=1: extension(name, f"key-{number}"),
}
"""Types that are asked for by name."""
MAKERS: dict[str, Any] = {**WHOLE, **BY_NAME}


def kind_of(type_url: str) -> str:
    """A type's short name, for the names of tests."""
    return type_url.rpartition(".")[2]


class Client:
    """Drives one stream. `sent` returns everything that the server has to say now.

    `ask`, `ack` and `nack` write a request as the variant has it; `want`, `accept` and `reject` mean the same in both.
    """

    def __init__(self, stream: Stream[Any], group: Group, events: list[Event]) -> None:
        self.stream, self.group, self.events = stream, group, events
        self.now = 1000.0
        self.node, self.cluster, self.agent = "n", "", ""
        """Who it says that it is: its id, its cluster, and its user agent (``envoy 1.40.0``)."""
        self.delta = isinstance(stream, DeltaStream)
        self._asked: dict[str, tuple[str, ...]] = {}
        """SotW: the names of the last request. Delta: those of `want`."""
        self._nonces: dict[str, str] = {}
        self._versions: dict[str, str] = {}

    def publish(self, snapshot: Snapshot) -> bool:
        old = self.group.snapshot
        self.group.publish(snapshot)
        return self.stream.advance(old, snapshot)

    def change(self, *upsert: Resource, remove: tuple[tuple[str, str], ...] = ()) -> bool:
        assert self.group.snapshot is not None
        return self.publish(self.group.snapshot.change(upsert, remove))

    def ask(self, type_url: str, *names: str, nonce: str = "", version: str = "", error: str | None = None,
            node: str | None = None, drop: tuple[str, ...] = (), held: dict[str, str] | None = None) -> list[Any]:  # fmt: skip
        if self.delta:
            request = discovery_pb2.DeltaDiscoveryRequest(
                type_url=type_url, response_nonce=nonce, resource_names_subscribe=names,
                resource_names_unsubscribe=drop, initial_resource_versions=held or {},
            )  # fmt: skip
        else:
            self._asked[type_url] = names
            request = discovery_pb2.DiscoveryRequest(
                type_url=type_url, response_nonce=nonce, resource_names=names, version_info=version
            )
        request.node.id = self.node if node is None else node
        request.node.cluster = self.cluster
        if self.agent:
            request.node.user_agent_name, _, request.node.user_agent_version = self.agent.partition(" ")
        if error is not None:
            request.error_detail.message = error
            request.error_detail.code = 13
        self.stream.receive(request)
        return self.sent()

    def ack(self, response: Any, *names: str) -> list[Any]:
        version = "" if self.delta else response.version_info
        return self.ask(response.type_url, *names, nonce=response.nonce, version=version)

    def nack(self, response: Any, *names: str, version: str = "", error: str = "no good") -> list[Any]:
        return self.ask(response.type_url, *names, nonce=response.nonce, version=version, error=error)

    def want(self, type_url: str, *names: str) -> list[Any]:
        """Be subscribed to exactly these names of a type (none at first: to all of it)."""
        if not self.delta:
            nonce, version = self._nonces.get(type_url, ""), self._versions.get(type_url, "")
            return self.ask(type_url, *names, nonce=nonce, version=version)
        before = self._asked.get(type_url, ())
        self._asked[type_url] = names
        drop = tuple(name for name in before if name not in names)
        return self.ask(type_url, *(name for name in names if name not in before), drop=drop)

    def accept(self, *responses: Any) -> list[Any]:
        """Acknowledge, and stay subscribed to the same."""
        sent = []
        for response in responses:
            self._nonces[response.type_url] = response.nonce
            if not self.delta:
                self._versions[response.type_url] = response.version_info
            sent += self.ack(response, *(() if self.delta else self._asked.get(response.type_url, ())))
        return sent

    def reject(self, response: Any, error: str = "no good") -> list[Any]:
        """Refuse, and stay subscribed to the same. As Envoy does, still on the version accepted before."""
        self._nonces[response.type_url] = response.nonce
        names = () if self.delta else self._asked.get(response.type_url, ())
        return self.nack(response, *names, version=self._versions.get(response.type_url, ""), error=error)

    def reject_all(self, *responses: Any) -> list[Any]:
        """Refuse these and whatever is sent because of that, without a word on what is wrong; returns all of the latter."""
        sent: list[Any] = []
        waiting = list(responses)
        while waiting:
            again = self.reject(waiting.pop(0))
            sent += again
            waiting += again
            assert len(sent) < 50, "it never ends"
        return sent

    def told(self, kind: str, type_url: str = "") -> list[Event]:
        """The events of a kind; `type_url`: of that type only."""
        return [event for event in self.events if event.kind == kind and type_url in ("", event.type_url)]

    def sent(self, after: float = 0.0) -> list[Any]:
        """All responses due now, or `after` some seconds."""
        self.now += after
        kind = discovery_pb2.DeltaDiscoveryResponse if self.delta else discovery_pb2.DiscoveryResponse
        responses = []
        while (response := self.stream.respond(self.now)) is not None:
            message = kind.FromString(response.payload)
            check_response(message)
            responses.append(message)
            assert len(responses) < 20, "the server loops"
        return responses


def names_of(response: Any) -> list[str]:
    """Names of the resources in a response of either variant."""
    names = []
    for entry in response.resources:
        if isinstance(response, discovery_pb2.DeltaDiscoveryResponse):
            names.append(entry.name)
            body = entry.resource
        else:
            body = entry
        message = _message(body)
        own = getattr(message, "cluster_name", "") or message.name
        if isinstance(response, discovery_pb2.DeltaDiscoveryResponse):
            assert own == entry.name, "D24: the wrapper's name is the body's"
        else:
            names.append(own)
    return names


def _message(body: Any) -> Any:
    kind = message_class(body.type_url)
    assert kind is not None, body.type_url
    return kind.FromString(body.value)


def check_response(response: Any) -> None:
    """What holds for every response of every stream."""
    assert response.nonce, "S9: a nonce is never empty"
    assert response.type_url, "S11: the type is always said"
    names = names_of(response)
    assert len(set(names)) == len(names), "S45, D25: no name twice"
    for entry in response.resources:
        body = entry.resource if isinstance(response, discovery_pb2.DeltaDiscoveryResponse) else entry
        assert body.type_url == response.type_url, "S11: every Any has the response's type"
    if isinstance(response, discovery_pb2.DeltaDiscoveryResponse):
        assert not set(names) & set(response.removed_resources), "D25: sent and removed at once"
        assert all(entry.version for entry in response.resources), "D22: every resource has a version"


def client(kind: type[Stream[Any]], type_url: str | None = None, **more: Any) -> Client:
    group, events = Group("g"), []
    return Client(kind(lambda node: group, type_url=type_url, observe=events.append, **more), group, events)


def web(*names: str, seconds: int = 1) -> list[Resource]:
    clusters = [cluster(name, seconds) for name in names]
    return [*clusters, *(endpoints(c.name, covers=c.version) for c in clusters)]


def settled(either: Client, *resources: Any) -> None:
    """The client holds these and asked for every type; everything is acknowledged."""
    either.publish(Snapshot.of(resources))
    names = [r.name for r in resources if r.type_url == ENDPOINTS]
    for type_url, asked in ((CLUSTER, ()), (ENDPOINTS, names), (LISTENER, ()), (ROUTES, ("r",))):
        either.accept(*either.want(type_url, *asked))
