"""A bootstrap that holds what definitions become, for an Envoy in its validation mode.

Nothing listens and no target is contacted. What Envoy would take over xDS is given to it as static resources: an
assignment inside a copy of its cluster, the routes inside a listener.
"""

from collections.abc import Iterable
from typing import Any, Final

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import config_source_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from xds_server.config_sources import CONTROL_PLANE_CLUSTER
from xds_server.delivery.static_secrets import HasFile, needs_missing_file, use_static_secrets
from xds_server.upstreams import translate
from xds_server.upstreams.model import Gateway, Upstream

ENDPOINTS: Final = ":endpoints"
"""Ends the name of the copy of a cluster that holds its endpoints; no upstream's name has a colon."""


def static_bootstrap(
    definitions: Iterable[Upstream | Gateway],
    addresses: translate.Addresses,
    has_file: HasFile = lambda path: True,
) -> Any:
    """A bootstrap with everything that definitions become. Secrets that the control plane keeps are not in it.

    `has_file`: whether a file of certificates is to be read; what needs another one is left out. Default: all of them.
    """
    bootstrap = bootstrap_pb2.Bootstrap()
    bootstrap.node.id = bootstrap.node.cluster = "validate"
    ads = bootstrap.dynamic_resources.ads_config
    ads.api_type, ads.transport_api_version = ads.DELTA_GRPC, config_source_pb2.V3
    ads.grpc_services.add().envoy_grpc.cluster_name = CONTROL_PLANE_CLUSTER
    static = bootstrap.static_resources
    static.clusters.add(name=CONTROL_PLANE_CLUSTER).connect_timeout.seconds = 1
    hosts = []
    for definition in definitions:
        if isinstance(definition, Gateway):
            static.listeners.append(translate.listener(definition))
            continue
        cluster = translate.cluster(definition)
        secrets = [each for each in translate.secrets(definition, {}) if not needs_missing_file(each, has_file)]
        static.secrets.extend(secrets)
        use_static_secrets(cluster, {secret.name for secret in secrets}, has_file)
        static.clusters.append(cluster)
        assignment = translate.endpoints(definition, addresses)
        if assignment is not None:
            static.clusters.append(_with_endpoints(cluster, assignment))
        if (host := translate.virtual_host(definition)) is not None:
            hosts.append(host)
    static.listeners.append(_listener(translate.route_configuration(hosts)))
    return bootstrap


def _with_endpoints(cluster: Any, assignment: Any) -> Any:
    copy = cluster_pb2.Cluster()
    copy.CopyFrom(cluster)
    copy.name, copy.type = f"{cluster.name}{ENDPOINTS}", cluster_pb2.Cluster.STATIC
    copy.ClearField("eds_cluster_config")
    # The cluster itself has them too. Here Envoy would open a socket for each target, and send nothing through it.
    copy.ClearField("health_checks")
    copy.load_assignment.CopyFrom(assignment)
    return copy


def _listener(routes: Any) -> Any:
    manager = http_connection_manager_pb2.HttpConnectionManager(stat_prefix="validate", route_config=routes)
    manager.http_filters.add(name="router").typed_config.Pack(router_pb2.Router())
    listener = bootstrap_pb2.Bootstrap.StaticResources().listeners.add(name="validate:routes")
    listener.address.socket_address.address = "127.0.0.1"
    listener.address.socket_address.port_value = 0
    listener.filter_chains.add().filters.add(name="http").typed_config.Pack(manager)
    return listener
