"""Definitions -> Envoy's messages. Pure functions: no I/O, no clock, equal input gives equal bytes.

Messages are protobuf's own (`envoy.config.…_pb2` of xds-protos), typed Any as those modules have no types.
"""

from xds_server.upstreams.translate.cluster import cluster
from xds_server.upstreams.translate.dialect import Dialect
from xds_server.upstreams.translate.endpoints import (
    Addresses,
    Encoded,
    Host,
    eds_name,
    enabled_hosts,
    endpoints,
    envoy_resolves,
    is_enabled,
    places_of,
)
from xds_server.upstreams.translate.listener import listener
from xds_server.upstreams.translate.localities import NOWHERE, Place, nearest_first
from xds_server.upstreams.translate.overrides import OverrideError
from xds_server.upstreams.translate.resources import (
    cluster_resource,
    encoded_resource,
    endpoints_near,
    endpoints_resource,
    listener_resource,
    secret_resources,
)
from xds_server.upstreams.translate.routes import (
    ROUTES_NAME,
    encode_route_configuration,
    route_configuration,
    virtual_host,
)
from xds_server.upstreams.translate.secrets import HeldSecrets, held_secrets, secrets

__all__ = [
    "NOWHERE",
    "ROUTES_NAME",
    "Addresses",
    "Dialect",
    "Encoded",
    "HeldSecrets",
    "Host",
    "OverrideError",
    "Place",
    "cluster",
    "cluster_resource",
    "eds_name",
    "enabled_hosts",
    "encode_route_configuration",
    "encoded_resource",
    "endpoints",
    "endpoints_near",
    "endpoints_resource",
    "envoy_resolves",
    "held_secrets",
    "is_enabled",
    "listener",
    "listener_resource",
    "nearest_first",
    "places_of",
    "route_configuration",
    "secret_resources",
    "secrets",
    "virtual_host",
]
