"""One target at one address: `endpoint.v3.LbEndpoint`."""

from collections.abc import Mapping
from typing import Any, Final

from envoy.config.core.v3 import base_pb2, health_check_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2

from xds_server.upstreams.model import Target, TargetHealthCheck, Upstream
from xds_server.upstreams.translate.host_names import endpoint_hostname
from xds_server.upstreams.translate.messages import socket_address

METADATA_NAMESPACE = "xds-server"
"""Where a target's labels are in `LbEndpoint.metadata`: not a namespace that load balancing reads."""

UNKNOWN: Final = int(health_check_pb2.HealthStatus.UNKNOWN)
_UNHEALTHY: Final = int(health_check_pb2.HealthStatus.UNHEALTHY)
_DRAINING: Final = int(health_check_pb2.HealthStatus.DRAINING)


def health_status(target: Target) -> int:
    """`LbEndpoint.health_status`: what an operator says of a target; `UNKNOWN` is nothing."""
    if target.state == "unhealthy":
        return _UNHEALTHY
    if target.state == "draining" or target.weight == 0:  # Envoy refuses a weight of 0
        return _DRAINING
    return UNKNOWN


def lb_endpoint(upstream: Upstream, target: Target, address: str, port: int, name: str, weight: int) -> Any:
    """A target at an address. `name`: the host name that led there. `weight`: 0 is not written, and means 1 to Envoy."""
    endpoint = endpoint_components_pb2.LbEndpoint(health_status=health_status(target))
    place = endpoint.endpoint.address.socket_address
    place.address, place.port_value = address, port
    endpoint.endpoint.hostname = endpoint_hostname(upstream, target, name)
    if upstream.health_checks.active is not None and target.is_probed_otherwise:
        endpoint.endpoint.health_check_config.CopyFrom(_probe(target.health_check, port))
    if weight:
        endpoint.load_balancing_weight.value = weight
    if target.labels:
        endpoint.metadata.CopyFrom(_metadata(target.labels))
    return endpoint


def _probe(check: TargetHealthCheck, port: int) -> Any:
    config = endpoint_components_pb2.Endpoint.HealthCheckConfig(
        hostname=check.hostname or "", disable_active_health_check=check.disabled
    )
    if check.address:
        config.address.CopyFrom(socket_address(check.address, check.port or port))
    elif check.port:
        config.port_value = check.port
    return config


def _metadata(labels: Mapping[str, str]) -> Any:
    metadata = base_pb2.Metadata()
    metadata.filter_metadata[METADATA_NAMESPACE].update(labels)
    return metadata
