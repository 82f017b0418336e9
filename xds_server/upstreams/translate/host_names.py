"""One field of an endpoint, `Endpoint.hostname`, and the two that want it: the Host header and the TLS server name.

Envoy takes both the rewritten Host header (`auto_host_rewrite`) and the server name (`auto_host_sni`) of a target from
`Endpoint.hostname`. The rule:

1. `tls` without `sni`: it is the target's own host name, for the server name. A `host_header` of some other text is
   then written by the route (`host_rewrite_literal`), which a static listener does not have.
2. else `host_header: target`: the target's own host; any other text: that text. Routes and static listeners rewrite
   the Host header from it.
3. else (`keep`) it is empty, so that a static listener with `auto_host_rewrite` leaves the client's Host alone.

A target with `port: srv` has the name that each of its SRV records gives. A target given by address has no name to send as
a server name; its address is used only for `host_header: target`.
"""

from typing import Literal

from xds_server.upstreams.model import Target, Upstream

HostRewrite = Literal["keep", "from-endpoint", "literal"]


def endpoint_hostname(upstream: Upstream, target: Target, host: str) -> str:
    """`Endpoint.hostname` of an endpoint of a target, empty for none. `host`: the target's, or what its SRV record names."""
    if upstream.host_header == "target":
        return f"[{host}]" if ":" in host else host
    if _names_targets_to_tls(upstream):
        return host if target.needs_resolving else ""
    return "" if upstream.host_header == "keep" else upstream.host_header


def host_rewrite(upstream: Upstream) -> HostRewrite:
    """How a route of ours sets the Host header."""
    if upstream.host_header == "keep":
        return "keep"
    if upstream.host_header == "target" or not _names_targets_to_tls(upstream):
        return "from-endpoint"
    return "literal"


def _names_targets_to_tls(upstream: Upstream) -> bool:
    return upstream.tls is not None and upstream.tls.sni is None
