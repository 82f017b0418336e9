"""The control plane as an Envoy's configuration refers to it: from bootstraps, and from resources that lead to further ones.

Both say the same, as Envoy's `core.v3.ApiConfigSource` in proto JSON.
"""

from typing import Any, Final, Literal

CONTROL_PLANE_CLUSTER: Final = "xds-server.internal"
"""Name of the cluster that leads to the control plane. Upstreams and host names may not take it. What is served per type and
by REST refers to it, so a bootstrap that is written by hand must name it so."""

Protocol = Literal["delta", "sotw", "per-type", "rest"]
"""How an Envoy takes its configuration: see `Bootstrap.protocol`."""
GrpcApi = Literal["GRPC", "DELTA_GRPC"]
"""State of the world, or incremental: names of Envoy's `ApiConfigSource.ApiType`."""


def grpc_source(api_type: GrpcApi) -> dict[str, Any]:
    """By gRPC. A stream that broke is tried again after a random time below a limit that grows from 0.25 s to 5 s."""
    return {
        "api_type": api_type,
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [
            {
                "envoy_grpc": {
                    "cluster_name": CONTROL_PLANE_CLUSTER,
                    # Envoy's default limit is 30 s: a control plane that is back would be found too late.
                    "retry_policy": {"retry_back_off": {"base_interval": "0.25s", "max_interval": "5s"}},
                }
            }
        ],
    }


def rest_source() -> dict[str, Any]:
    """By polling over HTTP, every 5 s to 10 s; an answer may take 5 s."""
    return {
        "api_type": "REST",
        "transport_api_version": "V3",
        "cluster_names": [CONTROL_PLANE_CLUSTER],
        "refresh_delay": "5s",
        "request_timeout": "5s",
    }


def config_source(protocol: Protocol) -> dict[str, Any]:
    """Where an Envoy that takes its configuration by `protocol` takes any one type from (`core.v3.ConfigSource`)."""
    if protocol in ("delta", "sotw"):
        return {"resource_api_version": "V3", "ads": {}}
    source = rest_source() if protocol == "rest" else grpc_source("DELTA_GRPC")
    return {"resource_api_version": "V3", "api_config_source": source}


class Text(str):
    """Text of the user's, always quoted: Envoy's YAML reader takes a bare `y` for true, and PyYAML writes it so."""
