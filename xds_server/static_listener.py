"""A listener that needs nothing but clusters from the control plane: the request's host names the cluster.

`cluster_header: ":authority"` leads to every cluster that this Envoy has, so also to the one of its control plane, over
its own connection and with its own certificate, and to the one of the Envoys like it, in a circle. A virtual host for exactly
these names answers 404 before the router is asked. It cannot be passed by: virtual hosts and `cluster_header` read the same
`:authority`, after the connection manager has taken port and trailing dot off it, and virtual hosts compare without case
while cluster names compare with.
"""

from typing import Any, Final

_FILTERS: Final = "type.googleapis.com/envoy.extensions.filters."

NAME: Final = "static"
"""Name of the listener and prefix of its statistics (`http.static.…`)."""


def static_listener(address: dict[str, Any], refused: list[str]) -> dict[str, Any]:
    """Envoy's `listener.v3.Listener` on `address` (`core.v3.Address`); the hosts `refused` are answered with 404.

    A host that is no cluster is 404 too. There is no limit to how long an answer takes; a stream that is silent for
    5 minutes ends. A target that has a host name of its own gets it as Host, any other gets the request's. The host is
    compared with its case: `Host: Payments` is not the upstream `payments`, as it is with listeners from the control
    plane.
    """
    virtual_hosts = [
        {
            "name": "control-plane",
            "domains": refused,
            "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 404}}],
        },
        {
            "name": "upstreams",
            "domains": ["*"],
            "routes": [
                {
                    "match": {"prefix": "/"},
                    "route": {
                        "cluster_header": ":authority",
                        "cluster_not_found_response_code": "NOT_FOUND",
                        "auto_host_rewrite": True,
                        "timeout": "0s",
                    },
                }
            ],
        },
    ]
    manager = {
        "@type": _FILTERS + "network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": NAME,
        "strip_any_host_port": True,
        "strip_trailing_host_dot": True,
        # Who asks is the connection's peer, not what X-Forwarded-For claims: hashing by source IP relies on it.
        "use_remote_address": True,
        "stream_idle_timeout": "300s",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"name": NAME, "virtual_hosts": virtual_hosts},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": _FILTERS + "http.router.v3.Router"},
            }
        ],
    }
    return {
        "name": NAME,
        "address": address,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
