"""A node whose streams come and go, while the server's memory of it stays."""

from __future__ import annotations

from typing import Any

from envoy.service.discovery.v3 import discovery_pb2
from scripted_client import Client

from xds_server.xds import ENDPOINTS, Limits
from xds_server.xds.group import Group
from xds_server.xds.memory import Memory


class ComingAndGoing:
    """One node: its streams come and go, what the server remembers of it stays."""

    def __init__(self, kind: Any, limits: Limits | None = None) -> None:
        self.kind, self.group, self.memory, self.limits = kind, Group("g"), Memory(), limits or Limits()
        self.events: list[Any] = []

    def connect(self) -> Client:
        stream = self.kind(lambda node: self.group, observe=self.events.append, memory=self.memory, limits=self.limits)
        return Client(stream, self.group, self.events)


def stuck(node: ComingAndGoing, agent: str = "envoy") -> Client:
    """A client that asks for endpoints first, as Envoy does when it comes back while it is warming, and for nothing else."""
    client = node.connect()
    kind = discovery_pb2.DeltaDiscoveryRequest if client.delta else discovery_pb2.DiscoveryRequest
    message = kind(type_url=ENDPOINTS)
    (message.resource_names_subscribe if client.delta else message.resource_names).append("a")
    message.node.id, message.node.user_agent_name = "n", agent
    message.node.user_agent_build_version.version.major_number = 1
    client.stream.receive(message)
    return client
