"""Dialects: the ways in which clients ask, on which depends what refers them on to further resources, or all they are sent.

A Cluster says where its endpoints come from, and a Listener where its routes do (`core.v3.ConfigSource`). That must be the way
by which they came themselves: an Envoy that takes clusters on streams of their own, or by REST, has no aggregated stream.
"""

from enum import Enum
from typing import Any, Final

from envoy.config.core.v3 import config_source_pb2
from google.protobuf import json_format

from xds_server.config_sources import grpc_source, rest_source
from xds_server.upstreams.translate.messages import from_ads


class Dialect(Enum):
    """How a client asks. Values are names for logs."""

    ADS = "ads"
    """Over one aggregated stream, state of the world or incremental."""
    PER_TYPE = "per-type"
    """On state-of-the-world streams of their own (`GRPC`)."""
    PER_TYPE_DELTA = "per-type-delta"
    """On incremental streams of their own (`DELTA_GRPC`)."""
    REST = "rest"
    """By polling."""
    GRPC_CLIENT = "grpc-client"
    """A gRPC client without a proxy (A27): over one aggregated stream, and understands less than an Envoy: see `proxyless`."""

    @property
    def is_envoys(self) -> bool:
        """Whether it is spoken by Envoys, which are sent everything that a definition becomes."""
        return self is not Dialect.GRPC_CLIENT

    @property
    def config_source(self) -> Any:
        """A new `core.v3.ConfigSource`: where what a resource refers to comes from.

        All but aggregated streams lead to the cluster `CONTROL_PLANE_CLUSTER` of the Envoy's bootstrap. `initial_fetch_timeout`
        is Envoy's default, 15 s.
        """
        source = config_source_pb2.ConfigSource()
        source.CopyFrom(_SOURCES[self])
        return source


def _from_api(source: dict[str, Any]) -> Any:
    message = config_source_pb2.ConfigSource(resource_api_version=config_source_pb2.ApiVersion.V3)
    json_format.ParseDict(source, message.api_config_source)
    return message


_SOURCES: Final = {
    Dialect.ADS: from_ads(),
    Dialect.PER_TYPE: _from_api(grpc_source("GRPC")),
    Dialect.PER_TYPE_DELTA: _from_api(grpc_source("DELTA_GRPC")),
    Dialect.REST: _from_api(rest_source()),
    Dialect.GRPC_CLIENT: from_ads(),
}
