"""Definitions -> Envoy's messages. Pure functions: no I/O, no clock, equal input gives equal bytes.

Messages are protobuf's own (`envoy.config.…_pb2` of xds-protos), typed Any as those modules have no types.
"""

from xds_server.upstreams.translate.cluster import cluster
from xds_server.upstreams.translate.dialect import Dialect
from xds_server.upstreams.translate.endpoints import Addresses, eds_name, endpoints
from xds_server.upstreams.translate.listener import listener
from xds_server.upstreams.translate.localities import NOWHERE, Place, nearest_first
from xds_server.upstreams.translate.overrides import OverrideError
from xds_server.upstreams.translate.resources import (
    cluster_resource,
    endpoints_near,
    endpoints_resource,
    listener_resource,
)
from xds_server.upstreams.translate.routes import (
    ROUTES_NAME,
    encode_route_configuration,
    route_configuration,
    virtual_host,
)

__all__ = [
    "NOWHERE",
    "ROUTES_NAME",
    "Addresses",
    "Dialect",
    "OverrideError",
    "Place",
    "cluster",
    "cluster_resource",
    "eds_name",
    "encode_route_configuration",
    "endpoints",
    "endpoints_near",
    "endpoints_resource",
    "listener",
    "listener_resource",
    "nearest_first",
    "route_configuration",
    "virtual_host",
]
