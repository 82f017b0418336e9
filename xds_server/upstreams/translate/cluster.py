"""The Cluster: put together from the other files of this package, each of which knows one of its concerns.

No field depends on how many targets there are or which: a Cluster that changes by one byte is rebuilt by Envoy with new
connections and forgotten ejections. Exceptions: `resolve: envoy`, and probe settings of single targets.
"""

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2

from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate.circuit_breakers import circuit_breakers
from xds_server.upstreams.translate.dialect import Dialect
from xds_server.upstreams.translate.dns_cluster import discover_by_dns
from xds_server.upstreams.translate.endpoints import eds_name, envoy_resolves
from xds_server.upstreams.translate.health_checks import health_check
from xds_server.upstreams.translate.http_protocol import HTTP_PROTOCOL_OPTIONS, http_protocol_options
from xds_server.upstreams.translate.keepalive import tcp_keepalive
from xds_server.upstreams.translate.load_balancing import common_lb_config, load_balancing_policy
from xds_server.upstreams.translate.messages import duration, packed
from xds_server.upstreams.translate.outlier_detection import outlier_detection
from xds_server.upstreams.translate.overrides import override
from xds_server.upstreams.translate.probe_socket import probe_socket
from xds_server.upstreams.translate.transport_socket import transport_socket


def cluster(upstream: Upstream, dialect: Dialect = Dialect.ADS) -> Any:
    """The upstream as an `envoy.config.cluster.v3.Cluster`, for Envoys that ask in `dialect`.

    Raises `OverrideError` when its `envoy:` field cannot be applied.
    """
    message = cluster_pb2.Cluster(
        name=upstream.name,
        connect_timeout=duration(upstream.connect_timeout),
        load_balancing_policy=load_balancing_policy(upstream),
        common_lb_config=common_lb_config(upstream),
        circuit_breakers=circuit_breakers(upstream.limits),
        # Otherwise a target that was removed keeps its traffic until it fails a probe.
        ignore_health_on_host_removal=True,
    )
    _discover(message, upstream, dialect)
    active, passive = upstream.health_checks.active, upstream.health_checks.passive
    if active is not None:
        message.health_checks.append(health_check(upstream, active))
    if (socket := probe_socket(upstream)) is not None:
        message.transport_socket_matches.append(socket)
    if passive is not None:
        message.outlier_detection.CopyFrom(outlier_detection(upstream.health_checks, passive))
    if upstream.protocol != "tcp":
        options = packed(http_protocol_options(upstream))
        message.typed_extension_protocol_options[HTTP_PROTOCOL_OPTIONS].CopyFrom(options)
    if (socket := transport_socket(upstream, dialect)) is not None:
        message.transport_socket.CopyFrom(socket)
    if upstream.keepalive.tcp is not None:
        message.upstream_connection_options.tcp_keepalive.CopyFrom(tcp_keepalive(upstream.keepalive.tcp))
    override(message, upstream.envoy)
    return message


def _discover(message: Any, upstream: Upstream, dialect: Dialect) -> None:
    """Say where the endpoints come from: EDS, or the Cluster itself with names that Envoy resolves."""
    if not envoy_resolves(upstream):
        message.type = cluster_pb2.Cluster.DiscoveryType.EDS
        message.eds_cluster_config.eds_config.CopyFrom(dialect.config_source)
        if (name := eds_name(upstream)) != upstream.name:
            message.eds_cluster_config.service_name = name
        return
    discover_by_dns(message, upstream)
