"""Envoy's messages in a line each: the smallest that Envoy accepts, with the fields that a test is about."""

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

from xds_server.xds.any_types import message_class

Fields = dict[str, Any]

TYPE = "type.googleapis.com/"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"
ROUND_ROBIN = "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin"
MAGLEV = "envoy.extensions.load_balancing_policies.maglev.v3.Maglev"

SOCKET = {"socket_address": {"address": "127.0.0.1", "port_value": 8080}}
HTTP1: Fields = {"explicit_http_config": {"http_protocol_options": {}}}
PROBE = {"timeout": "1s", "interval": "5s", "healthy_threshold": 1, "unhealthy_threshold": 1}


def packed(name: str, **fields: Any) -> Fields:
    return {"@type": TYPE + name, **fields}


def cluster(**fields: Any) -> Message:
    return parse({"name": "c", "type": "STATIC", **fields}, cluster_pb2.Cluster())


def http_cluster(**options: Any) -> Message:
    return cluster(typed_extension_protocol_options={HTTP_OPTIONS: packed(HTTP_OPTIONS, **options)})


def policy(name: str, **fields: Any) -> Message:
    config = {"name": "policy", "typed_config": packed(name, **fields)}
    return cluster(load_balancing_policy={"policies": [{"typed_extension_config": config}]})


def tls(**fields: Any) -> Message:
    return cluster(transport_socket={"name": "envoy.transport_sockets.tls", "typed_config": packed(TLS, **fields)})


def assignment(*endpoints: Fields, **fields: Any) -> Message:
    return parse({"cluster_name": "c", "endpoints": list(endpoints), **fields}, endpoint_pb2.ClusterLoadAssignment())


def target(**fields: Any) -> Message:
    return assignment({"lb_endpoints": [{"endpoint": {"address": SOCKET}, **fields}]})


def listener(**fields: Any) -> Message:
    base = {"name": "l", "address": SOCKET, "filter_chains": [{"filters": [http_filter(name="r", virtual_hosts=[])]}]}
    return parse({**base, **fields}, listener_pb2.Listener())


def http_filter(stat_prefix: str = "http", **routes: Any) -> Fields:
    router = {"name": "envoy.filters.http.router", "typed_config": packed(ROUTER)}
    manager = packed(HCM, stat_prefix=stat_prefix, http_filters=[router], route_config=routes)
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def routes(**fields: Any) -> Message:
    return parse({"name": "r", **fields}, route_pb2.RouteConfiguration())


def host(**fields: Any) -> Message:
    return routes(virtual_hosts=[{"name": "v", "domains": ["*"], **fields}])


def route(**fields: Any) -> Message:
    return host(routes=[{"match": {"prefix": "/"}, "direct_response": {"status": 200}, **fields}])


def forward(**action: Any) -> Message:
    return host(routes=[{"match": {"prefix": "/"}, "route": {"cluster": "c", **action}}])


def match(**fields: Any) -> Message:
    return host(routes=[{"match": fields, "direct_response": {"status": 200}}])


def parse(fields: Fields, message: Message) -> Message:
    for name in (HTTP_OPTIONS, TLS, HCM, ROUTER, ROUND_ROBIN, MAGLEV):
        message_class(TYPE + name)  # json_format knows only types that are imported
    return json_format.ParseDict(fields, message)


def probe(**fields: Any) -> Message:
    return cluster(health_checks=[{**PROBE, "http_health_check": {"path": "/"}, **fields}])


def breaker(**fields: Any) -> Message:
    return cluster(circuit_breakers={"thresholds": [{"priority": "DEFAULT", **fields}]})
